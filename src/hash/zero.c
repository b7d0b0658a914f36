/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "hash/zero.h"

#include <stdint.h>
#include <string.h>

#define STEP 256u

/* 16 bytes are a register of every processor we know; wider types go through memory in gcc. */
typedef uint64_t lane __attribute__((vector_size(16)));

static inline lane load(const uint8_t *p)
{
    lane v;

    memcpy(&v, p, sizeof v);
    return v;
}

static inline bool step_is_zero(const uint8_t *p)
{
    lane a = load(p), b = load(p + 16), c = load(p + 32), d = load(p + 48);

    for (size_t i = 64; i < STEP; i += 64) {
        a |= load(p + i);
        b |= load(p + i + 16);
        c |= load(p + i + 32);
        d |= load(p + i + 48);
    }
    a |= b | c | d;
    return (a[0] | a[1]) == 0;
}

bool zero_test(const void *bytes, size_t length)
{
    const uint8_t *p = bytes;
    uint64_t w = 0;

    if (length >= sizeof w) {
        /* data mostly shows itself in its first word */
        memcpy(&w, p, sizeof w);
        if (w != 0)
            return false;
    }
    for (; length >= STEP; p += STEP, length -= STEP)
        if (!step_is_zero(p))
            return false;
    for (; length >= sizeof w; p += sizeof w, length -= sizeof w) {
        memcpy(&w, p, sizeof w);
        if (w != 0)
            return false;
    }
    for (; length > 0; p++, length--)
        if (*p != 0)
            return false;
    return true;
}
