/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The lanes of the BLAKE3 C source: its blake3_hash_many, one for each instruction set. It hashes
 * messages of whole 64-byte blocks that are no longer than a chunk, so a block of 4 KiB is four
 * chunks, two parents and a root, each step over all lanes. */
#include "hash/lanes.h"
#include "hash/lanes_cpu.h"

#include <assert.h>
#include <blake3_impl.h>

#define CHUNKS (BLOCK_SIZE / BLAKE3_CHUNK_LEN)

typedef typeof(blake3_hash_many) hash_many;

static_assert(LANE_CHUNK_START == CHUNK_START && LANE_CHUNK_END == CHUNK_END);
static_assert(LANE_PARENT == PARENT && LANE_ROOT == ROOT);
static_assert(LANE_DERIVE_KEY_MATERIAL == DERIVE_KEY_MATERIAL);
static_assert(CHUNKS == 4);

static inline __attribute__((always_inline)) void
blocks_with(hash_many *many, const uint8_t *const block[], size_t n, struct id out[])
{
    uint8_t chunk[LANES_MAX][CHUNKS][BLAKE3_OUT_LEN];
    uint8_t cv[LANES_MAX * 2][BLAKE3_OUT_LEN];
    const uint8_t *in[LANES_MAX * 2];

    for (size_t c = 0; c < CHUNKS; c++) {
        for (size_t i = 0; i < n; i++)
            in[i] = block[i] + c * BLAKE3_CHUNK_LEN;
        many(in, n, BLAKE3_CHUNK_LEN / BLAKE3_BLOCK_LEN, IV, c, false, 0, CHUNK_START, CHUNK_END,
             cv[0]);
        for (size_t i = 0; i < n; i++)
            memcpy(chunk[i][c], cv[i], BLAKE3_OUT_LEN);
    }
    for (size_t i = 0; i < 2 * n; i++)
        in[i] = chunk[i / 2][i % 2 * 2];
    many(in, 2 * n, 1, IV, 0, false, PARENT, 0, 0, cv[0]);
    for (size_t i = 0; i < n; i++)
        in[i] = cv[2 * i];
    many(in, n, 1, IV, 0, false, PARENT | ROOT, 0, 0, out[0].bytes);
}

static inline __attribute__((always_inline)) void clusters_with(hash_many *many,
                                                                const uint32_t key[8],
                                                                const struct id *const ids[],
                                                                size_t n, struct id out[])
{
    const uint8_t *in[LANES_MAX];

    for (size_t i = 0; i < n; i++)
        in[i] = ids[i]->bytes;
    many(in, n, CLUSTER_BLOCKS * sizeof(struct id) / BLAKE3_BLOCK_LEN, key, 0, false,
         DERIVE_KEY_MATERIAL, CHUNK_START, CHUNK_END | ROOT, out[0].bytes);
}

#define KERNEL(set, has)                                                                           \
    static void blocks_##set(const uint8_t *const block[], size_t n, struct id out[])              \
    {                                                                                              \
        blocks_with(blake3_hash_many_##set, block, n, out);                                        \
    }                                                                                              \
    static void clusters_##set(const uint32_t key[8], const struct id *const ids[], size_t n,      \
                               struct id out[])                                                    \
    {                                                                                              \
        clusters_with(blake3_hash_many_##set, key, ids, n, out);                                   \
    }                                                                                              \
    static const struct lane_kernel kernel_##set = {                                               \
        .name = #set, .usable = has, .blocks = blocks_##set, .clusters = clusters_##set}

KERNEL(portable, cpu_any);
#if defined __x86_64__
KERNEL(avx512, cpu_avx512);
KERNEL(avx2, cpu_avx2);
KERNEL(sse41, cpu_sse41);
KERNEL(sse2, cpu_any);
#elif BLAKE3_USE_NEON == 1
KERNEL(neon, cpu_any);
#endif

const struct lane_kernel *const lanes_blake3[] = {
#if defined __x86_64__
    &kernel_avx512,   &kernel_avx2, &kernel_sse41, &kernel_sse2,
#elif BLAKE3_USE_NEON == 1
    &kernel_neon,
#endif
    &kernel_portable, NULL,
};
