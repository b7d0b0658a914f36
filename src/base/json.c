/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "base/json.h"

#include "base/text.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void json_init(struct json *j, struct buf *out)
{
    j->out = out;
    j->depth = 0;
}

static void put_text(struct json *j, const char *text)
{
    buf_put(j->out, text, strlen(text));
}

/* What stands before a value: a comma, and its key with the suffix. */
static void begin(struct json *j, const char *key, const char *suffix)
{
    if (j->depth > 0 && j->depth <= JSON_DEPTH) {
        if (j->more[j->depth - 1])
            buf_put_u8(j->out, ',');
        j->more[j->depth - 1] = true;
    }
    if (key != NULL) {
        buf_put_u8(j->out, '"');
        put_text(j, key);
        put_text(j, suffix);
        put_text(j, "\":");
    }
}

static void open_container(struct json *j, const char *key, char bracket)
{
    begin(j, key, "");
    buf_put_u8(j->out, (uint8_t)bracket);
    if (j->depth < JSON_DEPTH)
        j->more[j->depth] = false;
    else
        j->out->failed = true;
    j->depth++;
}

static void close_container(struct json *j, char bracket)
{
    if (j->depth == 0) {
        j->out->failed = true;
        return;
    }
    j->depth--;
    buf_put_u8(j->out, (uint8_t)bracket);
}

void json_object(struct json *j, const char *key)
{
    open_container(j, key, '{');
}

void json_object_end(struct json *j)
{
    close_container(j, '}');
}

void json_array(struct json *j, const char *key)
{
    open_container(j, key, '[');
}

void json_array_end(struct json *j)
{
    close_container(j, ']');
}

/* True for what may stand between quotes as it is. '<' is legal there, but would let a string end
 * the <script> that a document stands in. */
static bool is_plain(char c)
{
    return (unsigned char)c >= ' ' && c != '"' && c != '\\' && c != '<';
}

static void put_escaped(struct json *j, char c)
{
    static const char named[] = "\"\"\\\\\nn\tt\rr\bb\ff";
    const char *at = named;

    while (*at != 0 && *at != c)
        at += 2;
    if (*at != 0)
        buf_printf(j->out, "\\%c", at[1]);
    else
        buf_printf(j->out, "\\u%04x", (unsigned)c);
}

/* Returns false when some bytes were not UTF-8. */
static bool put_quoted(struct json *j, const char *text, size_t length)
{
    bool good = true;

    buf_put_u8(j->out, '"');
    for (size_t at = 0, n; at < length; at += n) {
        uint32_t code;

        n = text_decode(text + at, length - at, &code);
        if (n == 0) {
            buf_put(j->out, "\xef\xbf\xbd", 3);
            good = false;
            n = 1;
        } else if (n > 1 || is_plain(text[at])) {
            buf_put(j->out, text + at, n);
        } else {
            put_escaped(j, text[at]);
        }
    }
    buf_put_u8(j->out, '"');
    return good;
}

void json_string(struct json *j, const char *key, const char *value)
{
    size_t length;

    if (value == NULL) {
        json_null(j, key);
        return;
    }
    length = strlen(value);
    begin(j, key, "");
    if (put_quoted(j, value, length) || key == NULL)
        return;
    begin(j, key, "_b64");
    buf_put_u8(j->out, '"');
    text_base64(j->out, value, length);
    buf_put_u8(j->out, '"');
}

void json_u64(struct json *j, const char *key, uint64_t value)
{
    begin(j, key, "");
    buf_printf(j->out, "%" PRIu64, value);
}

void json_i64(struct json *j, const char *key, int64_t value)
{
    begin(j, key, "");
    buf_printf(j->out, "%" PRId64, value);
}

void json_double(struct json *j, const char *key, double value)
{
    char text[40];

    if (!isfinite(value)) {
        json_null(j, key);
        return;
    }
    /* the shortest of these that reads back as the same number */
    for (int digits = 15; digits <= 17; digits++) {
        snprintf(text, sizeof text, "%.*g", digits, value);
        if (strtod(text, NULL) == value)
            break;
    }
    /* a program that uses us may have set a locale with a comma */
    for (char *c = text; *c != 0; c++) {
        if (strchr("0123456789+-e.", *c) == NULL)
            *c = '.';
    }
    begin(j, key, "");
    put_text(j, text);
}

void json_bool(struct json *j, const char *key, bool value)
{
    begin(j, key, "");
    put_text(j, value ? "true" : "false");
}

void json_null(struct json *j, const char *key)
{
    begin(j, key, "");
    put_text(j, "null");
}

void json_raw(struct json *j, const char *key, const char *text)
{
    begin(j, key, "");
    put_text(j, text);
}
