/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Every format that is not read here is read by a captive qemu-nbd. */
#include "disk/foreign.h"
#include "disk/nbd.h"

#include <string.h>

static bool qemu_probe(const struct probe *p, const char **format)
{
    const char *found = foreign_probe(p);

    if (found != NULL)
        *format = found;
    return found != NULL;
}

static int qemu_open(struct disk *d, const struct disk_env *env, const struct disk_options *options,
                     int socket, struct error *e)
{
    (void)options;
    (void)socket;
    if (strcmp(d->format, "luks") == 0)
        return err_set(
            e, ERR_UNSUPPORTED,
            "encrypted images cannot be read; --image-format=raw takes the bytes as they "
            "are");
    return foreign_open_parts(d, env, e);
}

/* Starts the qemu-nbd. */
static int qemu_wake(struct disk *d, struct error *e)
{
    const struct disk_env *env = d->env;
    int socket = -1;

    if (env->serve == NULL)
        return err_set(e, ERR_UNSUPPORTED, "%s images need qemu-nbd", d->format);
    if (env->serve(env->arg, d->files[0], d->format, d->files + 1, d->n_files - 1, &socket, e) != 0)
        return -1;
    d->state = nbd_link_open("qemu-nbd", "", socket, env->cancel, e);
    if (d->state == NULL)
        return -1;
    d->size = nbd_link_size(d->state);
    return 0;
}

static void qemu_close(struct disk *d)
{
    nbd_link_close(d->state);
}

static int qemu_extent(struct disk *d, uint64_t offset, struct extent *out, struct error *e)
{
    return nbd_link_extent(d->state, offset, out, e);
}

static int qemu_pread(struct disk *d, void *bytes, size_t length, uint64_t offset, struct error *e)
{
    if (nbd_link_pread(d->state, bytes, length, offset, e) != 0)
        return -1;
    /* What qemu-nbd really reads of it is not ours to see; where the format stores plain bytes it
     * is this. */
    atomic_fetch_add_explicit(&d->files[0]->read_bytes, length, memory_order_relaxed);
    return 0;
}

const struct disk_driver disk_driver_qemu = {
    .name = "qemu",
    .formats = foreign_formats,
    .probe = qemu_probe,
    .open = qemu_open,
    .wake = qemu_wake,
    .close = qemu_close,
    .extent = qemu_extent,
    .pread = qemu_pread,
};
