/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Work goes to the pool in items: plain bytes that follow each other in a host file, up to
 * READER_MAX of them, in the order in which they stand there, so that a disk under the file reads
 * ahead; then clusters that only the disk can put together. All blocks of an item go to
 * hash_blocks() at once, whatever clusters they belong to: that keeps the SIMD lanes full. While an
 * item waits for the disk the pool begins another, so that the disk always has some to read. */
#include "sig/scan.h"

#include "base/ckd.h"
#include "base/mem.h"
#include "disk/reader.h"
#include "sig/layout.h"

#include <string.h>

/* An item has at most so many pieces, and ends with the cluster that makes it reach READER_MAX. */
#define ITEM_CLUSTERS 64
#define ITEM_BLOCKS (READER_MAX / BLOCK_SIZE)
#define READ_CLUSTERS (READER_MAX / CLUSTER_SIZE)

struct item {
    size_t first, count; /* pieces, or mixed clusters */
    uint32_t length;     /* bytes */
    bool mixed;
};

/* What one thread of the pool has for itself; made when it gets its first item. */
struct worker {
    struct reader *reader;
    uint8_t *bytes; /* READER_MAX, for mixed clusters */
    const uint8_t *block[ITEM_BLOCKS];
    struct id hashed[ITEM_BLOCKS];                      /* as the blocks come */
    struct id children[ITEM_CLUSTERS * CLUSTER_BLOCKS]; /* as they stand in their clusters */
    struct id clusters[ITEM_CLUSTERS];
    uint8_t tail[BLOCK_SIZE]; /* the disk's last block, with zeros behind it */
};

struct scan {
    const struct scan_options *options;
    struct disk *disk;
    struct layout layout;
    struct id *ids;
    struct item *items;
    size_t n_items, cap_items;
    struct worker **workers; /* by thread */
    size_t n_workers;
};

static void scan_release(struct scan *s)
{
    for (size_t i = 0; s->workers != NULL && i < s->n_workers; i++) {
        if (s->workers[i] == NULL)
            continue;
        reader_free(s->workers[i]->reader);
        free(s->workers[i]->bytes);
        free(s->workers[i]);
    }
    free(s->workers);
    free(s->items);
    free(s->ids);
    layout_release(&s->layout);
}

static int compare_pieces(const void *a, const void *b)
{
    const struct piece *p = a, *q = b;

    if (p->file != q->file)
        return p->file < q->file ? -1 : 1;
    return p->host_offset < q->host_offset ? -1 : p->host_offset > q->host_offset;
}

static void sort_pieces(struct layout *l)
{
    for (size_t i = 1; i < l->n_pieces; i++) {
        if (compare_pieces(&l->pieces[i - 1], &l->pieces[i]) > 0) {
            qsort(l->pieces, l->n_pieces, sizeof *l->pieces, compare_pieces);
            return;
        }
    }
}

static size_t piece_clusters(const struct piece *p)
{
    return (size_t)div_up(p->skip * BLOCK_SIZE + (uint64_t)p->length, CLUSTER_SIZE);
}

static struct item *add_item(struct scan *s, size_t first, bool mixed, struct error *e)
{
    if (mem_grow(&s->items, &s->cap_items, s->n_items + 1, sizeof *s->items, "items of a scan",
                 e) != 0)
        return NULL;
    s->items[s->n_items] = (struct item){.first = first, .mixed = mixed};
    return &s->items[s->n_items++];
}

/* Joins pieces that follow each other in their file. A piece that ends within a block (the disk
 * does) ends its item, so that what follows is whole blocks. */
static int make_piece_items(struct scan *s, struct error *e)
{
    const struct piece *p = s->layout.pieces, *end = p + s->layout.n_pieces;
    struct item *item = NULL;
    size_t clusters = 0;

    sort_pieces(&s->layout);
    for (; p < end; p++) {
        size_t n = piece_clusters(p);

        if (item == NULL || p[-1].file != p->file ||
            p[-1].host_offset + p[-1].length != p->host_offset || item->length % BLOCK_SIZE != 0 ||
            item->length + p->length > READER_MAX || clusters + n > ITEM_CLUSTERS) {
            item = add_item(s, (size_t)(p - s->layout.pieces), false, e);
            clusters = 0;
            if (item == NULL)
                return -1;
        }
        item->count++;
        item->length += p->length;
        clusters += n;
    }
    return 0;
}

static int make_mixed_items(struct scan *s, struct error *e)
{
    const struct layout *l = &s->layout;

    for (size_t i = 0; i < l->n_mixed; i += READ_CLUSTERS) {
        struct item *item = add_item(s, i, true, e);

        if (item == NULL)
            return -1;
        item->count = l->n_mixed - i < READ_CLUSTERS ? l->n_mixed - i : READ_CLUSTERS;
        for (size_t k = i; k < i + item->count; k++)
            item->length += (uint32_t)clusters_bytes(l->mixed[k].cluster, 1, disk_size(l->disk));
    }
    return 0;
}

/* What a visit of the bytes of an item needs. */
struct visit {
    struct worker *worker;
    const struct piece *piece; /* of the item */
    size_t n;
};

/* Only writes to the worker's own arrays: it may be broken off anywhere and called again. */
static void visit_item(void *arg, const uint8_t *bytes, size_t length)
{
    struct visit *v = arg;
    struct worker *w = v->worker;
    size_t n = length / BLOCK_SIZE, rest = length % BLOCK_SIZE, block = 0, child = 0;

    for (size_t i = 0; i < n; i++)
        w->block[i] = bytes + i * BLOCK_SIZE;
    if (rest > 0) {
        memcpy(w->tail, bytes + n * BLOCK_SIZE, rest);
        memset(w->tail + rest, 0, BLOCK_SIZE - rest);
        w->block[n++] = w->tail;
    }
    hash_blocks(w->block, n, w->hashed);
    for (size_t i = 0; i < v->n; i++) {
        size_t blocks = (size_t)div_up(v->piece[i].length, BLOCK_SIZE);
        size_t all = piece_clusters(&v->piece[i]) * CLUSTER_BLOCKS;
        size_t after = all - v->piece[i].skip - blocks;

        memset(&w->children[child], 0, v->piece[i].skip * sizeof(struct id));
        memcpy(&w->children[child + v->piece[i].skip], &w->hashed[block],
               blocks * sizeof(struct id));
        memset(&w->children[child + all - after], 0, after * sizeof(struct id));
        child += all;
        block += blocks;
    }
    hash_parents(1, w->children, child / CLUSTER_BLOCKS, w->clusters);
}

static int run_pieces(struct scan *s, const struct item *item, struct worker *w, struct error *e)
{
    const struct piece *p = &s->layout.pieces[item->first];
    struct visit v = {w, p, item->count};
    const struct id *cluster = w->clusters;

    if (reader_visit_file(w->reader, s->layout.files[p->file], p->host_offset, item->length,
                          visit_item, &v, e) != 0)
        return -1;
    for (size_t i = 0; i < item->count; i++) {
        size_t n = piece_clusters(&p[i]);

        memcpy(&s->ids[p[i].at], cluster, n * sizeof *cluster);
        cluster += n;
    }
    return 0;
}

/* Reads neighbours among the clusters at once. */
static int run_mixed(struct scan *s, const struct item *item, struct worker *w, struct error *e)
{
    const struct mixed *m = &s->layout.mixed[item->first];

    if (w->bytes == NULL && (w->bytes = malloc(READER_MAX)) == NULL)
        return err_memory(e, "a buffer for reading");
    for (size_t i = 0, n; i < item->count; i += n) {
        for (n = 1; i + n < item->count && m[i + n].cluster == m[i].cluster + n; n++)
            ;
        if (disk_pread_padded(s->disk, w->bytes + i * CLUSTER_SIZE, n * CLUSTER_SIZE,
                              m[i].cluster * CLUSTER_SIZE, e) != 0)
            return -1;
    }
    for (size_t i = 0; i < item->count * CLUSTER_BLOCKS; i++)
        w->block[i] = w->bytes + i * BLOCK_SIZE;
    hash_blocks(w->block, item->count * CLUSTER_BLOCKS, w->hashed);
    hash_parents(1, w->hashed, item->count, w->clusters);
    for (size_t i = 0; i < item->count; i++)
        s->ids[m[i].at] = w->clusters[i];
    return 0;
}

static struct worker *worker_of(struct scan *s, size_t thread, struct error *e)
{
    struct worker *w = s->workers[thread];

    if (w != NULL)
        return w;
    w = malloc(sizeof *w);
    if (w == NULL) {
        err_memory(e, "a thread of a scan");
        return NULL;
    }
    w->bytes = NULL;
    w->reader = reader_new(s->options->pool, e);
    if (w->reader == NULL) {
        free(w);
        return NULL;
    }
    s->workers[thread] = w;
    return w;
}

static int run_item(void *arg, size_t index, size_t thread, struct error *e)
{
    struct scan *s = arg;
    const struct item *item = &s->items[index];
    struct worker *w = worker_of(s, thread, e);

    if (w == NULL)
        return -1;
    if ((item->mixed ? run_mixed(s, item, w, e) : run_pieces(s, item, w, e)) != 0)
        return -1;
    progress_add(s->options->progress, item->length);
    return 0;
}

static int scan_layout(struct scan *s, struct error *e)
{
    const struct layout *l = &s->layout;

    if (l->n_ids > SIZE_MAX / sizeof(struct id))
        return err_set(e, ERR_LIMIT, "%s has too much data", disk_name(s->disk));
    if (make_piece_items(s, e) != 0 || make_mixed_items(s, e) != 0)
        return -1;
    s->n_workers = pool_workers(s->options->pool);
    s->workers = mem_array(s->n_workers, sizeof(struct worker *), "threads of a scan", e);
    s->ids = mem_array((size_t)l->n_ids, sizeof *s->ids, "ids of a scan", e);
    if (s->workers == NULL || s->ids == NULL)
        return -1;
    for (size_t i = 0; i < l->n_borrowed; i++)
        memcpy(&s->ids[l->borrowed[i].at], &l->base->ids[l->borrowed[i].from],
               (size_t)l->borrowed[i].count * sizeof *s->ids);
    progress_expect(s->options->progress, l->data_bytes);
    if (pool_run_waiting(s->options->pool, s->options->threads, s->n_items, run_item, s,
                         s->options->cancel, e) != 0)
        return -1;
    if (l->base != NULL && sig_lost(l->base))
        return err_set(e, ERR_CHANGED,
                       "the signature of the backing file shrank while it was used");
    return 0;
}

int scan_disk(struct disk *d, const struct sig *base, const struct scan_options *o,
              struct sig **out, struct error *e)
{
    __attribute__((cleanup(scan_release))) struct scan s = {.options = o, .disk = d};

    if (layout_make(&s.layout, d, base, o->cancel, e) != 0 || scan_layout(&s, e) != 0)
        return -1;
    return sig_make(disk_size(d), disk_format(d), take(s.layout.runs), s.layout.n_runs, take(s.ids),
                    out, e);
}
