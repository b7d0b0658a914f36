/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Text for people: sizes, durations, names of any bytes, columns. */
#ifndef STEMMA_BASE_TEXT_H
#define STEMMA_BASE_TEXT_H

#include "base/buf.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* "0 B", "1.5 MiB", "10 GiB": at most four significant digits, IEC units. Returns `out`. */
#define TEXT_SIZE_MAX 24
char *text_size(char out[TEXT_SIZE_MAX], uint64_t bytes);

/* A size as users type it: 4096, 64K, 64KiB, 1.5G (1024-based). 0 or ERR_USAGE. */
[[nodiscard]] int text_parse_size(const char *text, uint64_t *out, struct error *e);

/* True for well-formed UTF-8 (no overlong forms, surrogates or NUL). */
bool text_is_utf8(const char *bytes, size_t length);

/* The name with control characters, backslashes and bytes that are not UTF-8 as \xNN (and \\), so
 * that it can be shown on a terminal and is never ambiguous. */
void text_escape(struct buf *out, const char *bytes, size_t length);

/* The same as a string for free(), NULL when memory is short. */
[[nodiscard]] char *text_escaped(const char *name);

/* Columns that UTF-8 text takes on a terminal (combining marks 0, wide characters 2). */
size_t text_width(const char *utf8);

/* Appends at most `columns` columns of the UTF-8 text; what does not fit is cut from the left and
 * replaced by an ellipsis ("…", or "..." with `ascii`), because the ends of paths tell them apart.
 */
void text_fit_left(struct buf *out, const char *utf8, size_t columns, bool ascii);

/* Standard base64 with padding. */
void text_base64(struct buf *out, const void *bytes, size_t length);

#endif
