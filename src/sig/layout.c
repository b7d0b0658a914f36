/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "sig/layout.h"

#include "base/ckd.h"
#include "base/mem.h"

#include <string.h>

/* Where the content of a range comes from. */
enum source {
    FROM_ZERO,
    FROM_BASE,
    FROM_FILE, /* plain bytes of a host file */
    FROM_READ, /* only the driver can tell */
};

/* A range of the disk from one source, as far as it goes on. */
struct range {
    enum source source;
    uint64_t start, end;
    struct host_file *file;
    uint64_t host_offset;
};

/* Up to this many ranges of a cluster are kept apart; with more it is read through the disk. */
#define PARTS_MAX 4

/* The cluster whose ranges are being collected. */
struct open_cluster {
    uint64_t cluster;
    struct range parts[PARTS_MAX]; /* without the zeros */
    size_t n;
    bool too_many;
};

void layout_release(struct layout *l)
{
    free(l->files);
    free(l->pieces);
    free(l->mixed);
    free(l->borrowed);
    free(l->runs);
    *l = (struct layout){};
}

/* Ids for `count` clusters; the index of the first in *at. */
static int add_clusters(struct layout *l, uint64_t first, uint64_t count, uint64_t *at,
                        struct error *e)
{
    struct id_run *last = l->n_runs > 0 ? &l->runs[l->n_runs - 1] : NULL;

    *at = l->n_ids;
    l->n_ids += count;
    if (last != NULL && last->first + last->count == first) {
        last->count += count;
        return 0;
    }
    if (mem_grow(&l->runs, &l->cap_runs, l->n_runs + 1, sizeof *l->runs, "runs of a scan", e) != 0)
        return -1;
    l->runs[l->n_runs++] = (struct id_run){first, count};
    return 0;
}

static int find_file(struct layout *l, struct host_file *file, size_t *index, struct error *e)
{
    for (size_t i = 0; i < l->n_files; i++) {
        if (l->files[i] == file) {
            *index = i;
            return 0;
        }
    }
    if (l->n_files >= 1u << 28)
        return err_set(e, ERR_LIMIT, "%s lies in too many files", disk_name(l->disk));
    if (mem_grow(&l->files, &l->cap_files, l->n_files + 1, sizeof(struct host_file *),
                 "files of a scan", e) != 0)
        return -1;
    l->files[l->n_files] = file;
    *index = l->n_files++;
    return 0;
}

/* One piece: plain bytes of at most READER_MAX whose clusters are all in the last run. */
static int add_piece(struct layout *l, const struct range *r, uint64_t at, struct error *e)
{
    size_t file = 0;

    if (find_file(l, r->file, &file, e) != 0 ||
        mem_grow(&l->pieces, &l->cap_pieces, l->n_pieces + 1, sizeof *l->pieces, "pieces of a scan",
                 e) != 0)
        return -1;
    l->pieces[l->n_pieces++] = (struct piece){
        .host_offset = r->host_offset,
        .at = at,
        .length = (uint32_t)(r->end - r->start),
        .skip = r->start % CLUSTER_SIZE / BLOCK_SIZE,
        .file = (uint32_t)file,
    };
    l->data_bytes += r->end - r->start;
    return 0;
}

/* Plain bytes, cut where a cluster ends. */
static int add_file_range(struct layout *l, struct range r, struct error *e)
{
    while (r.start < r.end) {
        uint64_t first = r.start / CLUSTER_SIZE;
        struct range cut = r;
        uint64_t at;

        cut.end = min_u64(r.end, (first + READER_MAX / CLUSTER_SIZE) * CLUSTER_SIZE);
        if (add_clusters(l, first, div_up(cut.end, CLUSTER_SIZE) - first, &at, e) != 0 ||
            add_piece(l, &cut, at, e) != 0)
            return -1;
        r.host_offset += cut.end - r.start;
        r.start = cut.end;
    }
    return 0;
}

static int add_mixed(struct layout *l, uint64_t first, uint64_t end, struct error *e)
{
    uint64_t at;

    if (add_clusters(l, first, end - first, &at, e) != 0 ||
        mem_grow(&l->mixed, &l->cap_mixed, l->n_mixed + (size_t)(end - first), sizeof *l->mixed,
                 "clusters of a scan", e) != 0)
        return -1;
    l->data_bytes += clusters_bytes(first, end - first, disk_size(l->disk));
    for (; first < end; first++)
        l->mixed[l->n_mixed++] = (struct mixed){first, at++};
    return 0;
}

/* The ids that the backing disk has for clusters [first, end). */
static int add_borrowed(struct layout *l, uint64_t first, uint64_t end, struct error *e)
{
    const struct sig *base = l->base;

    for (size_t i = sig_find(base, first); i < base->n_runs && base->runs[i].first < end; i++) {
        uint64_t from = max_u64(base->runs[i].first, first);
        uint64_t to = min_u64(base->runs[i].first + base->runs[i].count, end);
        struct borrowed b = {.from = base->runs[i].at + (from - base->runs[i].first),
                             .count = to - from};

        if (add_clusters(l, from, to - from, &b.at, e) != 0 ||
            mem_grow(&l->borrowed, &l->cap_borrowed, l->n_borrowed + 1, sizeof b,
                     "ids of the backing file", e) != 0)
            return -1;
        l->borrowed[l->n_borrowed++] = b;
    }
    return 0;
}

/* True when the backing disk's id of this cluster is not the one it has here: the disk ends within
 * the cluster and the backing disk goes on. */
static bool cut_by_size(const struct layout *l, uint64_t cluster)
{
    uint64_t size = disk_size(l->disk);

    return cluster == size / CLUSTER_SIZE && size % CLUSTER_SIZE != 0 && l->base->size > size;
}

/* Clusters [first, end) that come from the backing disk whole. */
static int add_base(struct layout *l, uint64_t first, uint64_t end, struct error *e)
{
    if (end > first && cut_by_size(l, end - 1) && !id_is_null(sig_id(l->base, end - 1)))
        return add_borrowed(l, first, end - 1, e) != 0 ? -1 : add_mixed(l, end - 1, end, e);
    return add_borrowed(l, first, end, e);
}

/* Plain bytes that are whole blocks; the last block of the disk may be cut. */
static bool whole_blocks(const struct layout *l, const struct range *r)
{
    return r->start % BLOCK_SIZE == 0 && (r->end % BLOCK_SIZE == 0 || r->end == disk_size(l->disk));
}

/* All ranges of one cluster are known. */
static int close_cluster(struct layout *l, struct open_cluster *o, struct error *e)
{
    const struct range *r = &o->parts[0];
    size_t n = o->n;

    o->n = 0;
    if (n == 0)
        return 0;
    if (!o->too_many && n == 1) {
        uint64_t start = o->cluster * CLUSTER_SIZE;
        uint64_t end = min_u64(start + CLUSTER_SIZE, disk_size(l->disk));

        if (r->source == FROM_FILE && whole_blocks(l, r))
            return add_file_range(l, *r, e);
        if (r->source == FROM_BASE && r->start == start && r->end == end)
            return add_base(l, o->cluster, o->cluster + 1, e);
    }
    return add_mixed(l, o->cluster, o->cluster + 1, e);
}

/* A range within one cluster. */
static int add_part(struct layout *l, struct open_cluster *o, const struct range *r,
                    struct error *e)
{
    uint64_t cluster = r->start / CLUSTER_SIZE;

    if (cluster != o->cluster && close_cluster(l, o, e) != 0)
        return -1;
    if (cluster != o->cluster || o->n == 0)
        *o = (struct open_cluster){.cluster = cluster};
    /* where the backing disk has only zeros, so has this one */
    if (r->source == FROM_ZERO || (r->source == FROM_BASE && id_is_null(sig_id(l->base, cluster))))
        return 0;
    if (o->n < PARTS_MAX)
        o->parts[o->n++] = *r;
    else
        o->too_many = true;
    return 0;
}

static int add_whole(struct layout *l, const struct range *r, struct error *e)
{
    uint64_t first = r->start / CLUSTER_SIZE, end = div_up(r->end, CLUSTER_SIZE);

    switch (r->source) {
    case FROM_ZERO:
        return 0;
    case FROM_BASE:
        return add_base(l, first, end, e);
    case FROM_FILE:
        return add_file_range(l, *r, e);
    case FROM_READ:
        break;
    }
    return add_mixed(l, first, end, e);
}

static void cut_range(struct range *r, uint64_t start)
{
    if (r->source == FROM_FILE)
        r->host_offset += start - r->start;
    r->start = start;
}

/* A range: what it has of its first cluster, whole clusters, what it has of its last. */
static int add_range(struct layout *l, struct open_cluster *o, struct range r, struct error *e)
{
    uint64_t size = disk_size(l->disk);

    if (r.start % CLUSTER_SIZE != 0) {
        struct range head = r;

        head.end = min_u64(r.end, div_up(r.start, CLUSTER_SIZE) * CLUSTER_SIZE);
        if (add_part(l, o, &head, e) != 0)
            return -1;
        cut_range(&r, head.end);
    }
    if (r.start < r.end && (r.end == size || r.end - r.start >= CLUSTER_SIZE)) {
        struct range whole = r;

        if (r.end != size)
            whole.end = r.end / CLUSTER_SIZE * CLUSTER_SIZE;
        if (close_cluster(l, o, e) != 0 || add_whole(l, &whole, e) != 0)
            return -1;
        cut_range(&r, whole.end);
    }
    return r.start < r.end ? add_part(l, o, &r, e) : 0;
}

static struct range range_of(const struct layout *l, const struct extent *x)
{
    struct range r = {FROM_READ, x->offset, x->offset + x->length, NULL, 0};

    if ((x->flags & EXTENT_ZERO) != 0)
        r.source = FROM_ZERO;
    else if ((x->flags & EXTENT_BASE) != 0)
        r.source = l->base != NULL ? FROM_BASE : FROM_ZERO;
    else if ((x->flags & EXTENT_LOCATED) != 0) {
        r.source = FROM_FILE;
        r.file = x->file;
        r.host_offset = x->host_offset;
    }
    return r;
}

/* True when `next` only goes on with what `r` began. */
static bool continues(const struct range *r, const struct range *next)
{
    if (r->source != next->source)
        return false;
    return r->source != FROM_FILE ||
           (r->file == next->file && r->host_offset + (r->end - r->start) == next->host_offset);
}

int layout_make(struct layout *l, struct disk *d, const struct sig *base,
                const struct cancel *cancel, struct error *e)
{
    struct open_cluster o = {};
    struct range r = {};

    *l = (struct layout){.disk = d, .base = base};
    while (r.end < disk_size(d)) {
        struct range next;
        struct extent x;

        if (cancel_requested(cancel))
            return err_set(e, ERR_CANCELLED, "interrupted");
        if (disk_extent(d, r.end, &x, e) != 0)
            return -1;
        next = range_of(l, &x);
        if (continues(&r, &next)) {
            r.end = next.end;
            continue;
        }
        if (add_range(l, &o, r, e) != 0)
            return -1;
        r = next;
    }
    if (add_range(l, &o, r, e) != 0)
        return -1;
    return close_cluster(l, &o, e);
}
