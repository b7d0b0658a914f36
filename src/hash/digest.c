/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "hash/digest.h"

#include <assert.h>
#include <blake3.h>

static_assert(sizeof(blake3_hasher) <= sizeof((struct digest *)0)->state);
static_assert(alignof(blake3_hasher) <= alignof(struct digest));

static inline blake3_hasher *hasher(struct digest *d)
{
    return (blake3_hasher *)d->state;
}

void digest_init(struct digest *d, const char *context)
{
    blake3_hasher_init_derive_key(hasher(d), context);
}

void digest_update(struct digest *d, const void *bytes, size_t length)
{
    blake3_hasher_update(hasher(d), bytes, length);
}

void digest_u64(struct digest *d, uint64_t n)
{
    uint8_t bytes[8];

    for (int i = 0; i < 8; i++)
        bytes[i] = (uint8_t)(n >> (8 * i));
    digest_update(d, bytes, sizeof bytes);
}

void digest_final(const struct digest *d, struct id *out)
{
    blake3_hasher_finalize((const blake3_hasher *)d->state, out->bytes, sizeof out->bytes);
}
