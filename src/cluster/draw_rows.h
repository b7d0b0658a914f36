/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The order and shape in which a family is drawn on lines.
 *
 * A family is a spine: its first line starts it, and each further line joins all lines above it on
 * the same spine, at a distance that never falls on the way down. A join's largest branch goes on
 * along the spine and only the others open one of their own, a level deeper, so a tree of n lines
 * has at most log2(n) levels, whatever its depth: chains of joins are one straight spine. */
#ifndef STEMMA_CLUSTER_DRAW_ROWS_H
#define STEMMA_CLUSTER_DRAW_ROWS_H

#include "cluster/kinship.h"

/* One line: a leaf, or all leaves below a join at distance 0 (which are identical). */
struct draw_row {
    uint32_t node;
    uint32_t join;   /* where it joins the lines above; UINT32_MAX for the first line */
    uint16_t corner; /* level of the spine it hangs on (not of the first line) */
    uint16_t level;  /* corner, or corner + 1 when it starts a spine of its own */
    bool last;       /* the last line of the spine it hangs on */
    bool folded; /* its own spine would be too deep: it stands on the one below which it belongs */
};

struct draw_rows {
    size_t n;
    struct draw_row *rows;
    bool folded; /* some row is */
};

/* At most `levels` levels below the first; more is folded. */
[[nodiscard]] int draw_rows_make(const struct dendrogram *d, uint32_t root, unsigned levels,
                                 struct draw_rows *out, struct error *e);
void draw_rows_release(struct draw_rows *r);

#endif
