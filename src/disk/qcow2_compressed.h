/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The compressed clusters of a qcow2 image. The last few are kept, so that reading a large cluster
 * in small pieces decompresses it once. */
#ifndef STEMMA_DISK_QCOW2_COMPRESSED_H
#define STEMMA_DISK_QCOW2_COMPRESSED_H

#include "base/auto.h"
#include "base/error.h"
#include "disk/file.h"
#include "disk/qcow2_header.h"
#include "disk/qcow2_table.h"

#include <stddef.h>
#include <stdint.h>

struct qcow2_compressed;

/* `f` is borrowed and must outlive it. */
[[nodiscard]] struct qcow2_compressed *qcow2_compressed_new(const struct qcow2_layout *layout,
                                                            enum qcow2_compression compression,
                                                            struct host_file *f, struct error *e);
void qcow2_compressed_free(struct qcow2_compressed *c);
AUTO_DEFINE(qcow2_compressed, qcow2_compressed_free);

/* `length` bytes from `within` on of the cluster that the descriptor (of a QCOW2_COMPRESSED run)
 * tells; they lie within the cluster. ERR_FORMAT when it lies outside the file or is damaged. Any
 * thread. */
[[nodiscard]] int qcow2_compressed_read(struct qcow2_compressed *c, uint64_t descriptor,
                                        size_t within, void *bytes, size_t length, struct error *e);

#endif
