/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "cluster/overlay.h"

#include "base/ckd.h"
#include "base/mem.h"
#include "cluster/walk.h"
#include "disk/qcow2_write.h"
#include "hash/id.h"

#include <string.h>

#define BATCH_CLUSTERS 128 /* read and hashed in parallel, then written in order */
#define ITEM_CLUSTERS 4    /* of a batch, by one thread */

/* ---- which clusters ---- */

/* Clusters that the overlay holds itself. What the parent holds beyond the child's end is not seen
 * through it. */
struct difference {
    struct walk_pair walk; /* child, parent */
    uint64_t done;         /* clusters of the walk's stretch */
    uint64_t end;          /* of the child */
};

static struct difference difference_of(const struct sig *child, const struct sig *parent)
{
    static const struct sig nothing;

    return (struct difference){
        .walk = walk_pair_of(child, parent != NULL ? parent : &nothing),
        .end = sig_clusters(child),
    };
}

/* The next of them, and its id (the null id: as a zero cluster); false at the end. */
static bool difference_next(struct difference *d, uint64_t *cluster, const struct id **id)
{
    struct walk_pair *w = &d->walk;

    for (;;) {
        while (d->done == w->count) {
            d->done = 0;
            if (!walk_pair_next(w))
                return false;
        }
        if (w->first + d->done >= d->end)
            return false;
        *cluster = w->first + d->done;
        *id = w->a != NULL ? &w->a[d->done] : &null_id;
        d->done++;
        if (w->b == NULL || !id_equal(*id, &w->b[d->done - 1]))
            return true;
    }
}

static uint64_t count_data(struct difference d)
{
    uint64_t cluster, n = 0;
    const struct id *id;

    while (difference_next(&d, &cluster, &id))
        n += !id_is_null(id);
    return n;
}

/* ---- writing them ---- */

struct entry {
    uint64_t cluster;
    const struct id *id;
};

struct batch {
    struct disk *child;
    size_t n;
    struct entry entries[BATCH_CLUSTERS];
    uint8_t *bytes; /* of each entry that is data, in its place */
};

static uint8_t *entry_bytes(const struct batch *b, size_t i)
{
    return b->bytes + i * CLUSTER_SIZE;
}

static void cluster_id(const uint8_t *bytes, struct id *out)
{
    const uint8_t *block[CLUSTER_BLOCKS];
    struct id ids[CLUSTER_BLOCKS];

    for (size_t i = 0; i < CLUSTER_BLOCKS; i++)
        block[i] = bytes + i * BLOCK_SIZE;
    hash_blocks(block, CLUSTER_BLOCKS, ids);
    hash_parents(1, ids, 1, out);
}

static int read_entry(const struct batch *b, size_t i, struct error *e)
{
    const struct entry *x = &b->entries[i];
    struct id id;

    if (id_is_null(x->id))
        return 0;
    if (disk_pread_padded(b->child, entry_bytes(b, i), CLUSTER_SIZE, x->cluster * CLUSTER_SIZE, e) <
        0)
        return -1;
    cluster_id(entry_bytes(b, i), &id);
    if (!id_equal(&id, x->id))
        return err_set(e, ERR_CHANGED, "%s changed at offset %ju since it was read",
                       disk_name(b->child), (uintmax_t)(x->cluster * CLUSTER_SIZE));
    return 0;
}

static int read_item(void *arg, size_t item, size_t thread, struct error *e)
{
    const struct batch *b = arg;
    size_t first = item * ITEM_CLUSTERS;

    (void)thread;
    for (size_t i = first; i < b->n && i < first + ITEM_CLUSTERS; i++) {
        if (read_entry(b, i, e) < 0)
            return -1;
    }
    return 0;
}

static int write_batch(struct batch *b, struct qcow2_writer *w, const struct scan_options *o,
                       struct error *e)
{
    if (pool_run(o->pool, o->threads, div_up(b->n, ITEM_CLUSTERS), read_item, b, o->cancel, e) < 0)
        return -1;
    for (size_t i = 0; i < b->n; i++) {
        const struct entry *x = &b->entries[i];

        if (id_is_null(x->id)) {
            if (qcow2_write_zero(w, x->cluster, e) < 0)
                return -1;
            continue;
        }
        if (qcow2_write_data(w, x->cluster, entry_bytes(b, i), e) < 0)
            return -1;
        progress_add(o->progress, CLUSTER_SIZE);
    }
    b->n = 0;
    return 0;
}

static int write_difference(struct disk *child, struct difference *d, struct qcow2_writer *w,
                            const struct scan_options *o, struct error *e)
{
    AUTO_FREE uint8_t *bytes = mem_array(BATCH_CLUSTERS, CLUSTER_SIZE, "clusters", e);
    AUTO_FREE struct batch *b = mem_array(1, sizeof *b, "clusters", e);
    struct entry x;

    if (bytes == NULL || b == NULL)
        return -1;
    b->child = child;
    b->bytes = bytes;
    while (difference_next(d, &x.cluster, &x.id)) {
        b->entries[b->n++] = x;
        if (b->n == BATCH_CLUSTERS && write_batch(b, w, o, e) < 0)
            return -1;
    }
    return write_batch(b, w, o, e);
}

int overlay_write(struct disk *child, const struct sig *child_sig, const struct sig *parent_sig,
                  int fd, const char *backing_name, const char *backing_format,
                  const struct scan_options *o, struct error *e)
{
    const struct qcow2_write_options q = {disk_size(child), backing_name, backing_format};
    struct difference d = difference_of(child_sig, parent_sig);
    AUTO(qcow2_writer) *w = NULL;

    if ((parent_sig == NULL) != (backing_name == NULL))
        return err_set(e, ERR_INTERNAL, "an overlay needs its parent's signature");
    if (child_sig->size != disk_size(child))
        return err_set(e, ERR_CHANGED, "%s changed its size since it was read", disk_name(child));
    if ((w = qcow2_writer_new(fd, &q, e)) == NULL)
        return -1;
    progress_expect(o->progress, count_data(d) * CLUSTER_SIZE);
    if (write_difference(child, &d, w, o, e) < 0)
        return -1;
    return qcow2_write_finish(w, e);
}

int overlay_write_empty(int fd, uint64_t virtual_size, const char *backing_name,
                        const char *backing_format, struct error *e)
{
    const struct qcow2_write_options q = {virtual_size, backing_name, backing_format};
    AUTO(qcow2_writer) *w = qcow2_writer_new(fd, &q, e);

    return w == NULL ? -1 : qcow2_write_finish(w, e);
}
