/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A disk image is a readable run of bytes with a map.
 *
 * disk.c is the one checking layer: it is the only caller of drivers, checks every range before and
 * every answer after. A disk is one layer of a chain: what it does not hold itself is flagged BASE
 * and stands in disk_backing() at the same offset (zeros beyond that one's end). Reading resolves
 * the chain; mapping does not, so that a backing file shared by many overlays is looked at once. */
#ifndef STEMMA_DISK_DISK_H
#define STEMMA_DISK_DISK_H

#include "base/auto.h"
#include "base/error.h"
#include "disk/env.h"
#include "disk/file.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct disk;

enum extent_flags {
    EXTENT_ZERO = 1,    /* reads as zeros */
    EXTENT_HOLE = 2,    /* takes no space in this layer */
    EXTENT_BASE = 4,    /* the content comes from the backing disk (never together with ZERO) */
    EXTENT_LOCATED = 8, /* plain bytes that stand in `file` from `host_offset` on */
    EXTENT_COMPRESSED = 16,
};

/* Without ZERO and BASE it is data; with LOCATED its bytes can be read from the host file directly.
 */
struct extent {
    uint64_t offset, length; /* bytes of the disk; length > 0 */
    unsigned flags;
    struct host_file *file; /* with LOCATED; borrowed from the disk */
    uint64_t host_offset;
};

/* How to open one image. */
struct disk_options {
    const char *format;   /* driver to use; NULL: probe */
    const char *snapshot; /* internal snapshot's name or id; NULL: the current state */
    /* What costs a process of its own is put off until disk_wake(): enough to ask a cache by files.
     */
    bool lazy;

    const char *export_name; /* of an NBD server; NULL: its default export */
};

/* Opens `file` (of which the disk takes its own reference) and its backing chain. A layer that
 * env->registry knows is shared. ERR_FORMAT (also for a chain that comes back to itself),
 * ERR_UNSUPPORTED, ERR_USAGE (unknown options->format), ERR_NOT_FOUND (no such snapshot), ERR_LIMIT
 * (chain too deep, disk too large), whatever env->open_file says; ERR_DENIED when the format was
 * probed, the image refers to other files and the file's name is not one that such an image would
 * have: a guest may have written the header of an image into its raw disk. Messages say what is
 * wrong below `file`, not its own name. Called by one thread at a time. */
[[nodiscard]] int disk_open(const struct disk_env *env, struct host_file *file,
                            const struct disk_options *options, struct disk **out, struct error *e);

/* Opens an NBD export over a connected socket (taken, also when it fails); `name` is for messages,
 * `export_name` what the server is asked for. */
[[nodiscard]] int disk_open_nbd(const struct disk_env *env, const char *name,
                                const char *export_name, int socket, struct disk **out,
                                struct error *e);

struct disk *disk_ref(struct disk *d);
void disk_close(struct disk *d); /* drops one reference; NULL is fine */
AUTO_DEFINE(disk, disk_close);

/* Makes sure that d and all it stands on can be read: what a lazy open put off is done. Until then
 * disk_size() may be 0, and nothing can be read. Called by one thread at a time; env as given to
 * disk_open() still lives. */
[[nodiscard]] int disk_wake(struct disk *d, struct error *e);
bool disk_asleep(const struct disk *d); /* this layer itself */

/* All below: any thread. */
const char *disk_name(const struct disk *d);
const char *disk_format(const struct disk *d);   /* "raw", "qcow2", "vmdk", ... */
uint64_t disk_size(const struct disk *d);        /* bytes; any number, not only whole sectors */
struct disk *disk_backing(const struct disk *d); /* borrowed; NULL when there is none */

/* The host files of this layer itself (image, data file, VMDK extents): *files borrowed. */
size_t disk_files(const struct disk *d, struct host_file *const **files);

/* The internal snapshot that was opened, or NULL. */
const char *disk_snapshot(const struct disk *d);

/* Number of internal snapshots in the image (rebase refuses images that have some). */
size_t disk_snapshots(const struct disk *d);

/* Exactly one extent, which starts at `offset` (< size). Neighbours may have the same flags;
 * extents tile the disk. BASE is never said without a backing disk; LOCATED only of data. */
[[nodiscard]] int disk_extent(struct disk *d, uint64_t offset, struct extent *out, struct error *e);

/* Exactly `length` bytes at `offset` through the whole chain; the range lies within the disk. */
[[nodiscard]] int disk_pread(struct disk *d, void *bytes, size_t length, uint64_t offset,
                             struct error *e);

/* The same for bytes that may lie beyond the end: those are zeros. */
[[nodiscard]] int disk_pread_padded(struct disk *d, void *bytes, size_t length, uint64_t offset,
                                    struct error *e);

/* ---- registry ----
 * Disks that are open by now, found by host file, format and snapshot; it holds none open. It may
 * be freed before the disks that stand in it. */
[[nodiscard]] struct disk_registry *disk_registry_new(struct error *e);
void disk_registry_free(struct disk_registry *r);
AUTO_DEFINE(disk_registry, disk_registry_free);

#endif
