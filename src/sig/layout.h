/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What a scan has to do: the extents of one layer turned into work. Internal to sig/.
 *
 * Each cluster of the disk becomes one of: nothing (zeros), a cluster taken from the backing disk's
 * signature, a part of one `piece` (plain bytes of a host file), or a cluster to `read` through
 * the disk. All memory is proportional to the data and the number of extents. */
#ifndef STEMMA_SIG_LAYOUT_H
#define STEMMA_SIG_LAYOUT_H

#include "base/pool.h"
#include "disk/disk.h"
#include "disk/reader.h"
#include "sig/sig.h"

/* Plain bytes of a host file that follow each other there and on the disk, READER_MAX at most. They
 * begin `skip` blocks into the cluster whose id is ids[at]; around them their clusters are zero. */
struct piece {
    uint64_t host_offset;
    uint64_t at;
    uint32_t length;
    uint32_t skip : 4, file : 28;
};

/* A cluster whose content is put together by disk_pread_padded(). */
struct mixed {
    uint64_t cluster, at;
};

/* ids[at ...] are `count` ids of the backing disk's signature, from its ids[from] on. */
struct borrowed {
    uint64_t at, from, count;
};

struct layout {
    struct disk *disk;        /* borrowed */
    const struct sig *base;   /* borrowed; may be NULL */
    struct host_file **files; /* that pieces lie in; borrowed from the disk */
    size_t n_files, cap_files;
    struct piece *pieces;
    size_t n_pieces, cap_pieces;
    struct mixed *mixed; /* rising */
    size_t n_mixed, cap_mixed;
    struct borrowed *borrowed;
    size_t n_borrowed, cap_borrowed;
    struct id_run *runs; /* the clusters that may have an id; rising */
    size_t n_runs, cap_runs;
    uint64_t n_ids;      /* in all runs */
    uint64_t data_bytes; /* that will be read */
};

/* Asks for every extent of the disk. `base` is the signature of the backing disk, or NULL. */
[[nodiscard]] int layout_make(struct layout *l, struct disk *d, const struct sig *base,
                              const struct cancel *cancel, struct error *e);
void layout_release(struct layout *l);

#endif
