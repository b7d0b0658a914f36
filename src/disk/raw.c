/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Raw images: files, whose holes the file system knows, and block devices. */
#include "disk/driver.h"

#include <errno.h>
#include <sys/stat.h>
#include <unistd.h>

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

/* A file that lost its end looks like one that ends in a hole. */
static int check_not_shrunk(const struct host_file *f, struct error *e)
{
    struct stat st;

    if (fstat(f->fd, &st) != 0)
        return err_sys(e, "stat");
    if ((uint64_t)st.st_size < f->identity.size)
        return err_set(e, ERR_CHANGED, "the file shrank to %ju of %ju bytes while it was read",
                       (uintmax_t)st.st_size, (uintmax_t)f->identity.size);
    return 0;
}

/* Where data (SEEK_DATA) or a hole (SEEK_HOLE) is, from `offset` on: *at, the file's end when there
 * is none; `otherwise` on a file system that cannot say. lseek() moves the descriptor's position,
 * which nothing here uses, so any number of threads may do this at once. */
static int seek(struct host_file *f, uint64_t offset, int whence, uint64_t otherwise, uint64_t *at,
                struct error *e)
{
    off_t found = lseek(f->fd, (off_t)offset, whence);

    if (found >= 0) {
        *at = (uint64_t)found;
        return 0;
    }
    if (errno == ENXIO) {
        if (check_not_shrunk(f, e) != 0)
            return -1;
        *at = f->identity.size;
        return 0;
    }
    if (errno != EINVAL && errno != EOPNOTSUPP && errno != ENOSYS)
        return err_sys(e, "looking for holes at %ju", (uintmax_t)offset);
    *at = otherwise;
    return 0;
}

static int raw_extent(struct disk *d, uint64_t offset, struct extent *out, struct error *e)
{
    struct host_file *f = d->files[0];
    uint64_t data = offset, end = d->size;

    *out = (struct extent){
        .offset = offset, .flags = EXTENT_LOCATED, .file = f, .host_offset = offset};
    if (!f->identity.block_device) {
        if (seek(f, offset, SEEK_DATA, offset, &data, e) != 0)
            return -1;
        if (data > offset) {
            *out = (struct extent){.offset = offset, .flags = EXTENT_ZERO | EXTENT_HOLE};
            end = data;
        } else if (seek(f, offset, SEEK_HOLE, d->size, &end, e) != 0) {
            return -1;
        }
    }
    /* The file may change between the two questions; what was data a moment ago is read as data. */
    out->length = end > offset ? end - offset : d->size - offset;
    return 0;
}

const struct disk_driver disk_driver_raw = {
    .name = "raw",
    .probe = raw_probe,
    .open = raw_open,
    .extent = raw_extent,
};
