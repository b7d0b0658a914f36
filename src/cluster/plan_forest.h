/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The maximum spanning forest behind a plan: who stands on whom. */
#ifndef STEMMA_CLUSTER_PLAN_FOREST_H
#define STEMMA_CLUSTER_PLAN_FOREST_H

#include "cluster/relation.h"

enum forest_role {
    FOREST_OUT,  /* stands on nothing new, and nothing new stands on it */
    FOREST_FREE, /* may stand anywhere, and be stood on */
    FOREST_FIRM, /* stays where it is, and may be stood on */
    FOREST_LEAF, /* may stand on free and firm ones */
};

struct forest_input {
    size_t n;
    const enum forest_role *role;
    const struct relation *relation; /* or */
    const struct sketch *sketch;
    /* Bytes saved when `child` stands on `parent`; 0: none. */
    uint64_t (*saves)(const void *arg, uint32_t child, uint32_t parent);
    const void *arg;
};

/* Sets parent[i] of the free images and the leaves that gain by standing on another; leaves the
 * others as they are. */
[[nodiscard]] int forest_build(const struct forest_input *in, uint32_t *parent, struct error *e);

#endif
