/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Checksums of files and keys: BLAKE3 in derive_key mode, each use with a context of its own, so
 * that no two kinds of hashed object can be mistaken for each other (docs/formats/identity.md). */
#ifndef STEMMA_HASH_DIGEST_H
#define STEMMA_HASH_DIGEST_H

#include "hash/id.h"

#include <stdalign.h>
#include <stddef.h>

struct digest {
    alignas(
        8) unsigned char state[1920]; /* the library's hasher; its size is asserted in digest.c */
};

/* `context` is a literal that names the use and its version: "stemma signature 1 file". */
void digest_init(struct digest *d, const char *context);
void digest_update(struct digest *d, const void *bytes, size_t length);
void digest_u64(struct digest *d, uint64_t n); /* little endian */
void digest_final(const struct digest *d, struct id *out);

#endif
