/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "sig/compare.h"

#include "base/ckd.h"
#include "base/mem.h"

#include <string.h>

/* Bytes of each disk that are compared at once. */
#define PIECE (1u << 20)

void comparison_release(struct comparison *c)
{
    free(c->ranges);
    *c = (struct comparison){};
}

#define AUTO_COMPARISON __attribute__((cleanup(comparison_release))) struct comparison

/* Ranges in rising order; what is adjacent becomes one. */
static int add_range(struct comparison *c, size_t *capacity, uint64_t offset, uint64_t length,
                     struct error *e)
{
    struct byte_range *last = c->n_ranges > 0 ? &c->ranges[c->n_ranges - 1] : NULL;

    if (length == 0)
        return 0;
    c->different_bytes += length;
    if (last != NULL && last->offset + last->length == offset) {
        last->length += length;
        return 0;
    }
    if (mem_grow(&c->ranges, capacity, c->n_ranges + 1, sizeof *c->ranges, "ranges that differ",
                 e) != 0)
        return -1;
    c->ranges[c->n_ranges++] = (struct byte_range){offset, length};
    return 0;
}

static void finish(struct comparison *c)
{
    c->first_difference = c->n_ranges > 0 ? c->ranges[0].offset : UINT64_MAX;
}

/* ---- by ids ---- */

/* Where a signature stands while two of them are walked. */
struct walk {
    const struct sig *sig;
    size_t run;
};

/* Clusters [*from, *to) after `at` whose ids stand together, or none at all: whether it has them.
 * Past the last run *to is UINT64_MAX. */
static bool walk_at(struct walk *w, uint64_t at, uint64_t *to, const struct id **ids)
{
    const struct sig *s = w->sig;
    const struct sig_run *r;

    while (w->run < s->n_runs && s->runs[w->run].first + s->runs[w->run].count <= at)
        w->run++;
    *to = UINT64_MAX;
    if (w->run == s->n_runs)
        return false;
    r = &s->runs[w->run];
    if (r->first > at) {
        *to = r->first;
        return false;
    }
    *to = r->first + r->count;
    *ids = &s->ids[r->at + (at - r->first)];
    return true;
}

static uint64_t larger(const struct comparison *c)
{
    return max_u64(c->sizes[0], c->sizes[1]);
}

/* Clusters that both have. */
static int compare_ids(struct comparison *c, size_t *capacity, uint64_t first, uint64_t count,
                       const struct id *a, const struct id *b, struct error *e)
{
    uint64_t size = larger(c);

    for (uint64_t i = 0; i < count; i++) {
        uint64_t bytes = clusters_bytes(first + i, 1, size);

        if (id_equal(&a[i], &b[i]))
            c->equal_bytes += bytes;
        else if (add_range(c, capacity, (first + i) * CLUSTER_SIZE, bytes, e) != 0)
            return -1;
    }
    return 0;
}

int compare_signatures(const struct sig *a, const struct sig *b, struct comparison *out,
                       struct error *e)
{
    AUTO_COMPARISON c = {.sizes = {a->size, b->size}, .granularity = CLUSTER_SIZE};
    struct walk walks[2] = {{a, 0}, {b, 0}};
    uint64_t at = 0, to[2];
    size_t capacity = 0;

    for (;; at = min_u64(to[0], to[1])) {
        const struct id *ids[2] = {};
        bool has_a = walk_at(&walks[0], at, &to[0], &ids[0]);
        bool has_b = walk_at(&walks[1], at, &to[1], &ids[1]);
        uint64_t count = min_u64(to[0], to[1]) - at;

        if (count == UINT64_MAX - at)
            break;
        if (has_a && has_b) {
            if (compare_ids(&c, &capacity, at, count, ids[0], ids[1], e) != 0)
                return -1;
        } else if ((has_a || has_b) && add_range(&c, &capacity, at * CLUSTER_SIZE,
                                                 clusters_bytes(at, count, larger(&c)), e) != 0) {
            return -1;
        }
    }
    if (sig_lost(a) || sig_lost(b))
        return err_set(e, ERR_CHANGED, "a signature file shrank while it was compared");
    finish(&c);
    c.zero_bytes = larger(&c) - c.equal_bytes - c.different_bytes;
    *out = c;
    c = (struct comparison){};
    return 0;
}

/* ---- by bytes ---- */

struct piece {
    uint64_t offset;
    uint32_t length;
    uint32_t different;        /* bytes */
    struct byte_range *ranges; /* that differ; owned */
    size_t n_ranges;
};

struct exact {
    struct disk *disks[2];
    const struct scan_options *options;
    struct piece *pieces;
    size_t n, capacity;
    uint8_t **bytes; /* by thread: PIECE of each disk; made at the first need */
    size_t n_threads;
};

static void exact_release(struct exact *x)
{
    for (size_t i = 0; i < x->n; i++)
        free(x->pieces[i].ranges);
    for (size_t i = 0; x->bytes != NULL && i < x->n_threads; i++)
        free(x->bytes[i]);
    free(x->pieces);
    free(x->bytes);
}

static int make_pieces(struct exact *x, const struct comparison *c, struct error *e)
{
    for (size_t i = 0; i < c->n_ranges; i++) {
        uint64_t offset = c->ranges[i].offset, end = offset + c->ranges[i].length;

        while (offset < end) {
            uint32_t length = (uint32_t)min_u64(end - offset, PIECE);

            if (mem_grow(&x->pieces, &x->capacity, x->n + 1, sizeof *x->pieces,
                         "pieces of a comparison", e) != 0)
                return -1;
            x->pieces[x->n++] = (struct piece){.offset = offset, .length = length};
            offset += length;
        }
        progress_expect(x->options->progress, c->ranges[i].length);
    }
    return 0;
}

/* The first byte from `at` on that differs; `length` when there is none. */
static size_t skip_equal(const uint8_t *a, const uint8_t *b, size_t at, size_t length)
{
    uint64_t p, q;

    while (length - at >= BLOCK_SIZE && memcmp(a + at, b + at, BLOCK_SIZE) == 0)
        at += BLOCK_SIZE;
    for (; length - at >= sizeof p; at += sizeof p) {
        memcpy(&p, a + at, sizeof p);
        memcpy(&q, b + at, sizeof q);
        if (p != q)
            break;
    }
    while (at < length && a[at] == b[at])
        at++;
    return at;
}

static int find_ranges(struct piece *p, const uint8_t *a, const uint8_t *b, struct error *e)
{
    AUTO_COMPARISON c = {};
    size_t capacity = 0, at = 0;

    while ((at = skip_equal(a, b, at, p->length)) < p->length) {
        size_t start = at;

        while (at < p->length && a[at] != b[at])
            at++;
        if (add_range(&c, &capacity, p->offset + start, at - start, e) != 0)
            return -1;
    }
    p->different = (uint32_t)c.different_bytes;
    p->n_ranges = c.n_ranges;
    p->ranges = take(c.ranges);
    return 0;
}

static int run_piece(void *arg, size_t item, size_t thread, struct error *e)
{
    struct exact *x = arg;
    struct piece *p = &x->pieces[item];
    uint8_t *a, *b;

    if (x->bytes[thread] == NULL && (x->bytes[thread] = malloc(2 * PIECE)) == NULL)
        return err_memory(e, "a buffer for reading");
    a = x->bytes[thread];
    b = a + PIECE;
    if (disk_pread_padded(x->disks[0], a, p->length, p->offset, e) != 0 ||
        disk_pread_padded(x->disks[1], b, p->length, p->offset, e) != 0 ||
        find_ranges(p, a, b, e) != 0)
        return -1;
    progress_add(x->options->progress, p->length);
    return 0;
}

/* Joins what the pieces found, in order, and lets it go. */
static int join_pieces(struct exact *x, struct comparison *c, struct error *e)
{
    size_t capacity = 0;

    for (size_t i = 0; i < x->n; i++) {
        struct piece *p = &x->pieces[i];

        c->equal_bytes += p->length - p->different;
        for (size_t k = 0; k < p->n_ranges; k++) {
            if (add_range(c, &capacity, p->ranges[k].offset, p->ranges[k].length, e) != 0)
                return -1;
        }
        free(take(p->ranges));
    }
    finish(c);
    return 0;
}

int compare_exact(struct disk *a, struct disk *b, const struct comparison *by_cluster,
                  const struct scan_options *o, struct comparison *out, struct error *e)
{
    __attribute__((cleanup(exact_release))) struct exact x = {.disks = {a, b}, .options = o};
    AUTO_COMPARISON c = {
        .sizes = {disk_size(a), disk_size(b)},
        .equal_bytes = by_cluster->equal_bytes,
        .zero_bytes = by_cluster->zero_bytes,
        .granularity = 1,
    };

    if (c.sizes[0] != by_cluster->sizes[0] || c.sizes[1] != by_cluster->sizes[1])
        return err_set(e, ERR_CHANGED, "%s and %s do not have the sizes of their signatures",
                       disk_name(a), disk_name(b));
    x.n_threads = pool_threads(o->pool);
    x.bytes = mem_array(x.n_threads, sizeof *x.bytes, "threads of a comparison", e);
    if (x.bytes == NULL || make_pieces(&x, by_cluster, e) != 0 ||
        pool_run(o->pool, o->threads, x.n, run_piece, &x, o->cancel, e) != 0 ||
        join_pieces(&x, &c, e) != 0)
        return -1;
    *out = c;
    c = (struct comparison){};
    return 0;
}
