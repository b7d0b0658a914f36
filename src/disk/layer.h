/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What disk.c, chain.c, registry.c and nbd.c share about one layer of a chain; not for drivers. */
#ifndef STEMMA_DISK_LAYER_H
#define STEMMA_DISK_LAYER_H

#include "disk/driver.h"

/* A layer with one reference and no files, not opened. `format` is borrowed for ever. */
[[nodiscard]] struct disk *layer_new(const struct disk_driver *driver, const char *format,
                                     const char *name, struct error *e);

/* The driver's open, and what can be checked of what it said. `options->format` is d->format. */
[[nodiscard]] int layer_open(struct disk *d, const struct disk_env *env,
                             const struct disk_options *options, int socket, struct error *e);

/* What probing and a format's name come to. */
struct layer_kind {
    const struct disk_driver *driver;
    const char *format;
    bool probed; /* nobody said so but the bytes of the file */
};

/* Finds the driver of a named format; false when there is none. */
bool kind_by_name(const struct disk_env *env, const char *format, struct layer_kind *out);

/* Looks at the file. */
[[nodiscard]] int kind_by_probe(const struct disk_env *env, struct host_file *f,
                                struct layer_kind *out, struct error *e);

/* "raw, qcow2, ..." */
void kind_list(const struct disk_env *env, char *out, size_t size);

/* True when one expects an image with a backing file under this name: "a.qcow2", "vm.vmdk.old". */
bool kind_expected_by_name(const char *name);

/* A new reference to the disk that is open with this key, or NULL. `r` may be NULL. */
struct disk *registry_find(struct disk_registry *r, const struct file_identity *identity,
                           const char *format, const char *snapshot);
/* From now on d is found; until its last reference is dropped. */
void registry_add(struct disk_registry *r, struct disk *d);
/* Drops one reference; true when it was the last and d is no longer found. */
bool registry_drop(struct disk *d);
void registry_unref(struct disk_registry *r);

#endif
