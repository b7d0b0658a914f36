/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Inside of hash/: BLAKE3 over many messages of equal length at once, one in each SIMD lane.
 * BLAKE3, section 5.3 ("SIMD"); the flags are those of its table 3. */
#ifndef STEMMA_HASH_LANES_H
#define STEMMA_HASH_LANES_H

#include "hash/id.h"

#define LANES_MAX 16 /* messages that one call takes */

#define LANE_CHUNK_START 1
#define LANE_CHUNK_END 2
#define LANE_PARENT 4
#define LANE_ROOT 8
#define LANE_DERIVE_KEY_MATERIAL 64

/* One instruction set. All kernels give the same ids. */
struct lane_kernel {
    const char *name; /* what hash_instruction_set() says */
    bool (*usable)(void);

    /* Plain BLAKE3 of n <= LANES_MAX blocks of BLOCK_SIZE bytes. */
    void (*blocks)(const uint8_t *const block[], size_t n, struct id out[]);

    /* BLAKE3 derive_key, key already derived from the context, of n <= LANES_MAX lists of
     * CLUSTER_BLOCKS ids each. */
    void (*clusters)(const uint32_t key[8], const struct id *const ids[], size_t n,
                     struct id out[]);
};

/* Ours, in GNU vectors; fastest first, ends with NULL, the one before can always be used. */
extern const struct lane_kernel *const lanes_vector[];

/* The BLAKE3 source's own, of the same shape; present when we build from that source. */
extern const struct lane_kernel *const lanes_blake3[];

/* The fastest of what this build prefers that the processor has. */
const struct lane_kernel *lanes_choose(void);

/* Makes hash_blocks() and hash_parents() use another one: for tests and measurements, after
 * hash_init(), while no thread hashes. */
void hash_use_lanes(const struct lane_kernel *k);

#endif
