/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "disk/file.h"

#include "base/ckd.h"
#include "base/io.h"
#include "base/mem.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

static int64_t nanoseconds(struct timespec t)
{
    return (int64_t)t.tv_sec * 1'000'000'000 + t.tv_nsec;
}

int file_identity_get(int fd, struct file_identity *out, struct error *e)
{
    struct file_identity id;
    struct stat st;

    if (fstat(fd, &st) != 0)
        return err_sys(e, "stat");
    if (!S_ISREG(st.st_mode) && !S_ISBLK(st.st_mode))
        return err_set(e, ERR_UNSUPPORTED, "neither a file nor a block device");
    id = (struct file_identity){
        .device = st.st_dev,
        .inode = st.st_ino,
        .size = (uint64_t)st.st_size,
        .allocated = (uint64_t)st.st_blocks * 512,
        .mtime_ns = nanoseconds(st.st_mtim),
        .ctime_ns = nanoseconds(st.st_ctim),
        .block_device = S_ISBLK(st.st_mode),
    };
    if (id.block_device) {
        off_t end = lseek(fd, 0, SEEK_END);

        if (end < 0)
            return err_sys(e, "size of the block device");
        id.device = st.st_rdev;
        id.inode = 0;
        id.size = id.allocated = (uint64_t)end;
    }
    *out = id;
    return 0;
}

bool file_identity_same(const struct file_identity *a, const struct file_identity *b)
{
    return a->device == b->device && a->inode == b->inode;
}

struct host_file *host_file_new(char *name, int fd, int direct_fd,
                                const struct file_identity *identity, struct error *e)
{
    AUTO_FREE char *own_name = name;
    AUTO_FD int own_fd = fd;
    AUTO_FD int own_direct = direct_fd;
    struct host_file *f = mem_array(1, sizeof *f, "a file", e);

    if (f == NULL)
        return NULL;
    /* Neighbours of what is asked for are not wanted: they would be read again when their turn
     * comes, or never. A file system that cannot say so is no fault. */
    (void)posix_fadvise(fd, 0, 0, POSIX_FADV_RANDOM);
    f->name = take(own_name);
    f->identity = *identity;
    f->fd = take_fd(&own_fd);
    f->direct_fd = take_fd(&own_direct);
    atomic_init(&f->read_bytes, 0);
    atomic_init(&f->references, 1);
    atomic_init(&f->map, NULL);
    atomic_init(&f->direct_refused, false);
    return f;
}

struct host_file *host_file_ref(struct host_file *f)
{
    atomic_fetch_add_explicit(&f->references, 1, memory_order_relaxed);
    return f;
}

void host_file_unref(struct host_file *f)
{
    uint8_t *map;

    if (f == NULL || atomic_fetch_sub_explicit(&f->references, 1, memory_order_acq_rel) != 1)
        return;
    map = atomic_load_explicit(&f->map, memory_order_acquire);
    if (map != NULL && map != MAP_FAILED)
        munmap(map, f->identity.size);
    if (f->fd >= 0)
        close(f->fd);
    if (f->direct_fd >= 0)
        close(f->direct_fd);
    free(f->name);
    free(f);
}

struct host_file *host_file_open(const char *path, struct error *e)
{
    const int flags = O_NONBLOCK | O_NOCTTY;
    struct file_identity identity;
    AUTO_FREE char *name = NULL;
    AUTO_FD int fd = io_open_quietly(path, flags);

    if (fd < 0) {
        err_sys(e, "open");
        return NULL;
    }
    if (file_identity_get(fd, &identity, e) != 0)
        return NULL;
    name = mem_string(path, e);
    if (name == NULL)
        return NULL;
    return host_file_new(take(name), take_fd(&fd), io_open_quietly(path, flags | O_DIRECT),
                         &identity, e);
}

/* [offset, offset + length) lies within the file as it was. */
static int read_within(struct host_file *f, void *bytes, size_t length, uint64_t offset,
                       struct error *e)
{
    int64_t n = io_pread(f->fd, bytes, length, offset);

    if (n > 0)
        atomic_fetch_add_explicit(&f->read_bytes, (uint64_t)n, memory_order_relaxed);
    if (n < 0)
        return err_sys(e, "reading %zu bytes at %ju", length, (uintmax_t)offset);
    if ((uint64_t)n < length)
        return err_set(e, ERR_CHANGED, "the file of %ju bytes shrank while it was read",
                       (uintmax_t)f->identity.size);
    return 0;
}

int host_file_pread(struct host_file *f, void *bytes, size_t length, uint64_t offset,
                    struct error *e)
{
    if (range_outside(offset, length, f->identity.size))
        return err_set(e, ERR_FORMAT, "the file ends at %ju, %zu bytes at %ju are needed",
                       (uintmax_t)f->identity.size, length, (uintmax_t)offset);
    return read_within(f, bytes, length, offset, e);
}

int host_file_pread_padded(struct host_file *f, void *bytes, size_t length, uint64_t offset,
                           struct error *e)
{
    uint64_t size = f->identity.size;
    size_t there = offset >= size ? 0 : (size_t)min_u64(length, size - offset);

    if (there > 0 && read_within(f, bytes, there, offset, e) != 0)
        return -1;
    memset((uint8_t *)bytes + there, 0, length - there);
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

int host_file_hole(struct host_file *f, uint64_t offset, bool *hole, uint64_t *end, struct error *e)
{
    uint64_t size = f->identity.size, data, next = size;

    if (offset >= size)
        return err_set(e, ERR_INTERNAL, "holes at %ju of a file of %ju bytes", (uintmax_t)offset,
                       (uintmax_t)size);
    if (seek(f, offset, SEEK_DATA, offset, &data, e) != 0)
        return -1;
    if (data > offset)
        next = data;
    else if (seek(f, offset, SEEK_HOLE, size, &next, e) != 0)
        return -1;
    *hole = data > offset;
    /* The file may change between the two questions; what was data a moment ago is read as data. */
    *end = next > offset && next < size ? next : size;
    return 0;
}
