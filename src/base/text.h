/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Text for people: sizes, names of any bytes, columns. Nothing here depends on the locale. */
#ifndef STEMMA_BASE_TEXT_H
#define STEMMA_BASE_TEXT_H

#include "base/buf.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* "0 B", "1.5 MiB", "10 GiB": rounded to three significant digits (four from 1000 to 1023), IEC
 * units. Returns `out`. */
#define TEXT_SIZE_MAX 24
char *text_size(char out[TEXT_SIZE_MAX], uint64_t bytes);

/* A size as users type it: 4096, 64K, 64KiB, 1.5G (1024-based, rounded to a byte). 0 or ERR_USAGE.
 */
[[nodiscard]] int text_parse_size(const char *text, uint64_t *out, struct error *e);

/* The character that the bytes begin with: its length, and its code in *code; 0 when there is none
 * that is well-formed. */
size_t text_decode(const char *bytes, size_t length, uint32_t *code);

/* True for well-formed UTF-8 (no overlong forms, surrogates or NUL). */
bool text_is_utf8(const char *bytes, size_t length);

/* The name with bytes that are not UTF-8, control characters and those that are invisible or change
 * the direction of writing as \xNN for each byte, and \\ for a backslash, so that it can be shown
 * on a terminal and is never ambiguous. */
void text_escape(struct buf *out, const char *bytes, size_t length);

/* The same as a string for free(), NULL when memory is short. */
[[nodiscard]] char *text_escaped(const char *name);

/* Columns that UTF-8 text takes on a terminal (combining marks 0, wide characters 2; a byte that is
 * not UTF-8 counts 1). */
size_t text_width(const char *utf8);

/* Appends at most `columns` columns of the UTF-8 text; what does not fit is cut from the left and
 * replaced by an ellipsis ("…", or "..." with `ascii`), because the ends of paths tell them apart.
 * A byte that is not UTF-8 becomes U+FFFD ("?" with `ascii`). */
void text_fit_left(struct buf *out, const char *utf8, size_t columns, bool ascii);

/* Standard base64 with padding. */
void text_base64(struct buf *out, const void *bytes, size_t length);

#endif
