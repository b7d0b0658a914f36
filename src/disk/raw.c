/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Raw images: files, whose holes the file system knows, and block devices. */
#include "disk/driver.h"

static bool raw_probe(const struct probe *p, const char **format)
{
    (void)p;
    (void)format;
    return true;
}

static int raw_open(struct disk *d, const struct disk_env *env, const struct disk_options *options,
                    int socket, struct error *e)
{
    (void)env;
    (void)options;
    (void)socket;
    (void)e;
    d->size = d->files[0]->identity.size;
    return 0;
}

static int raw_extent(struct disk *d, uint64_t offset, struct extent *out, struct error *e)
{
    struct host_file *f = d->files[0];
    uint64_t end = d->size;
    bool hole = false;

    if (!f->identity.block_device && host_file_hole(f, offset, &hole, &end, e) != 0)
        return -1;
    *out = (struct extent){.offset = offset, .length = end - offset};
    if (hole) {
        out->flags = EXTENT_ZERO | EXTENT_HOLE;
    } else {
        out->flags = EXTENT_LOCATED;
        out->file = f;
        out->host_offset = offset;
    }
    return 0;
}

const struct disk_driver disk_driver_raw = {
    .name = "raw",
    .probe = raw_probe,
    .open = raw_open,
    .extent = raw_extent,
};
