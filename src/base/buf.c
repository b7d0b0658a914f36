/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "base/buf.h"

#include "base/ckd.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void buf_release(struct buf *b)
{
    free(b->bytes);
    *b = (struct buf){};
}

uint8_t *buf_extend(struct buf *b, size_t length)
{
    size_t needed;

    if (b->failed || ckd_add(&needed, b->length, length)) {
        b->failed = true;
        return NULL;
    }
    if (needed > b->capacity || b->bytes == NULL) {
        size_t capacity = b->capacity < 256 ? 256 : b->capacity + b->capacity / 2;
        uint8_t *bytes;

        if (capacity < needed)
            capacity = needed;
        bytes = realloc(b->bytes, capacity);
        if (bytes == NULL) {
            b->failed = true;
            return NULL;
        }
        b->bytes = bytes;
        b->capacity = capacity;
    }
    b->length = needed;
    return b->bytes + needed - length;
}

void buf_put(struct buf *b, const void *bytes, size_t length)
{
    uint8_t *to = buf_extend(b, length);

    if (to != NULL && length != 0)
        memcpy(to, bytes, length);
}

static void put_number(struct buf *b, uint64_t n, size_t width, bool big_endian)
{
    uint8_t *to = buf_extend(b, width);

    for (size_t i = 0; to != NULL && i < width; i++)
        to[i] = (uint8_t)(n >> 8 * (big_endian ? width - 1 - i : i));
}

void buf_put_u8(struct buf *b, uint8_t n)
{
    put_number(b, n, 1, false);
}

void buf_put_u16(struct buf *b, uint16_t n)
{
    put_number(b, n, 2, false);
}

void buf_put_u32(struct buf *b, uint32_t n)
{
    put_number(b, n, 4, false);
}

void buf_put_u64(struct buf *b, uint64_t n)
{
    put_number(b, n, 8, false);
}

void buf_put_be16(struct buf *b, uint16_t n)
{
    put_number(b, n, 2, true);
}

void buf_put_be32(struct buf *b, uint32_t n)
{
    put_number(b, n, 4, true);
}

void buf_put_be64(struct buf *b, uint64_t n)
{
    put_number(b, n, 8, true);
}

void buf_put_string(struct buf *b, const char *text)
{
    size_t length = text == NULL ? 0 : strlen(text);

    if (length > UINT32_MAX) {
        b->failed = true;
        return;
    }
    buf_put_u32(b, (uint32_t)length);
    buf_put(b, text, length);
}

void buf_put_optional(struct buf *b, const char *text)
{
    buf_put_u8(b, text != NULL);
    buf_put_string(b, text);
}

void buf_printf(struct buf *b, const char *format, ...)
{
    va_list args;
    int length;
    uint8_t *to;

    va_start(args, format);
    length = vsnprintf(NULL, 0, format, args);
    va_end(args);
    to = length < 0 ? NULL : buf_extend(b, (size_t)length + 1);
    if (to == NULL) {
        b->failed = true;
        return;
    }
    va_start(args, format);
    vsnprintf((char *)to, (size_t)length + 1, format, args);
    va_end(args);
    b->length--;
}

int buf_check(const struct buf *b, const char *what, struct error *e)
{
    return b->failed ? err_memory(e, what) : 0;
}
