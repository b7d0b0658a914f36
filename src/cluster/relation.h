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

/* What a sketch knows: estimates for all pairs, the exact figures for the nearest. Two bytes a pair
 * for each of the two triangles: 200 MB for 10,000 disks. */
struct sketch {
    size_t n;
    uint64_t population;  /* positions where some disk is not zero */
    size_t positions;     /* sampled: 4096, or all of them if fewer */
    uint16_t *different;  /* sampled positions that differ: of i > j at i (i - 1) / 2 + j; */
    uint16_t *shared;     /* SKETCH_EXACT: the pair stands among the neighbours of one of them */
    uint64_t *data_bytes; /* of each disk */
    size_t n_neighbours;  /* of each image, at most */
    struct neighbour *neighbours; /* n x n_neighbours, nearest first (largest shared, then smallest
                                   * different, then index); image UINT32_MAX: no more */
};

#define SKETCH_EXACT UINT16_MAX

/* Bytes, as in struct relation: exact for neighbours and on the diagonal, else estimates. */
uint64_t sketch_different(const struct sketch *s, size_t i, size_t j);
uint64_t sketch_shared(const struct sketch *s, size_t i, size_t j);

void sketch_release(struct sketch *s);

/* Samples positions among those where some disk is not zero (fixed seed, one of each of 4096 equal
 * parts), estimates all pairs, and computes exactly for each disk its candidates for the nearest
 * and its link in the maximum spanning tree of the estimates, which is always among its neighbours:
 * a plan over neighbours is connected. `n_neighbours` >= 2. ERR_LIMIT above 65,535 disks. */
[[nodiscard]] int sketch_compute(const struct sig *const *sigs, size_t n, size_t n_neighbours,
                                 struct pool *pool, const struct cancel *cancel,
                                 struct progress *progress, struct sketch *out, struct error *e);

#endif
