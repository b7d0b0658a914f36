/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The checking layer: the only caller of drivers. */
#include "disk/disk.h"

#include "base/ckd.h"
#include "base/mem.h"
#include "disk/layer.h"
#include "hash/id.h"

#include <limits.h>
#include <string.h>

const struct disk_limits disk_limits_default = {
    .chain_depth = 256,
    .virtual_size = DISK_SIZE_MAX,
    .table_bytes = 64u << 20,
};

struct disk *layer_new(const struct disk_driver *driver, const char *format, const char *name,
                       struct error *e)
{
    AUTO_FREE struct disk *d = mem_array(1, sizeof *d, "a disk", e);

    if (d == NULL)
        return NULL;
    d->name = mem_string(name, e);
    if (d->name == NULL)
        return NULL;
    d->driver = driver;
    d->format = format;
    atomic_init(&d->references, 1);
    return take(d);
}

static int check_size(const struct disk *d, struct error *e)
{
    const struct disk_limits *limits =
        d->env->limits != NULL ? d->env->limits : &disk_limits_default;

    if (d->size > min_u64(limits->virtual_size, INT64_MAX))
        return err_set(e, ERR_LIMIT, "a disk of %ju bytes, more than the %ju that are accepted",
                       (uintmax_t)d->size, (uintmax_t)limits->virtual_size);
    return 0;
}

int disk_wake(struct disk *d, struct error *e)
{
    for (const struct disk *top = d; d != NULL; d = d->backing) {
        if (!d->asleep)
            continue;
        if (d->driver->wake(d, e) != 0 || check_size(d, e) != 0)
            return d == top ? -1 : err_wrap(e, "backing file %s", d->name);
        d->asleep = false;
    }
    return 0;
}

bool disk_asleep(const struct disk *d)
{
    return d->asleep;
}

int layer_open(struct disk *d, const struct disk_env *env, const struct disk_options *options,
               int socket, struct error *e)
{
    d->env = env;
    if (d->driver->open(d, env, options, socket, e) != 0)
        return -1;
    d->asleep = options->lazy && d->driver->wake != NULL;
    if (d->driver->wake != NULL && !d->asleep && d->driver->wake(d, e) != 0)
        return -1;
    if (check_size(d, e) != 0)
        return -1;
    if (options->snapshot != NULL && d->snapshot == NULL)
        return err_set(e, ERR_NOT_FOUND,
                       "no internal snapshot '%s': a %s image has none that can be read",
                       options->snapshot, d->format);
    return 0;
}

int disk_add_file(struct disk *d, struct host_file *f, struct error *e)
{
    AUTO(host_file) *own = f;

    if (mem_grow(&d->files, &d->files_capacity, d->n_files + 1, sizeof(struct host_file *),
                 "the files of an image", e) != 0)
        return -1;
    d->files[d->n_files++] = take(own);
    return 0;
}

struct disk *disk_ref(struct disk *d)
{
    atomic_fetch_add_explicit(&d->references, 1, memory_order_relaxed);
    return d;
}

void disk_close(struct disk *d)
{
    while (d != NULL && registry_drop(d)) {
        struct disk *backing = d->backing;

        if (d->driver->close != NULL)
            d->driver->close(d);
        for (size_t i = 0; i < d->n_files; i++)
            host_file_unref(d->files[i]);
        if (d->registry != NULL)
            registry_unref(d->registry);
        free(d->files);
        free(d->backing_name);
        free(d->backing_format);
        free(d->snapshot);
        free(d->name);
        free(d);
        d = backing;
    }
}

const char *disk_name(const struct disk *d)
{
    return d->name;
}

const char *disk_format(const struct disk *d)
{
    return d->format;
}

uint64_t disk_size(const struct disk *d)
{
    return d->size;
}

struct disk *disk_backing(const struct disk *d)
{
    return d->backing;
}

size_t disk_files(const struct disk *d, struct host_file *const **files)
{
    *files = d->files;
    return d->n_files;
}

const char *disk_snapshot(const struct disk *d)
{
    return d->snapshot;
}

size_t disk_snapshots(const struct disk *d)
{
    return d->n_snapshots;
}

static bool own_file(const struct disk *d, const struct host_file *f)
{
    for (size_t i = 0; i < d->n_files; i++) {
        if (d->files[i] == f)
            return true;
    }
    return false;
}

/* What no driver may answer, however hostile the image. */
static const char *extent_fault(const struct disk *d, uint64_t offset, const struct extent *x)
{
    const unsigned known =
        EXTENT_ZERO | EXTENT_HOLE | EXTENT_BASE | EXTENT_LOCATED | EXTENT_COMPRESSED;
    unsigned content = x->flags & (EXTENT_ZERO | EXTENT_BASE | EXTENT_LOCATED | EXTENT_COMPRESSED);
    uint64_t end;

    if (x->offset != offset || x->length == 0)
        return "it does not start where it was asked for";
    if ((x->flags & ~known) != 0 || (content & (content - 1)) != 0)
        return "its flags contradict each other";
    if ((x->flags & EXTENT_HOLE) != 0 && (content & (EXTENT_LOCATED | EXTENT_COMPRESSED)) != 0)
        return "a hole that holds data";
    if ((x->flags & EXTENT_LOCATED) == 0)
        return NULL;
    if (!own_file(d, x->file))
        return "its file is none of the image's";
    if (ckd_add(&end, x->host_offset, x->length) || end > INT64_MAX)
        return "it lies beyond any file";
    return NULL;
}

int disk_extent(struct disk *d, uint64_t offset, struct extent *out, struct error *e)
{
    struct extent x = {};
    const char *fault;

    if (offset >= d->size)
        return err_set(e, ERR_INTERNAL, "extent at %ju of a disk of %ju bytes", (uintmax_t)offset,
                       (uintmax_t)d->size);
    if (d->driver->extent(d, offset, &x, e) != 0)
        return -1;
    /* Cut first: a driver may answer for more than the disk. */
    x.length = min_u64(x.length, d->size - offset);
    fault = extent_fault(d, offset, &x);
    if (fault != NULL)
        return err_set(e, ERR_INTERNAL, "the %s driver's extent at %ju: %s", d->driver->name,
                       (uintmax_t)offset, fault);
    if ((x.flags & EXTENT_BASE) != 0 && d->backing == NULL)
        x.flags = EXTENT_ZERO | EXTENT_HOLE;
    if ((x.flags & EXTENT_LOCATED) == 0) {
        x.file = NULL;
        x.host_offset = 0;
    }
    *out = x;
    return 0;
}

/* The first bytes at `offset`, up to `length`, as far as one extent of one layer reaches; *done is
 * how many. Goes down the chain without recursion. */
static int read_piece(struct disk *top, uint8_t *bytes, size_t length, uint64_t offset,
                      size_t *done, struct error *e)
{
    struct disk *d = top;
    struct extent x = {.flags = EXTENT_BASE};

    while ((x.flags & EXTENT_BASE) != 0) {
        if (offset >= d->size) { /* a backing file that is shorter than what stands on it */
            x = (struct extent){.flags = EXTENT_ZERO};
            break;
        }
        if (disk_extent(d, offset, &x, e) != 0)
            return -1;
        length = (size_t)min_u64(length, x.length);
        if ((x.flags & EXTENT_BASE) != 0)
            d = d->backing;
    }
    *done = length;
    if ((x.flags & EXTENT_ZERO) != 0) {
        memset(bytes, 0, length);
        return 0;
    }
    if ((x.flags & EXTENT_LOCATED) != 0) {
        if (host_file_pread_padded(x.file, bytes, length, x.host_offset, e) != 0)
            return d == top ? -1 : err_wrap(e, "backing file %s", d->name);
        return 0;
    }
    if (d->driver->pread == NULL)
        return err_set(e, ERR_INTERNAL, "the %s driver has data that it cannot read",
                       d->driver->name);
    if (d->driver->pread(d, bytes, length, offset, e) != 0)
        return d == top ? -1 : err_wrap(e, "backing file %s", d->name);
    return 0;
}

int disk_pread(struct disk *d, void *bytes, size_t length, uint64_t offset, struct error *e)
{
    uint8_t *to = bytes;

    if (range_outside(offset, length, d->size))
        return err_set(e, ERR_INTERNAL, "%zu bytes at %ju of a disk of %ju bytes", length,
                       (uintmax_t)offset, (uintmax_t)d->size);
    while (length > 0) {
        size_t done;

        if (read_piece(d, to, length, offset, &done, e) != 0)
            return -1;
        to += done;
        offset += done;
        length -= done;
    }
    return 0;
}

int disk_pread_padded(struct disk *d, void *bytes, size_t length, uint64_t offset, struct error *e)
{
    size_t there = offset >= d->size ? 0 : (size_t)min_u64(length, d->size - offset);

    if (there > 0 && disk_pread(d, bytes, there, offset, e) != 0)
        return -1;
    memset((uint8_t *)bytes + there, 0, length - there);
    return 0;
}
