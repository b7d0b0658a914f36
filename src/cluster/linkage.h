/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The order in which clusters join, before it is made a tree. */
#ifndef STEMMA_CLUSTER_LINKAGE_H
#define STEMMA_CLUSTER_LINKAGE_H

#include "cluster/dendrogram.h"

/* The clusters that hold leaves a and b join at this distance (average: the mean, rounded down). */
struct linkage_merge {
    uint64_t height; /* of strangers: + LINKAGE_STRANGERS */
    uint32_t a, b;
};

/* No distance of kin comes near it. */
#define LINKAGE_STRANGERS (UINT64_C(1) << 63)

/* n - 1 merges by rising height; of equal ones, those below come first. Single linkage: Prim, 1957;
 * the others: nearest-neighbour chains (Murtagh, 1983), which give the same tree as joining the
 * nearest two again and again. Memory: 8 n^2 / 2 bytes, except for single linkage. */
[[nodiscard]] int linkage_merges(const struct dendrogram_input *input, enum linkage linkage,
                                 struct linkage_merge *out, struct error *e);

#endif
