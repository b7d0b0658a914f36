/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The backing-file tree that saves most space. As an overlay on p, image c costs its own non-zero
 * clusters less those it shares with p, so the sum is smallest for a maximum spanning forest of the
 * shared bytes: roots and directions are free (facts and proof: docs/architecture.md). */
#ifndef STEMMA_CLUSTER_PLAN_H
#define STEMMA_CLUSTER_PLAN_H

#include "base/error.h"
#include "cluster/relation.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define PLAN_NONE UINT32_MAX

/* What may happen to an image. */
struct plan_image {
    uint64_t allocated; /* bytes its own files take on the host now */
    uint32_t backing;   /* it is an overlay already: of this image */
    bool has_backing;   /* it is an overlay already, perhaps of an image that is not among these */
    bool in_use;        /* it may get a backing file, but nothing may stand on it (a leaf) */
    const char *fixed;  /* why it takes no part at all ("block device"), or NULL */
};

/* Why an image keeps what it has. */
enum plan_action {
    PLAN_REBASE, /* becomes an overlay of `backing` */
    PLAN_ROOT,   /* stays whole; others stand on it, or nothing better was found */
    PLAN_KEEP,   /* is an overlay already and stays one (without `all`) */
    PLAN_FIXED,  /* cannot take part */
};

struct plan_step {
    enum plan_action action;
    uint32_t backing;       /* PLAN_NONE: no backing file among these images */
    uint64_t overlay_bytes; /* what its own file will take: predicted overlay file (REBASE), else
                             * what it takes now */
    uint64_t saves_bytes;   /* what it takes now less that, never negative */
};

struct plan {
    size_t n;
    struct plan_step *steps;
    uint64_t saves_bytes; /* sum */
};

void plan_release(struct plan *p);

/* `all`: existing backing relations may change too. The nearest-only form takes its edges from the
 * sketch's exact neighbours; else relation is used. Exactly one of the two is not NULL. An edge is
 * taken only when it saves more than its own metadata. Roots are chosen so that chains are shortest
 * (then the smallest index). Overlay sizes are exact: the writer's layout is known. */
[[nodiscard]] int plan_compute(const struct plan_image *images, const struct sig *const *sigs,
                               size_t n, const struct relation *relation,
                               const struct sketch *sketch, bool all, struct plan *out,
                               struct error *e);

/* The exact size of the file when `child` is written as an overlay of `parent`. */
uint64_t plan_overlay_bytes(const struct sig *child, const struct sig *parent);

#endif
