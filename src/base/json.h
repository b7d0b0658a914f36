/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A JSON writer: commas, escapes and nesting are its business. One document per writer. Keys are
 * literals. A string that is not UTF-8 is written with U+FFFD for each bad byte, and beside it a
 * member KEY_b64 with its bytes (inside an array: the string alone). '<' is written as \u003c, so
 * that a document can stand inside an HTML page. */
#ifndef STEMMA_BASE_JSON_H
#define STEMMA_BASE_JSON_H

#include "base/buf.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define JSON_DEPTH 512

struct json {
    struct buf *out; /* borrowed */
    unsigned depth;
    bool more[JSON_DEPTH]; /* a value stands before, at each depth */
};

/* `key` is NULL in arrays and at the top. Nesting deeper than JSON_DEPTH fails the buffer; a tree
 * deeper than that is written with json_raw(). */
void json_init(struct json *j, struct buf *out);
void json_object(struct json *j, const char *key);
void json_object_end(struct json *j);
void json_array(struct json *j, const char *key);
void json_array_end(struct json *j);
void json_string(struct json *j, const char *key, const char *value); /* NULL gives null */
void json_u64(struct json *j, const char *key, uint64_t value);
void json_i64(struct json *j, const char *key, int64_t value);
void json_double(struct json *j, const char *key, double value); /* not finite: null */
void json_bool(struct json *j, const char *key, bool value);
void json_null(struct json *j, const char *key);

/* Writes `text` as it is, as one value. */
void json_raw(struct json *j, const char *key, const char *text);

#endif
