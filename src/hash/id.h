/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Ids of content. The definition, with test vectors, is docs/formats/identity.md:
 * level 0 is the 4 KiB block, level 1 the 64 KiB cluster (16 blocks), level 2 the 32 MiB node (512
 * clusters), and each level above 512 of the one below, up to level 6 (2 EiB). Zero has the null
 * id. */
#ifndef STEMMA_HASH_ID_H
#define STEMMA_HASH_ID_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#define BLOCK_SIZE 4096u
#define CLUSTER_SIZE 65536u
#define CLUSTER_BLOCKS (CLUSTER_SIZE / BLOCK_SIZE)
#define ID_LEVELS 7                       /* 0 (block) to 6 (content) */
#define ID_FANOUT 512                     /* children of a node at level 2 and above */
#define DISK_SIZE_MAX ((uint64_t)1 << 61) /* what level 6 spans: 2 EiB */

struct id {
    uint8_t bytes[32];
};

/* What hashed it; stands in every header. Ids of different algorithms are never compared. */
enum id_algorithm {
    ID_BLAKE3 = 1, /* "stemma identity 1" */
    /* 2 is reserved for the keyed form */
};

static inline bool id_is_null(const struct id *id)
{
    uint64_t w[4];

    memcpy(w, id, sizeof w);
    return (w[0] | w[1] | w[2] | w[3]) == 0;
}

static inline bool id_equal(const struct id *a, const struct id *b)
{
    return memcmp(a, b, sizeof *a) == 0;
}

/* Hashes one block and picks the instruction set: call once before threads start and before the
 * process is sealed (the library's own feature cache is a plain static). */
void hash_init(void);

/* The name of the instruction set in use ("avx512", "avx2", "sse41", "sse2", "neon", "portable").
 */
const char *hash_instruction_set(void);

/* Ids of n blocks of BLOCK_SIZE bytes each, anywhere in memory; a block of zeros gets the null id.
 * Blocks fill the SIMD lanes whatever clusters they belong to, so feed it as many as are at hand.
 * Any thread; no allocation. */
void hash_blocks(const uint8_t *const block[], size_t n, struct id out[]);

/* Ids of n parents at `level` (1 to 6), each over its f children (16 for level 1, else 512) that
 * stand one after another in `children` (n x f ids); a parent of null ids only is null. Any thread.
 */
void hash_parents(unsigned level, const struct id *children, size_t n, struct id out[]);

/* A run of clusters that have ids: clusters [first, first + count). */
struct id_run {
    uint64_t first;
    uint64_t count;
};

struct error;

/* The content id (level 6) of a disk whose clusters in `runs` (rising, not overlapping) have the
 * ids that stand one after another in `ids`, and whose other clusters are zero. Memory: 16,384
 * bytes a level, whatever the size. Fails only with ERR_LIMIT for clusters beyond DISK_SIZE_MAX. */
[[nodiscard]] int hash_content_id(const struct id_run *runs, size_t n_runs, const struct id *ids,
                                  struct id *out, struct error *e);

/* The disk id: of the size in bytes and the content id. */
void hash_disk_id(uint64_t size, const struct id *content, struct id *out);

/* Writes 64 hex digits and a NUL. */
void id_to_hex(const struct id *id, char out[65]);

#endif
