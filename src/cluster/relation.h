/* SPDX-License-Identifier: GPL-2.0-or-later */
/* How much every two of n disks have in common, exactly: clusters at the same position with the
 * same id. Ids are relabelled position by position to small numbers and compared with SIMD, a slab
 * of positions at a time, so that memory is the matrices and one slab. */
#ifndef STEMMA_CLUSTER_RELATION_H
#define STEMMA_CLUSTER_RELATION_H

#include "base/pool.h"
#include "base/progress.h"
#include "sig/sig.h"

/* Two symmetric n x n matrices, row by row. [i * n + j] is, over all clusters, each cut at the end
 * of the larger of the two disks: */
struct relation {
    size_t n;
    uint64_t *different; /* bytes of clusters that differ; 0 on the diagonal */
    uint64_t
        *shared; /* bytes of clusters that are equal and not zero; data bytes on the diagonal */
};

void relation_release(struct relation *r);

/* ERR_LIMIT above 65,535 disks. */
[[nodiscard]] int relation_compute(const struct sig *const *sigs, size_t n, struct pool *pool,
                                   const struct cancel *cancel, struct progress *progress,
                                   struct relation *out, struct error *e);

/* One pair, by walking the two signatures (the definition; also what sketches are refined with). */
void relation_pair(const struct sig *a, const struct sig *b, uint64_t *different, uint64_t *shared);

/* ---- for thousands of images ---- */

struct neighbour {
    uint32_t image;
    uint64_t different, shared; /* exact */
};

/* What a sketch knows: estimates for all pairs, the exact figures for the nearest. */
struct sketch {
    size_t n;
    size_t positions; /* sampled (4096, or all positions where some disk is not zero, if fewer) */
    float *different; /* n x n estimates in bytes, exact where known */
    float *shared;
    size_t n_neighbours;          /* of each image, at most */
    struct neighbour *neighbours; /* n x n_neighbours, nearest first (largest shared, then smallest
                                   * different, then index); image UINT32_MAX: no more */
};

void sketch_release(struct sketch *s);

/* Samples positions among those where some disk is not zero (fixed seed), estimates all pairs and
 * computes the nearest `n_neighbours` of each image exactly. */
[[nodiscard]] int sketch_compute(const struct sig *const *sigs, size_t n, size_t n_neighbours,
                                 struct pool *pool, const struct cancel *cancel,
                                 struct progress *progress, struct sketch *out, struct error *e);

#endif
