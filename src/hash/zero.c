/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "hash/zero.h"

#include <stdint.h>
#include <string.h>

#define STEP 256u

typedef uint64_t lanes __attribute__((vector_size(64)));

static inline __attribute__((always_inline)) bool step_is_zero(const uint8_t *p)
{
    lanes v[STEP / sizeof(lanes)], any;
    uint64_t w = 0;

    memcpy(v, p, sizeof v);
    any = v[0] | v[1] | v[2] | v[3];
    for (size_t i = 0; i < sizeof any / sizeof w; i++)
        w |= any[i];
    return w == 0;
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
