/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Random families of signatures, made by hand, with the plain table of ids that they stand for. */
#ifndef STEMMA_TESTS_CLUSTER_RELATIVES_H
#define STEMMA_TESTS_CLUSTER_RELATIVES_H

#include "base/pool.h"
#include "sig/sig.h"

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

static uint64_t random_state_ = 88172645463325252U;

static inline uint64_t random_next(void)
{
    random_state_ ^= random_state_ << 13;
    random_state_ ^= random_state_ >> 7;
    random_state_ ^= random_state_ << 17;
    return random_state_;
}

static inline uint64_t random_below(uint64_t n)
{
    return (random_next() >> 11) % n;
}

/* Content of cluster p of disk i is the number at [i * clusters + p]; 0 is zeros. */
struct family {
    size_t n;
    uint64_t clusters;
    uint32_t *content;
    struct sig *sigs;
    const struct sig **list;
};

static inline void family_release(struct family *f)
{
    for (size_t i = 0; i < f->n; i++) {
        free((void *)f->sigs[i].runs);
        free((void *)f->sigs[i].ids);
    }
    free(f->content);
    free(f->sigs);
    free(f->list);
}

static inline struct family family_new(size_t n, uint64_t clusters)
{
    return (struct family){
        .n = n,
        .clusters = clusters,
        .content = calloc(n * clusters + 1, sizeof(uint32_t)),
        .sigs = calloc(n + 1, sizeof(struct sig)),
        .list = calloc(n + 1, sizeof(struct sig *)),
    };
}

static inline uint32_t family_at(const struct family *f, size_t i, uint64_t p)
{
    return p < f->clusters ? f->content[i * f->clusters + p] : 0;
}

/* The signature of disk i from its row. */
static inline void family_sign(struct family *f, size_t i, uint64_t size)
{
    struct sig *s = f->sigs + i;
    struct sig_run *runs = calloc(f->clusters + 1, sizeof *runs);
    struct id *ids = calloc(f->clusters + 1, sizeof *ids);

    *s = (struct sig){.size = size};
    for (uint64_t p = 0; p < sig_clusters(s); p++) {
        uint32_t content = family_at(f, i, p);

        if (content == 0)
            continue;
        if (s->n_runs == 0 || runs[s->n_runs - 1].first + runs[s->n_runs - 1].count != p)
            runs[s->n_runs++] = (struct sig_run){p, 0, s->n_ids};
        runs[s->n_runs - 1].count++;
        memcpy(&ids[s->n_ids].bytes[(content % 5) * 5], &content, sizeof content);
        ids[s->n_ids++].bytes[31] = (uint8_t)(1 + content % 5);
        s->data_bytes +=
            size - p * CLUSTER_SIZE < CLUSTER_SIZE ? size - p * CLUSTER_SIZE : CLUSTER_SIZE;
    }
    s->runs = runs;
    s->ids = ids;
    f->list[i] = s;
}

/* Clones of `roots` disks, each changed a little from an earlier one; sizes differ and mostly end
 * inside a cluster; `colours` ids may stand anywhere, the others at one place. */
static inline struct family family_random(size_t n, uint64_t clusters, size_t roots,
                                          uint32_t colours)
{
    struct family f = family_new(n, clusters);
    uint32_t fresh = colours;

    for (size_t i = 0; i < n; i++) {
        uint32_t *row = f.content + i * clusters;
        uint64_t used = i % 3 == 0 ? clusters : 1 + random_below(clusters);
        uint64_t changes = random_below(clusters / 4 + 2);

        if (i >= roots && random_below(8) > 0) {
            memcpy(row, f.content + random_below(i) * clusters, clusters * sizeof *row);
        } else {
            for (uint64_t p = 0; p < clusters; p++)
                row[p] = (p / 8 % 3 == i % 2) ? ++fresh : 0;
        }
        while (changes-- > 0) {
            uint64_t kind = random_below(4);

            row[random_below(clusters)] = kind == 0   ? 0
                                          : kind == 1 ? ++fresh
                                                      : 1 + (uint32_t)random_below(colours);
        }
        if (random_below(20) == 0)
            used = 0;
        for (uint64_t p = used; p < clusters; p++)
            row[p] = 0;
        family_sign(
            &f, i,
            used == 0 ? 0 : used * CLUSTER_SIZE - (random_below(4) ? random_below(128) * 512 : 0));
    }
    return f;
}

#endif
