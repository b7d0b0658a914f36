/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Ids of a set of positions as small numbers: at each position (column) 0 is zero and the distinct
 * ids are 1, 2, ... in order of appearance, so that two disks (rows) are equal there exactly when
 * their labels are. Columns of up to 255 ids take 8 bits; wider ones move to a matrix of 16. */
#ifndef STEMMA_CLUSTER_LABELS_H
#define STEMMA_CLUSTER_LABELS_H

#include "base/auto.h"
#include "base/error.h"
#include "cluster/relation_kernel.h"
#include "sig/sig.h"

#define LABELS_COLUMNS_MAX 4096

/* Positions where some disk is not zero: rising, neither overlapping nor adjacent. */
struct span {
    uint64_t first, count;
    uint64_t before; /* positions in the spans before it */
};

struct spans {
    struct span *spans;
    size_t n;
    uint64_t positions;
};

void spans_release(struct spans *u);
[[nodiscard]] int spans_union(const struct sig *const *sigs, size_t n, struct spans *out,
                              struct error *e);
/* The position of that rank; `rank` < positions. */
uint64_t spans_position(const struct spans *u, uint64_t rank);
/* The next `n` positions from that rank on. */
void spans_positions(const struct spans *u, uint64_t rank, size_t n, uint64_t *out);

struct labels;
[[nodiscard]] struct labels *labels_new(const struct sig *const *sigs, size_t n, size_t columns,
                                        struct error *e);
void labels_free(struct labels *l);
AUTO_DEFINE(labels, labels_free);

/* Labels the disks at these rising positions (at most `columns` of labels_new). Whatever was
 * labelled before is forgotten. */
[[nodiscard]] int labels_fill(struct labels *l, const uint64_t *positions, size_t n_positions,
                              struct error *e);

/* Positions where the disk is not zero. Disks with none have no row. */
uint32_t labels_data(const struct labels *l, size_t i);

/* Of two disks: positions where both have data, and where that is the same. */
struct labels_count {
    uint32_t both, same;
};

typedef void labels_found(void *arg, size_t i, size_t j, struct labels_count count);

/* Counts for all pairs of rows i < j of disks [first, end) against [other, other_end), two ranges
 * that are the same or rising; pairs with a disk that has no row are not told. */
void labels_compare(const struct labels *l, const struct relation_kernel *kernel,
                    const size_t first[2], const size_t other[2], labels_found *found, void *arg);

/* All pairs of n disks in tiles of LABELS_TILE x LABELS_TILE: how many, and the two ranges of one.
 */
#define LABELS_TILE 64
size_t labels_tiles(size_t n);
void labels_tile(size_t n, size_t tile, size_t first[2], size_t other[2]);

#endif
