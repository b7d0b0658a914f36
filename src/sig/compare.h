/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Two disks block by block. A shorter disk continues as zeros. */
#ifndef STEMMA_SIG_COMPARE_H
#define STEMMA_SIG_COMPARE_H

#include "disk/disk.h"
#include "sig/scan.h"
#include "sig/sig.h"

struct byte_range {
    uint64_t offset, length;
};

struct comparison {
    uint64_t sizes[2];
    uint64_t equal_bytes;      /* equal and not zero */
    uint64_t zero_bytes;       /* zero in both */
    uint64_t different_bytes;  /* the three add up to the larger size */
    uint64_t first_difference; /* UINT64_MAX: none */
    uint32_t granularity;      /* 1, 4096 or 65536: what the figures are exact to */
    struct byte_range *ranges; /* that differ; rising, merged; owned */
    size_t n_ranges;
};

void comparison_release(struct comparison *c);

/* From ids alone, to the cluster, each cluster cut at the end of the larger disk. */
[[nodiscard]] int compare_signatures(const struct sig *a, const struct sig *b,
                                     struct comparison *out, struct error *e);

/* To the byte: reads those clusters of both disks that `by_cluster` says differ. Clusters equal by
 * id keep their class; of the others equal bytes count as equal (zero_bytes is told by the
 * cluster). */
[[nodiscard]] int compare_exact(struct disk *a, struct disk *b, const struct comparison *by_cluster,
                                const struct scan_options *o, struct comparison *out,
                                struct error *e);

#endif
