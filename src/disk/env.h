/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What a driver gets instead of the right to open anything: the environment that its caller passes
 * down. In the sealed worker the functions ask the front; in tests they answer themselves. */
#ifndef STEMMA_DISK_ENV_H
#define STEMMA_DISK_ENV_H

#include "base/error.h"
#include "base/pool.h"
#include "base/problem.h"

#include <stddef.h>
#include <stdint.h>

struct disk_driver;
struct disk_registry;
struct host_file;

/* Why an image wants another file; the message of a refusal depends on it. */
enum file_reason {
    FILE_BACKING = 1, /* a backing file */
    FILE_DATA,        /* a qcow2 external data file */
    FILE_PART,        /* an extent file or a parent of a foreign format */
};

struct disk_limits {
    unsigned chain_depth;  /* backing files below one image */
    uint64_t virtual_size; /* bytes a disk may claim to have */
    uint64_t table_bytes;  /* bytes of one metadata table that may be allocated */
};
extern const struct disk_limits disk_limits_default; /* 256; DISK_SIZE_MAX; 64 MiB */

struct disk_env {
    const struct disk_driver *const *drivers; /* NULL-terminated; raw last (it takes anything) */

    /* Opens a file that the image in `from` names; `name` is hostile, relative names are relative
     * to the folder of `from`. The caller gets a reference. ERR_DENIED says which option would
     * allow it. */
    int (*open_file)(void *arg, const struct host_file *from, const char *name,
                     enum file_reason reason, struct host_file **out, struct error *e);

    /* Starts a qemu-nbd that reads `file` as `format` (a name of qemu's, from our own table, never
     * from the image) and sees only it and the n files of `parts` (already opened by open_file).
     * Returns a connected socket, which the caller owns. NULL where there is none. */
    int (*serve)(void *arg, const struct host_file *file, const char *format,
                 struct host_file *const *parts, size_t n, int *socket, struct error *e);

    struct problem_sink problems;
    const struct disk_limits *limits;
    const struct cancel *cancel; /* may be NULL */
    struct disk_registry
        *registry; /* disks open by now, so that a shared backing file is one disk */
    void *arg;     /* for the functions above */
};

#endif
