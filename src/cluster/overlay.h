/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Overlays: an image as its difference from another, and the proof that nothing is lost by it. Runs
 * in the sealed worker; the layout of the file is docs/formats/overlay.md. */
#ifndef STEMMA_CLUSTER_OVERLAY_H
#define STEMMA_CLUSTER_OVERLAY_H

#include "disk/disk.h"
#include "sig/scan.h"
#include "sig/sig.h"

/* Writes to `fd` (an empty file) the overlay with the child's content over the disk that has
 * parent_sig; without a parent (then both names are NULL too) the whole child. Only the clusters
 * that differ are read, each is hashed again and held against child_sig: ERR_CHANGED when the disk
 * is not what was signed. o->progress counts bytes written. The file is as large as
 * plan_overlay_bytes() says. The caller syncs. */
[[nodiscard]] int overlay_write(struct disk *child, const struct sig *child_sig,
                                const struct sig *parent_sig, int fd, const char *backing_name,
                                const char *backing_format, const struct scan_options *o,
                                struct error *e);

/* A fresh layer: all of its content comes from the backing file. */
[[nodiscard]] int overlay_write_empty(int fd, uint64_t virtual_size, const char *backing_name,
                                      const char *backing_format, struct error *e);

/* Reads both through their chains and compares every byte; ranges that are zeros in both, or come
 * from the same layer of the same open disk, are known to be equal. The overlay's size is the
 * original's, rounded up to whole sectors of 512 bytes with zeros. ERR_FORMAT with the first offset
 * that differs. o->progress counts bytes of the disk. */
[[nodiscard]] int overlay_verify(struct disk *original, struct disk *overlay,
                                 const struct scan_options *o, struct error *e);

#endif
