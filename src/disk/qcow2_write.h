/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Writes a qcow2 version 3 image with 64 KiB clusters: clusters in rising order, each once. The
 * layout is fixed, so its size is known before (docs/formats/overlay.md). Source of the format:
 * QEMU, docs/interop/qcow2.txt. */
#ifndef STEMMA_DISK_QCOW2_WRITE_H
#define STEMMA_DISK_QCOW2_WRITE_H

#include "base/auto.h"
#include "base/error.h"

#include <stddef.h>
#include <stdint.h>

struct qcow2_writer;

struct qcow2_write_options {
    uint64_t virtual_size;      /* bytes; rounded up to 512 in the header */
    const char *backing_name;   /* as it is to stand in the header; NULL: none */
    const char *backing_format; /* "raw" or "qcow2" */
};

/* Writes to `fd` (empty file, borrowed). The header goes last, so that an unfinished file is no
 * image. */
[[nodiscard]] struct qcow2_writer *qcow2_writer_new(int fd, const struct qcow2_write_options *o,
                                                    struct error *e);
void qcow2_writer_free(struct qcow2_writer *w);
AUTO_DEFINE(qcow2_writer, qcow2_writer_free);

/* Cluster `index` holds these CLUSTER_SIZE bytes; rising order over both calls. */
[[nodiscard]] int qcow2_write_data(struct qcow2_writer *w, uint64_t index, const void *bytes,
                                   struct error *e);
/* Cluster `index` reads as zeros whatever the backing file holds. */
[[nodiscard]] int qcow2_write_zero(struct qcow2_writer *w, uint64_t index, struct error *e);
/* Tables, refcounts, header. The caller syncs. */
[[nodiscard]] int qcow2_write_finish(struct qcow2_writer *w, struct error *e);

/* Bytes that such an image takes: n_data clusters of data, and n_tables L2 tables touched by data
 * or zero clusters (each spans 512 MiB of the disk). */
uint64_t qcow2_written_size(uint64_t virtual_size, uint64_t n_data, uint64_t n_tables);

#endif
