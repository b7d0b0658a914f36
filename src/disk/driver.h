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
    const char *format;         /* the name of the format; set before the driver's open */
    char *name;                 /* of the host file, or the NBD uri */
    char *snapshot;             /* opened internal snapshot (the driver's open sets it), or NULL */
    uint64_t size;              /* the driver's open sets it */
    size_t n_snapshots;         /* the driver's open sets it */
    void *state;                /* the driver's own */
    const struct disk_env *env; /* for wake */
    bool asleep;                /* lazily opened: size and content wait for wake */

    /* The rest is disk.c's and chain.c's. */
    struct disk *backing;     /* owned */
    char *backing_name;       /* what disk_open_backing() was told, until it is opened */
    char *backing_format;     /* as recorded, or NULL */
    struct host_file **files; /* owned references; [0] is the image itself */
    size_t n_files, files_capacity;
    atomic_uint references;
    struct disk_registry *registry; /* where others find it; NULL: nowhere */
    struct disk *next;              /* in the registry; its lock guards it */
};

struct disk_driver {
    const char *name;
    const char *const
        *formats; /* further --image-format names it takes (a driver of many); may be NULL */

    /* True when the file looks like this format: magic bytes only, no trust. NULL: never probed.
     * `*format` may be set to the name of the format found (a driver of many). */
    bool (*probe)(const struct probe *p, const char **format);

    /* Reads the metadata of d->files[0] and sets size, state and what else is the driver's. With
     * options->snapshot it opens that and sets d->snapshot, or says ERR_NOT_FOUND; one that leaves
     * d->snapshot NULL has no snapshots. `socket` is -1 but for NBD. */
    int (*open)(struct disk *d, const struct disk_env *env, const struct disk_options *options,
                int socket, struct error *e);
    void (*close)(struct disk *d); /* frees state; also called after a failed open */

    /* For a driver whose open leaves out, with options->lazy, what costs a process: sets size and
     * state (from d->env, options->snapshot does not exist for it). NULL: nothing is ever put off.
     */
    int (*wake)(struct disk *d, struct error *e);

    /* One extent that starts at `offset`; may reach beyond the disk's end (it is cut). Any thread.
     */
    int (*extent)(struct disk *d, uint64_t offset, struct extent *out, struct error *e);

    /* Data that is neither ZERO, BASE nor LOCATED; within one extent. NULL: there is none. Any
     * thread. */
    int (*pread)(struct disk *d, void *bytes, size_t length, uint64_t offset, struct error *e);
};

/* `name`, found in d's own metadata, is d's backing file; `format` as recorded, or NULL. For the
 * driver's open: the file itself is opened when that has returned (chains are long, stacks are
 * not). "file:" before the name is dropped as qemu does; ERR_UNSUPPORTED for any other protocol,
 * ERR_FORMAT for no name, ERR_LIMIT for one longer than PATH_MAX. A name with a NUL in it is the
 * driver's to refuse. */
[[nodiscard]] int disk_open_backing(struct disk *d, const struct disk_env *env, const char *name,
                                    const char *format, struct error *e);

/* One more host file of the image (an external data file). Takes the reference, also when it fails.
 */
[[nodiscard]] int disk_add_file(struct disk *d, struct host_file *f, struct error *e);

extern const struct disk_driver disk_driver_raw;
extern const struct disk_driver disk_driver_qcow2;
extern const struct disk_driver
    disk_driver_qemu; /* every other format, through a captive qemu-nbd */
extern const struct disk_driver disk_driver_nbd; /* an NBD export; opened by disk_open_nbd() only */

#endif
