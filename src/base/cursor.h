/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The only place where foreign bytes become numbers. A cursor never reads outside its bytes: a read
 * that would returns zero and sets `bad`, which sticks; parse a whole header, then ask once. */
#ifndef STEMMA_BASE_CURSOR_H
#define STEMMA_BASE_CURSOR_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct cursor {
    const uint8_t *at;
    const uint8_t *end;
    bool bad;
};

static inline struct cursor cursor_of(const void *bytes, size_t length)
{
    const uint8_t *at = bytes;

    /* NULL + 0 is undefined in C */
    return (struct cursor){at, length == 0 ? at : at + length, false};
}

/* Bytes not yet read; 0 once bad. */
static inline size_t cursor_left(const struct cursor *c)
{
    return c->bad ? 0 : (size_t)(c->end - c->at);
}

/* The next `length` bytes, borrowed from the cursor's memory; NULL (and bad) when there are fewer.
 */
static inline const uint8_t *cursor_bytes(struct cursor *c, size_t length)
{
    const uint8_t *at = c->at;

    if (c->bad || (size_t)(c->end - c->at) < length) {
        c->bad = true;
        return NULL;
    }
    c->at += length;
    return at;
}

static inline void cursor_skip(struct cursor *c, size_t length)
{
    (void)cursor_bytes(c, length);
}

static inline uint64_t cursor_number_(struct cursor *c, size_t width, bool big_endian)
{
    const uint8_t *p = cursor_bytes(c, width);
    uint64_t n = 0;

    for (size_t i = 0; p != NULL && i < width; i++)
        n |= (uint64_t)p[i] << 8 * (big_endian ? width - 1 - i : i);
    return n;
}

static inline uint8_t cursor_u8(struct cursor *c)
{
    return (uint8_t)cursor_number_(c, 1, false);
}

static inline uint16_t cursor_be16(struct cursor *c)
{
    return (uint16_t)cursor_number_(c, 2, true);
}

static inline uint32_t cursor_be32(struct cursor *c)
{
    return (uint32_t)cursor_number_(c, 4, true);
}

static inline uint64_t cursor_be64(struct cursor *c)
{
    return cursor_number_(c, 8, true);
}

static inline uint16_t cursor_le16(struct cursor *c)
{
    return (uint16_t)cursor_number_(c, 2, false);
}

static inline uint32_t cursor_le32(struct cursor *c)
{
    return (uint32_t)cursor_number_(c, 4, false);
}

static inline uint64_t cursor_le64(struct cursor *c)
{
    return cursor_number_(c, 8, false);
}

#endif
