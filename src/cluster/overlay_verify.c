/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Two disks, byte by byte through their chains. One thread finds out what has to be read, the pool
 * reads and compares it, a window of ranges at a time. */
#include "cluster/overlay.h"

#include "base/ckd.h"
#include "base/mem.h"

#include <stdatomic.h>
#include <string.h>

#define SECTOR 512
#define RANGE_MAX ((uint64_t)1 << 20) /* bytes that one thread compares at once */
#define WINDOW_RANGES 1024

struct range {
    uint64_t offset, length;
};

struct verify {
    struct disk *disks[2];
    const struct scan_options *options;
    size_t n;
    struct range ranges[WINDOW_RANGES];
    uint8_t **buffers; /* by thread: twice RANGE_MAX; made when first needed */
    size_t n_buffers;
    _Atomic uint64_t first; /* offset that differs; UINT64_MAX: none by now */
};

/* ---- what has to be read ---- */

/* The layer of the chain that content at an offset comes from. */
struct source {
    struct disk *layer; /* NULL: zeros */
    uint64_t length;
};

static int find_source(struct disk *d, uint64_t offset, uint64_t end, struct source *out,
                       struct error *e)
{
    uint64_t length = end - offset;

    for (; d != NULL && offset < disk_size(d); d = disk_backing(d)) {
        struct extent x;

        if (disk_extent(d, offset, &x, e) < 0)
            return -1;
        length = min_u64(length, x.length);
        if (x.flags & EXTENT_BASE)
            continue;
        *out = (struct source){x.flags & EXTENT_ZERO ? NULL : d, length};
        return 0;
    }
    *out = (struct source){NULL, length}; /* beyond the end of a layer */
    return 0;
}

/* Moves the lower offset of two disks' chains on: true when [offset, offset + *length) has to be
 * read. */
static int must_read(const struct verify *v, uint64_t offset, uint64_t end, uint64_t *length,
                     bool *read, struct error *e)
{
    struct source a, b;

    if (find_source(v->disks[0], offset, end, &a, e) < 0 ||
        find_source(v->disks[1], offset, end, &b, e) < 0)
        return -1;
    *length = min_u64(a.length, b.length);
    *read = a.layer != b.layer;
    return 0;
}

/* ---- comparing ---- */

static void note_difference(struct verify *v, uint64_t offset)
{
    uint64_t first = atomic_load(&v->first);

    while (offset < first && !atomic_compare_exchange_weak(&v->first, &first, offset))
        ;
}

static uint64_t first_difference(const uint8_t *a, const uint8_t *b)
{
    uint64_t i = 0;

    while (a[i] == b[i])
        i++;
    return i;
}

static int compare_range(void *arg, size_t item, size_t thread, struct error *e)
{
    struct verify *v = arg;
    const struct range *r = &v->ranges[item];
    uint8_t *a, *b;

    if (v->buffers[thread] == NULL &&
        (v->buffers[thread] = mem_array(2, RANGE_MAX, "bytes to compare", e)) == NULL)
        return -1;
    if (r->offset > atomic_load(&v->first))
        return 0;
    a = v->buffers[thread];
    b = a + RANGE_MAX;
    if (disk_pread_padded(v->disks[0], a, r->length, r->offset, e) < 0 ||
        disk_pread_padded(v->disks[1], b, r->length, r->offset, e) < 0)
        return -1;
    progress_add(v->options->progress, r->length);
    if (memcmp(a, b, r->length) != 0)
        note_difference(v, r->offset + first_difference(a, b));
    return 0;
}

static int compare_window(struct verify *v, struct error *e)
{
    const struct scan_options *o = v->options;
    uint64_t first;

    if (pool_run(o->pool, o->threads, v->n, compare_range, v, o->cancel, e) < 0)
        return -1;
    v->n = 0;
    first = atomic_load(&v->first);
    if (first == UINT64_MAX)
        return 0;
    return err_set(e, ERR_FORMAT, "%s differs from %s at offset %ju", disk_name(v->disks[1]),
                   disk_name(v->disks[0]), (uintmax_t)first);
}

/* Joins what follows the last range, as far as one visit goes. */
static int add_range(struct verify *v, uint64_t offset, uint64_t length, struct error *e)
{
    while (length > 0) {
        struct range *last = v->n == 0 ? NULL : &v->ranges[v->n - 1];
        uint64_t take_bytes;

        if (last != NULL && last->offset + last->length == offset && last->length < RANGE_MAX) {
            take_bytes = min_u64(length, RANGE_MAX - last->length);
            last->length += take_bytes;
        } else {
            if (v->n == WINDOW_RANGES && compare_window(v, e) < 0)
                return -1;
            take_bytes = min_u64(length, RANGE_MAX);
            v->ranges[v->n++] = (struct range){offset, take_bytes};
        }
        offset += take_bytes;
        length -= take_bytes;
    }
    return 0;
}

static int verify_all(struct verify *v, uint64_t size, struct error *e)
{
    const struct scan_options *o = v->options;
    uint64_t length;

    for (uint64_t at = 0; at < size; at += length) {
        bool read;

        if (cancel_requested(o->cancel))
            return err_set(e, ERR_CANCELLED, "interrupted");
        if (must_read(v, at, size, &length, &read, e) < 0)
            return -1;
        if (read && add_range(v, at, length, e) < 0)
            return -1;
        if (!read)
            progress_add(o->progress, length);
    }
    return compare_window(v, e);
}

int overlay_verify(struct disk *original, struct disk *overlay, const struct scan_options *o,
                   struct error *e)
{
    uint64_t size = disk_size(overlay);
    AUTO_FREE struct verify *v = mem_array(1, sizeof *v, "a comparison", e);
    int result;

    if (v == NULL)
        return -1;
    if (size != div_up(disk_size(original), SECTOR) * SECTOR)
        return err_set(e, ERR_FORMAT, "%s has %ju bytes, and %s %ju", disk_name(overlay),
                       (uintmax_t)size, disk_name(original), (uintmax_t)disk_size(original));
    v->disks[0] = original;
    v->disks[1] = overlay;
    v->options = o;
    atomic_init(&v->first, UINT64_MAX);
    v->n_buffers = pool_threads(o->pool);
    v->buffers = mem_array(v->n_buffers, sizeof *v->buffers, "bytes to compare", e);
    if (v->buffers == NULL)
        return -1;
    progress_expect(o->progress, size);
    result = verify_all(v, size, e);
    for (size_t i = 0; i < v->n_buffers; i++)
        free(v->buffers[i]);
    free(v->buffers);
    return result;
}
