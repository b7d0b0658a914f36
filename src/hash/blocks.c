/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "hash/digest.h"
#include "hash/lanes.h"
#include "hash/zero.h"

#include <assert.h>
#include <blake3.h>
#include <stdio.h>

#define NODE_LEVEL 2 /* from here on a parent has ID_FANOUT children */

/* Written by hash_init() only. */
static const struct lane_kernel *kernel;
static uint32_t cluster_key[8];              /* of level 1's context */
static blake3_hasher node_hasher[ID_LEVELS]; /* with the context of its level, nothing hashed yet */

void hash_init(void)
{
    static const uint8_t message[BLOCK_SIZE] = {1};
    const uint8_t *block = message;
    struct id id;

    for (unsigned level = 1; level < ID_LEVELS; level++) {
        char context[32];

        snprintf(context, sizeof context, "stemma identity 1 level %u", level);
        blake3_hasher_init_derive_key(&node_hasher[level], context);
    }
    memcpy(cluster_key, node_hasher[1].key, sizeof cluster_key);
    kernel = lanes_choose();
    hash_blocks(&block, 1, &id);
}

void hash_use_lanes(const struct lane_kernel *k)
{
    kernel = k;
}

const char *hash_instruction_set(void)
{
    return kernel->name;
}

/* Messages that wait until the lanes are full, and where their ids go. */
struct lanes {
    size_t n;
    const void *in[LANES_MAX];
    struct id *out[LANES_MAX];
};

static inline void lanes_add(struct lanes *l, const void *in, struct id *out)
{
    l->in[l->n] = in;
    l->out[l->n++] = out;
}

static inline void lanes_scatter(struct lanes *l, const struct id *ids)
{
    for (size_t i = 0; i < l->n; i++)
        *l->out[i] = ids[i];
    l->n = 0;
}

static void flush_blocks(struct lanes *l)
{
    struct id ids[LANES_MAX];

    kernel->blocks((const uint8_t *const *)l->in, l->n, ids);
    lanes_scatter(l, ids);
}

static void flush_clusters(struct lanes *l)
{
    struct id ids[LANES_MAX];

    kernel->clusters(cluster_key, (const struct id *const *)l->in, l->n, ids);
    lanes_scatter(l, ids);
}

void hash_blocks(const uint8_t *const block[], size_t n, struct id out[])
{
    struct lanes l;

    assert(kernel != NULL);
    l.n = 0;
    for (size_t i = 0; i < n; i++) {
        if (zero_test(block[i], BLOCK_SIZE)) {
            out[i] = (struct id){};
            continue;
        }
        lanes_add(&l, block[i], &out[i]);
        if (l.n == LANES_MAX)
            flush_blocks(&l);
    }
    if (l.n != 0)
        flush_blocks(&l);
}

static void hash_clusters(const struct id *children, size_t n, struct id out[])
{
    struct lanes l;

    l.n = 0;
    for (size_t i = 0; i < n; i++) {
        const struct id *ids = children + i * CLUSTER_BLOCKS;

        if (zero_test(ids, CLUSTER_BLOCKS * sizeof *ids)) {
            out[i] = (struct id){};
            continue;
        }
        lanes_add(&l, ids, &out[i]);
        if (l.n == LANES_MAX)
            flush_clusters(&l);
    }
    if (l.n != 0)
        flush_clusters(&l);
}

/* 16 KiB fill the lanes of the library's own tree. */
static void hash_node(unsigned level, const struct id *children, struct id *out)
{
    blake3_hasher h;

    if (zero_test(children, ID_FANOUT * sizeof *children)) {
        *out = (struct id){};
        return;
    }
    h = node_hasher[level];
    blake3_hasher_update(&h, children, ID_FANOUT * sizeof *children);
    blake3_hasher_finalize(&h, out->bytes, sizeof out->bytes);
}

void hash_parents(unsigned level, const struct id *children, size_t n, struct id out[])
{
    assert(kernel != NULL && level >= 1 && level < ID_LEVELS);
    if (level < NODE_LEVEL) {
        hash_clusters(children, n, out);
        return;
    }
    for (size_t i = 0; i < n; i++)
        hash_node(level, children + i * ID_FANOUT, &out[i]);
}
