/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The L1 and L2 tables of a qcow2 image: what each piece of the disk is. L2 tables are read in
 * slices, of which a bounded number is kept. Source of the format: QEMU, docs/interop/qcow2.txt,
 * "Cluster mapping" and "Extended L2 Entries". */
#ifndef STEMMA_DISK_QCOW2_TABLE_H
#define STEMMA_DISK_QCOW2_TABLE_H

#include "base/auto.h"
#include "base/error.h"
#include "disk/file.h"

#include <stdbool.h>
#include <stdint.h>

/* How the entries of an image are to be understood. */
struct qcow2_layout {
    unsigned version;
    unsigned cluster_bits;
    bool extended;  /* L2 entries with 32 subclusters */
    bool data_file; /* data stands in an external file, at the guest's own offsets */
    uint64_t size;  /* virtual size in bytes */
};

enum qcow2_kind {
    QCOW2_UNALLOCATED,
    QCOW2_ZERO,           /* reads as zeros, no host cluster */
    QCOW2_ZERO_ALLOCATED, /* reads as zeros, a host cluster is reserved */
    QCOW2_DATA,           /* plain bytes at `host` */
    QCOW2_COMPRESSED,     /* see qcow2_compressed_place() */
};

struct qcow2_run {
    enum qcow2_kind kind;
    uint64_t length; /* bytes of the disk, from where it was asked on */
    uint64_t host;   /* DATA: offset in the host file; COMPRESSED: the cluster's descriptor */
};

/* What one L2 entry (with its subcluster bitmap, if extended) says of the disk at `offset`, as far
 * as all is of one kind within this cluster. Pure. ERR_FORMAT. */
[[nodiscard]] int qcow2_entry_run(const struct qcow2_layout *layout, uint64_t entry,
                                  uint64_t bitmap, uint64_t offset, struct qcow2_run *out,
                                  struct error *e);

/* Where a compressed cluster's data stands: offset in the file, and bytes up to the end of its last
 * sector. */
void qcow2_compressed_place(const struct qcow2_layout *layout, uint64_t descriptor,
                            uint64_t *offset, uint64_t *length);

/* Disk bytes that one L1 entry covers, as a power of 2. */
unsigned qcow2_l1_bits(const struct qcow2_layout *layout);

struct qcow2_table;

/* Reads the L1 table: of its `entries` at `offset` of the file only as many as the size needs.
 * ERR_FORMAT when they are too few or lie outside the file, ERR_LIMIT when they take more than
 * table_bytes of memory. `f` is borrowed and must outlive the table. */
[[nodiscard]] struct qcow2_table *qcow2_table_new(const struct qcow2_layout *layout,
                                                  struct host_file *f, uint64_t offset,
                                                  uint64_t entries, uint64_t table_bytes,
                                                  struct error *e);
void qcow2_table_free(struct qcow2_table *t);
AUTO_DEFINE(qcow2_table, qcow2_table_free);

/* The run that starts at `offset` (< size): neighbours of the same kind (and contiguous on the
 * host) are one, across tables up to a bound of work; a compressed cluster stands alone. May reach
 * beyond the size. Any thread. */
[[nodiscard]] int qcow2_table_run(struct qcow2_table *t, uint64_t offset, struct qcow2_run *out,
                                  struct error *e);

#endif
