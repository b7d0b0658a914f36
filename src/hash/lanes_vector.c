/* SPDX-License-Identifier: GPL-2.0-or-later */
/* BLAKE3 over VECTOR_LANES messages at once in GNU vectors, for where the library hides its own
 * lanes. Built once for each instruction set (VECTOR_LANES, VECTOR_NAME; see meson.build). One
 * state word of all lanes stands in one vector; the names of h, m, t and G are those of the BLAKE3
 * paper, section 2.2. */
#include "hash/lanes_vector.h"

#define CHUNK_BYTES 1024u
#define MESSAGE_BYTES 64u

typedef uint32_t vec __attribute__((vector_size(4 * VECTOR_LANES)));
typedef uint16_t vec16 __attribute__((vector_size(4 * VECTOR_LANES)));
typedef uint8_t vec8 __attribute__((vector_size(4 * VECTOR_LANES)));

#define INLINE static inline __attribute__((always_inline))

static const uint32_t IV[8] = {0x6A09E667, 0xBB67AE85, 0x3C6EF372, 0xA54FF53A,
                               0x510E527F, 0x9B05688C, 0x1F83D9AB, 0x5BE0CD19};

/* Which message word each G of each round takes: the permutation of table 2, applied again and
 * again. */
static const uint8_t SCHEDULE[7][16] = {
    {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15},
    {2, 6, 3, 10, 7, 0, 4, 13, 1, 11, 12, 5, 9, 14, 15, 8},
    {3, 4, 10, 12, 13, 2, 7, 14, 6, 5, 9, 0, 11, 15, 8, 1},
    {10, 7, 12, 9, 14, 3, 13, 15, 4, 0, 11, 2, 5, 8, 1, 6},
    {12, 13, 9, 11, 15, 10, 14, 8, 7, 2, 5, 3, 0, 1, 6, 4},
    {9, 14, 11, 5, 8, 12, 15, 1, 13, 3, 0, 10, 2, 6, 4, 7},
    {11, 15, 5, 0, 1, 9, 8, 6, 14, 10, 2, 12, 3, 4, 7, 13},
};

#define ROTATE(x, n) (((x) >> (n)) | ((x) << (32 - (n))))

#define G(a, b, c, d, x, y)                                                                        \
    do {                                                                                           \
        (a) += (b) + (x);                                                                          \
        (d) = ROTATE((d) ^ (a), 16);                                                               \
        (c) += (d);                                                                                \
        (b) = ROTATE((b) ^ (c), 12);                                                               \
        (a) += (b) + (y);                                                                          \
        (d) = ROTATE((d) ^ (a), 8);                                                                \
        (c) += (d);                                                                                \
        (b) = ROTATE((b) ^ (c), 7);                                                                \
    } while (0)

INLINE void round_of(vec t[16], const vec m[16], const uint8_t s[16])
{
    G(t[0], t[4], t[8], t[12], m[s[0]], m[s[1]]);
    G(t[1], t[5], t[9], t[13], m[s[2]], m[s[3]]);
    G(t[2], t[6], t[10], t[14], m[s[4]], m[s[5]]);
    G(t[3], t[7], t[11], t[15], m[s[6]], m[s[7]]);
    G(t[0], t[5], t[10], t[15], m[s[8]], m[s[9]]);
    G(t[1], t[6], t[11], t[12], m[s[10]], m[s[11]]);
    G(t[2], t[7], t[8], t[13], m[s[12]], m[s[13]]);
    G(t[3], t[4], t[9], t[14], m[s[14]], m[s[15]]);
}

/* Section 2.2; the message blocks here are always full (b = 64). */
INLINE void compress(vec h[8], const vec m[16], uint32_t counter, uint32_t flags)
{
    vec t[16] = {h[0], h[1], h[2], h[3], h[4], h[5], h[6], h[7]};

    for (int i = 0; i < 4; i++)
        t[8 + i] = (vec){} + IV[i];
    t[12] = (vec){} + counter;
    t[13] = (vec){};
    t[14] = (vec){} + MESSAGE_BYTES;
    t[15] = (vec){} + flags;
    round_of(t, m, SCHEDULE[0]);
    round_of(t, m, SCHEDULE[1]);
    round_of(t, m, SCHEDULE[2]);
    round_of(t, m, SCHEDULE[3]);
    round_of(t, m, SCHEDULE[4]);
    round_of(t, m, SCHEDULE[5]);
    round_of(t, m, SCHEDULE[6]);
    for (int i = 0; i < 8; i++)
        h[i] = t[i] ^ t[8 + i];
}

/* Loads 64 bytes of each lane, turned: m[i] gets word i of all lanes. A matrix of VECTOR_LANES
 * words is turned in log2(VECTOR_LANES) steps, each of which swaps what stands off the diagonal in
 * blocks of twice the size. */
#define SHUFFLE(a, b, ...) __builtin_shufflevector(a, b, __VA_ARGS__)

#if VECTOR_LANES == 16
INLINE void load(vec m[16], const uint8_t *const in[], size_t at)
{
    vec a[16];

    for (int i = 0; i < 16; i++)
        memcpy(&m[i], in[i] + at, sizeof m[i]);
    for (int i = 0; i < 16; i += 2) {
        a[i] = SHUFFLE(m[i], m[i + 1], 0, 16, 2, 18, 4, 20, 6, 22, 8, 24, 10, 26, 12, 28, 14, 30);
        a[i + 1] =
            SHUFFLE(m[i], m[i + 1], 1, 17, 3, 19, 5, 21, 7, 23, 9, 25, 11, 27, 13, 29, 15, 31);
    }
    for (int j = 0; j < 8; j++) {
        int i = j / 2 * 4 + j % 2;

        m[i] = SHUFFLE(a[i], a[i + 2], 0, 1, 16, 17, 4, 5, 20, 21, 8, 9, 24, 25, 12, 13, 28, 29);
        m[i + 2] =
            SHUFFLE(a[i], a[i + 2], 2, 3, 18, 19, 6, 7, 22, 23, 10, 11, 26, 27, 14, 15, 30, 31);
    }
    for (int j = 0; j < 8; j++) {
        int i = j / 4 * 8 + j % 4;

        a[i] = SHUFFLE(m[i], m[i + 4], 0, 1, 2, 3, 16, 17, 18, 19, 8, 9, 10, 11, 24, 25, 26, 27);
        a[i + 4] =
            SHUFFLE(m[i], m[i + 4], 4, 5, 6, 7, 20, 21, 22, 23, 12, 13, 14, 15, 28, 29, 30, 31);
    }
    for (int i = 0; i < 8; i++) {
        m[i] = SHUFFLE(a[i], a[i + 8], 0, 1, 2, 3, 4, 5, 6, 7, 16, 17, 18, 19, 20, 21, 22, 23);
        m[i + 8] =
            SHUFFLE(a[i], a[i + 8], 8, 9, 10, 11, 12, 13, 14, 15, 24, 25, 26, 27, 28, 29, 30, 31);
    }
}
#elif VECTOR_LANES == 8
INLINE void load_half(vec m[8], const uint8_t *const in[], size_t at)
{
    vec a[8], b[8];

    for (int i = 0; i < 8; i++)
        memcpy(&b[i], in[i] + at, sizeof b[i]);
    for (int i = 0; i < 8; i += 2) {
        a[i] = SHUFFLE(b[i], b[i + 1], 0, 8, 2, 10, 4, 12, 6, 14);
        a[i + 1] = SHUFFLE(b[i], b[i + 1], 1, 9, 3, 11, 5, 13, 7, 15);
    }
    for (int j = 0; j < 4; j++) {
        int i = j / 2 * 4 + j % 2;

        b[i] = SHUFFLE(a[i], a[i + 2], 0, 1, 8, 9, 4, 5, 12, 13);
        b[i + 2] = SHUFFLE(a[i], a[i + 2], 2, 3, 10, 11, 6, 7, 14, 15);
    }
    for (int i = 0; i < 4; i++) {
        m[i] = SHUFFLE(b[i], b[i + 4], 0, 1, 2, 3, 8, 9, 10, 11);
        m[i + 4] = SHUFFLE(b[i], b[i + 4], 4, 5, 6, 7, 12, 13, 14, 15);
    }
}

INLINE void load(vec m[16], const uint8_t *const in[], size_t at)
{
    load_half(m, in, at);
    load_half(m + 8, in, at + 32);
}
#else
INLINE void load(vec m[16], const uint8_t *const in[], size_t at)
{
    for (int q = 0; q < 4; q++) {
        vec a[4], b[4];

        for (int i = 0; i < 4; i++)
            memcpy(&a[i], in[i] + at + 16 * q, sizeof a[i]);
        b[0] = SHUFFLE(a[0], a[1], 0, 4, 1, 5);
        b[1] = SHUFFLE(a[0], a[1], 2, 6, 3, 7);
        b[2] = SHUFFLE(a[2], a[3], 0, 4, 1, 5);
        b[3] = SHUFFLE(a[2], a[3], 2, 6, 3, 7);
        m[4 * q] = SHUFFLE(b[0], b[2], 0, 1, 4, 5);
        m[4 * q + 1] = SHUFFLE(b[0], b[2], 2, 3, 6, 7);
        m[4 * q + 2] = SHUFFLE(b[1], b[3], 0, 1, 4, 5);
        m[4 * q + 3] = SHUFFLE(b[1], b[3], 2, 3, 6, 7);
    }
}
#endif

INLINE void set_iv(vec h[8])
{
    for (int i = 0; i < 8; i++)
        h[i] = (vec){} + IV[i];
}

INLINE void store(const vec h[8], size_t n, struct id out[])
{
    for (size_t lane = 0; lane < n; lane++)
        for (int i = 0; i < 8; i++) {
            uint32_t word = h[i][lane];

            memcpy(out[lane].bytes + 4 * i, &word, sizeof word);
        }
}

static void chunk(vec h[8], const uint8_t *const in[], size_t at, uint32_t counter)
{
    vec m[16];

    set_iv(h);
    for (size_t b = 0; b < CHUNK_BYTES; b += MESSAGE_BYTES) {
        load(m, in, at + b);
        compress(h, m, counter,
                 (b == 0 ? LANE_CHUNK_START : 0) |
                     (b + MESSAGE_BYTES == CHUNK_BYTES ? LANE_CHUNK_END : 0));
    }
}

/* The parents' messages are the children's states as they stand: nothing is turned back until the
 * end. */
static void parent(vec h[8], const vec left[8], const vec right[8], uint32_t flags)
{
    vec m[16];

    for (int i = 0; i < 8; i++) {
        m[i] = left[i];
        m[8 + i] = right[i];
    }
    set_iv(h);
    compress(h, m, 0, LANE_PARENT | flags);
}

static void blocks_full(const uint8_t *const in[], size_t n, struct id out[])
{
    vec cv[4][8], top[2][8], root[8];

    for (uint32_t c = 0; c < 4; c++)
        chunk(cv[c], in, c * CHUNK_BYTES, c);
    parent(top[0], cv[0], cv[1], 0);
    parent(top[1], cv[2], cv[3], 0);
    parent(root, top[0], top[1], LANE_ROOT);
    store(root, n, out);
}

static void clusters_full(const uint32_t key[8], const uint8_t *const in[], size_t n,
                          struct id out[])
{
    const size_t length = CLUSTER_BLOCKS * sizeof(struct id);
    vec h[8], m[16];

    for (int i = 0; i < 8; i++)
        h[i] = (vec){} + key[i];
    for (size_t b = 0; b < length; b += MESSAGE_BYTES) {
        load(m, in, b);
        compress(h, m, 0,
                 LANE_DERIVE_KEY_MATERIAL | (b == 0 ? LANE_CHUNK_START : 0) |
                     (b + MESSAGE_BYTES == length ? LANE_CHUNK_END | LANE_ROOT : 0));
    }
    store(h, n, out);
}

/* Takes the next messages, repeats the last one in lanes that stay empty, and tells how many. */
static size_t fill(const uint8_t *in[VECTOR_LANES], const void *const from[], size_t left)
{
    size_t n = left < VECTOR_LANES ? left : VECTOR_LANES;

    for (size_t i = 0; i < VECTOR_LANES; i++)
        in[i] = from[i < n ? i : n - 1];
    return n;
}

static void vector_blocks(const uint8_t *const block[], size_t n, struct id out[])
{
    const uint8_t *in[VECTOR_LANES];

    for (size_t i = 0; i < n; i += VECTOR_LANES)
        blocks_full(in, fill(in, (const void *const *)block + i, n - i), out + i);
}

static void vector_clusters(const uint32_t key[8], const struct id *const ids[], size_t n,
                            struct id out[])
{
    const uint8_t *in[VECTOR_LANES];

    for (size_t i = 0; i < n; i += VECTOR_LANES)
        clusters_full(key, in, fill(in, (const void *const *)ids + i, n - i), out + i);
}

const struct lane_kernel VECTOR_KERNEL = {
    .name = VECTOR_NAME,
    .usable = VECTOR_USABLE,
    .blocks = vector_blocks,
    .clusters = vector_clusters,
};
