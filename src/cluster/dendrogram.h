/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Hierarchical clustering: which disks join first. Equal distances join at once, as siblings, but
 * only disks that belong together: two tied pairs of unrelated families stay two families. */
#ifndef STEMMA_CLUSTER_DENDROGRAM_H
#define STEMMA_CLUSTER_DENDROGRAM_H

#include "base/error.h"

#include <stddef.h>
#include <stdint.h>

enum linkage {
    LINKAGE_SINGLE,   /* nearest members (Prim's minimum spanning tree) */
    LINKAGE_AVERAGE,  /* mean over all pairs of members (nearest-neighbour chain) */
    LINKAGE_COMPLETE, /* farthest members (nearest-neighbour chain) */
};

/* Node i < n_leaves is leaf i. The others are joins; a join's children stand before it, and have a
 * smaller distance than it unless they are leaves. */
struct dendrogram_node {
    uint64_t different; /* bytes different at the join, as the linkage measures it, but more than at
                         * each family that strangers' joins join; 0 for leaves */
    uint64_t shared;    /* bytes shared: of those pairs (single: the most, complete: the least), or
                         * their mean, rounded down */
    uint32_t first;     /* into children[] */
    uint32_t count;     /* 0 for leaves, else >= 2 */
    uint32_t leaves;    /* leaves below, 1 for a leaf */
};

struct dendrogram {
    size_t n_leaves, n_nodes;
    struct dendrogram_node *nodes;
    uint32_t *children; /* node indices; of one join: ordered by their smallest leaf */
    size_t n_children;
    uint32_t root; /* UINT32_MAX when there are no leaves */
};

void dendrogram_release(struct dendrogram *d);

/* Distances and shares of leaves: at(arg, i, j). Symmetric. */
struct dendrogram_input {
    size_t n;
    uint64_t (*different)(const void *arg, size_t i, size_t j);
    uint64_t (*shared)(const void *arg, size_t i, size_t j);
    const void *arg;
    /* Pairs that share less than this part (share_of()) are strangers. Kin join before strangers
     * do, however near those are: a clone that grew differs from its base by more than the base
     * does from an empty disk. (Average: whom a chain of kin joins.) 0: all are kin. */
    double kin;
};

/* O(n^2) time. Equal input gives the equal tree, whatever the order of equal distances. */
[[nodiscard]] int dendrogram_build(const struct dendrogram_input *input, enum linkage linkage,
                                   struct dendrogram *out, struct error *e);

/* Per cent shared = shared / (shared + different), in [0, 1]; two empty disks share all. */
double share_of(uint64_t shared, uint64_t different);

/* Families: the largest subtrees in which every join has at most `threshold` (0 to 1) of its bytes
 * different, that is share_of() >= 1 - threshold. family[i] of leaf i, numbered from 0 in the order
 * of their smallest leaf; *n says how many. */
[[nodiscard]] int dendrogram_families(const struct dendrogram *d, double threshold,
                                      uint32_t *family, size_t *n, struct error *e);

/* Leaves below `node` in drawing order, into out[] (nodes[node].leaves of them). No recursion:
 * trees may be as deep as they have leaves. Returns the count. */
size_t dendrogram_leaves(const struct dendrogram *d, uint32_t node, uint32_t *out);

#endif
