/* SPDX-License-Identifier: GPL-2.0-or-later */
/* From images and their signatures to the whole of struct kinship. */
#ifndef STEMMA_CLUSTER_KINSHIP_BUILD_H
#define STEMMA_CLUSTER_KINSHIP_BUILD_H

#include "base/pool.h"
#include "base/progress.h"
#include "cluster/kinship.h"

/* Above this many images the matrices are left out unless asked for. */
#define KINSHIP_MATRIX_IMAGES 1000

struct kinship_options {
    enum linkage linkage;
    double threshold; /* 0 to 1 */
    bool sketch;      /* estimate, except among the nearest; `matrix` makes all exact again */
    bool matrix;      /* keep the matrices whatever the number of images */
    bool plan;        /* make a plan */
    bool all;         /* the plan may change existing backing relations */
    struct pool *pool;
    const struct cancel *cancel;
    struct progress *progress; /* may be NULL */
};

/* The caller has filled images (path, format, backing, ...; image i has the signature sigs[i]) and
 * leaves; n_leaves 0: each image is a leaf. Sizes, data and ids are taken from the signatures, the
 * rest is computed. On failure *k holds what the caller put there and is still to be released.
 *
 * The distance of two guests adds up those of their first disks, their second disks, and so on; a
 * disk that one of them lacks counts as zeros. ERR_LIMIT above 65,535 images. */
[[nodiscard]] int kinship_build(struct kinship *k, const struct sig *const *sigs,
                                const struct kinship_options *o, struct error *e);

#endif
