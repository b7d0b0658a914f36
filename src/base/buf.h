/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A growable run of bytes. Numbers go in little endian unless the name says otherwise. A failed
 * allocation sets `failed`, which sticks; build the whole, then ask once. */
#ifndef STEMMA_BASE_BUF_H
#define STEMMA_BASE_BUF_H

#include "base/error.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct buf {
    uint8_t *bytes; /* owned; NULL while empty */
    size_t length;
    size_t capacity;
    bool failed;
};

void buf_release(struct buf *b);

#define AUTO_BUF __attribute__((cleanup(buf_release))) struct buf

/* Room for `length` more bytes, which count as written (their content is undefined); NULL on
 * failure. */
uint8_t *buf_extend(struct buf *b, size_t length);

void buf_put(struct buf *b, const void *bytes, size_t length);
void buf_put_u8(struct buf *b, uint8_t n);
void buf_put_u16(struct buf *b, uint16_t n);
void buf_put_u32(struct buf *b, uint32_t n);
void buf_put_u64(struct buf *b, uint64_t n);
void buf_put_be16(struct buf *b, uint16_t n);
void buf_put_be32(struct buf *b, uint32_t n);
void buf_put_be64(struct buf *b, uint64_t n);

/* A u32 length and the bytes; NULL counts as empty. cursor_string() of base/record.h reads it. */
void buf_put_string(struct buf *b, const char *text);

/* The same where NULL and the empty string differ: a u8 that says which stands before it.
 * cursor_optional() of base/record.h reads it. */
void buf_put_optional(struct buf *b, const char *text);

/* Text without its final NUL. */
void buf_printf(struct buf *b, const char *format, ...) PRINTF_LIKE(2, 3);

/* 0, or ERR_MEMORY once an allocation failed. */
[[nodiscard]] int buf_check(const struct buf *b, const char *what, struct error *e);

#endif
