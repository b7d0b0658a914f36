/* SPDX-License-Identifier: GPL-2.0-or-later */
/* How to add an image format: one file with one `struct disk_driver`, one line in app/drivers.c, a
 * fuzz target and a golden folder (CONTRIBUTING.md). */
#ifndef STEMMA_DISK_DRIVER_H
#define STEMMA_DISK_DRIVER_H

#include "disk/disk.h"

/* What probing looks at. */
struct probe {
    const uint8_t *head; /* the first bytes of the file */
    size_t head_length;  /* up to PROBE_HEAD */
    const uint8_t *tail; /* its last bytes (fixed VHDs carry their header there) */
    size_t tail_length;  /* up to PROBE_TAIL */
    uint64_t file_size;
};
#define PROBE_HEAD 4096
#define PROBE_TAIL 512

/* A disk as its driver sees it. The checking layer owns it. */
struct disk {
    const struct disk_driver *driver;
    const char *format;   /* driver->name, or what a driver of many formats says */
    char *name;           /* of the host file, or the NBD uri */
    char *snapshot;       /* opened internal snapshot, or NULL */
    uint64_t size;        /* the driver's open sets it */
    struct disk *backing; /* owned; the driver's open sets it with disk_open_backing() */
    struct host_file *
        *files; /* owned references; [0] is the image itself; added by disk_add_file() */
    size_t n_files;
    size_t n_snapshots;
    atomic_uint references;
    struct disk_registry *registry;
    void *state; /* the driver's own */
};

struct disk_driver {
    const char *name;
    const char *const
        *formats; /* further --image-format names it takes (a driver of many); may be NULL */

    /* True when the file looks like this format: magic bytes only, no trust. NULL: never probed.
     * `*format` may be set to the name of the format found (a driver of many). */
    bool (*probe)(const struct probe *p, const char **format);

    /* Reads the metadata of d->files[0] and sets size, backing, state. `socket` is -1 but for NBD.
     */
    int (*open)(struct disk *d, const struct disk_env *env, const struct disk_options *options,
                int socket, struct error *e);
    void (*close)(struct disk *d); /* frees state; also called after a failed open */

    /* One extent that starts at `offset`; may reach beyond the disk's end (it is cut). Any thread.
     */
    int (*extent)(struct disk *d, uint64_t offset, struct extent *out, struct error *e);

    /* Data that is neither ZERO, BASE nor LOCATED; within one extent. NULL: there is none. Any
     * thread. */
    int (*pread)(struct disk *d, void *bytes, size_t length, uint64_t offset, struct error *e);
};

/* Opens `name`, found in d's own metadata, as d's backing file. `format` as recorded, or NULL. */
[[nodiscard]] int disk_open_backing(struct disk *d, const struct disk_env *env, const char *name,
                                    const char *format, struct error *e);

/* Takes the reference. */
[[nodiscard]] int disk_add_file(struct disk *d, struct host_file *f, struct error *e);

extern const struct disk_driver disk_driver_raw;
extern const struct disk_driver disk_driver_qcow2;
extern const struct disk_driver
    disk_driver_qemu; /* every other format, through a captive qemu-nbd */
extern const struct disk_driver disk_driver_nbd; /* an NBD export; opened by disk_open_nbd() only */

#endif
