/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "base/ckd.h"
#include "base/mem.h"
#include "cluster/labels.h"
#include "cluster/relation.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#define DISKS_MAX 65535
#define SAMPLE LABELS_COLUMNS_MAX
#define NONE UINT32_MAX

static_assert(SAMPLE < SKETCH_EXACT, "counts of sampled positions fit");

void sketch_release(struct sketch *s)
{
    free(s->different);
    free(s->shared);
    free(s->data_bytes);
    free(s->neighbours);
    *s = (struct sketch){0};
}

static size_t triangle(size_t i, size_t j)
{
    return i > j ? i * (i - 1) / 2 + j : j * (j - 1) / 2 + i;
}

static const struct neighbour *find_neighbour(const struct sketch *s, size_t i, size_t j)
{
    const struct neighbour *list = s->neighbours + i * s->n_neighbours;

    for (size_t k = 0; k < s->n_neighbours && list[k].image != NONE; k++) {
        if (list[k].image == j)
            return list + k;
    }
    return NULL;
}

static const struct neighbour *find_exact(const struct sketch *s, size_t i, size_t j)
{
    const struct neighbour *found = find_neighbour(s, i, j);

    return found != NULL ? found : find_neighbour(s, j, i);
}

static uint64_t estimate(const struct sketch *s, uint16_t count)
{
    if (s->positions == 0)
        return 0;
    return (uint64_t)((unsigned __int128)count * s->population * CLUSTER_SIZE / s->positions);
}

uint64_t sketch_different(const struct sketch *s, size_t i, size_t j)
{
    uint16_t count = i == j ? 0 : s->different[triangle(i, j)];

    return count == SKETCH_EXACT ? find_exact(s, i, j)->different : estimate(s, count);
}

uint64_t sketch_shared(const struct sketch *s, size_t i, size_t j)
{
    uint16_t count;

    if (i == j)
        return s->data_bytes[i];
    count = s->shared[triangle(i, j)];
    return count == SKETCH_EXACT ? find_exact(s, i, j)->shared : estimate(s, count);
}

/* A pair that is computed exactly; a > b. */
struct pair {
    uint32_t a, b;
    uint64_t different, shared;
};

struct sketch_job {
    const struct sig *const *sigs;
    struct sketch *s;
    struct labels *labels;
    const struct relation_kernel *kernel;
    uint32_t *link;       /* of each disk in the spanning tree of the estimates, or NONE */
    uint32_t *candidates; /* n x n_candidates */
    size_t n_candidates;
    struct pair *pairs;
    size_t n_pairs;
};

/* The same positions each time: one from each of SAMPLE equal parts of the population. */
static void sample_positions(const struct spans *u, uint64_t *out, size_t n)
{
    uint64_t state = 1;

    if (u->positions == n) {
        spans_positions(u, 0, n, out);
        return;
    }
    for (size_t k = 0; k < n; k++) {
        uint64_t first = (uint64_t)((unsigned __int128)u->positions * k / n);
        uint64_t end = (uint64_t)((unsigned __int128)u->positions * (k + 1) / n);

        state = state * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
        out[k] = spans_position(u, first + (state >> 20) % (end - first));
    }
}

static void set_counts(void *arg, size_t i, size_t j, struct labels_count count)
{
    struct sketch *s = ((struct sketch_job *)arg)->s;

    s->different[triangle(i, j)] -= (uint16_t)(count.both + count.same);
    s->shared[triangle(i, j)] = (uint16_t)count.same;
}

static int count_tile(void *arg, size_t item, size_t thread, struct error *e)
{
    struct sketch_job *job = arg;
    size_t first[2], other[2];

    (void)thread;
    (void)e;
    labels_tile(job->s->n, item, first, other);
    for (size_t i = first[0]; i < first[1]; i++) {
        for (size_t j = other[0]; j < other[1]; j++) {
            if (i < j)
                job->s->different[triangle(i, j)] =
                    (uint16_t)(labels_data(job->labels, i) + labels_data(job->labels, j));
        }
    }
    labels_compare(job->labels, job->kernel, first, other, set_counts, job);
    return 0;
}

/* Labels the sample and fills both triangles. */
static int estimate_all(struct sketch_job *job, struct pool *pool, const struct cancel *cancel,
                        struct error *e)
{
    AUTO(labels) *labels = NULL;
    AUTO_FREE uint64_t *positions = mem_array(SAMPLE, sizeof *positions, "positions", e);
    struct sketch *s = job->s;
    struct spans u = {0};

    if (positions == NULL || spans_union(job->sigs, s->n, &u, e) != 0)
        return -1;
    s->population = u.positions;
    s->positions = (size_t)min_u64(u.positions, SAMPLE);
    sample_positions(&u, positions, s->positions);
    spans_release(&u);
    labels = labels_new(job->sigs, s->n, (size_t)max_u64(1, s->positions), e);
    if (labels == NULL || labels_fill(labels, positions, s->positions, e) != 0)
        return -1;
    job->labels = labels;
    return pool_run(pool, 0, labels_tiles(s->n), count_tile, job, cancel, e);
}

/* The maximum spanning tree of the estimates (Prim): whatever the nearest are, no family falls
 * apart because many of them are the same. */
static int link_all(struct sketch_job *job, struct error *e)
{
    const struct sketch *s = job->s;
    AUTO_FREE uint16_t *most = mem_array(s->n, sizeof *most, "plan", e);
    AUTO_FREE uint32_t *waiting = mem_array(s->n, sizeof *waiting, "plan", e);
    size_t left = 0;
    uint32_t current = 0;

    if (most == NULL || waiting == NULL)
        return -1;
    for (uint32_t i = 0; i < s->n; i++) {
        job->link[i] = NONE;
        if (i > 0)
            waiting[left++] = i;
    }
    while (left > 0) {
        size_t best = 0;

        for (size_t k = 0; k < left; k++) {
            uint16_t shared = s->shared[triangle(current, waiting[k])];

            if (shared > most[k]) {
                most[k] = shared;
                job->link[waiting[k]] = current;
            }
            if (most[k] > most[best])
                best = k;
        }
        current = waiting[best];
        waiting[best] = waiting[--left];
        most[best] = most[left];
    }
    return 0;
}

/* The n best so far: larger is better. */
struct ranking {
    uint32_t *disk;
    uint32_t value[64];
    size_t n, room;
};

static void rank(struct ranking *r, uint32_t disk, uint32_t value)
{
    size_t k;

    if (r->n == r->room && value <= r->value[r->n - 1])
        return;
    k = r->n < r->room ? r->n++ : r->n - 1;
    for (; k > 0 && r->value[k - 1] < value; k--) {
        r->value[k] = r->value[k - 1];
        r->disk[k] = r->disk[k - 1];
    }
    r->value[k] = value;
    r->disk[k] = disk;
}

/* Two thirds of the candidates share most, one third differ least; then the link. */
static int find_candidates(void *arg, size_t item, size_t thread, struct error *e)
{
    struct sketch_job *job = arg;
    const struct sketch *s = job->s;
    uint32_t *out = job->candidates + item * job->n_candidates;
    size_t by_shared = s->n_neighbours;
    struct ranking shared = {.disk = out, .room = by_shared};
    struct ranking near = {.disk = out + by_shared, .room = job->n_candidates - 1 - by_shared};

    (void)thread;
    (void)e;
    memset(out, 0xff, job->n_candidates * sizeof *out);
    for (uint32_t j = 0; j < s->n; j++) {
        if (j == item)
            continue;
        rank(&shared, j, s->shared[triangle(item, j)]);
        rank(&near, j, (uint32_t)SKETCH_EXACT - s->different[triangle(item, j)]);
    }
    out[job->n_candidates - 1] = job->link[item];
    return 0;
}

static int compare_pairs(const void *left, const void *right)
{
    const struct pair *x = left, *y = right;

    if (x->a != y->a)
        return x->a < y->a ? -1 : 1;
    return x->b < y->b ? -1 : x->b > y->b;
}

static int gather_pairs(struct sketch_job *job, struct error *e)
{
    size_t n = 0, kept = 0;

    job->pairs = mem_array(job->s->n * job->n_candidates, sizeof *job->pairs, "pairs", e);
    if (job->pairs == NULL)
        return -1;
    for (uint32_t i = 0; i < job->s->n; i++) {
        for (size_t k = 0; k < job->n_candidates; k++) {
            uint32_t j = job->candidates[i * job->n_candidates + k];

            if (j != NONE)
                job->pairs[n++] = (struct pair){.a = i > j ? i : j, .b = i > j ? j : i};
        }
    }
    if (n > 1)
        qsort(job->pairs, n, sizeof *job->pairs, compare_pairs);
    for (size_t k = 0; k < n; k++) {
        if (kept == 0 || compare_pairs(job->pairs + kept - 1, job->pairs + k) != 0)
            job->pairs[kept++] = job->pairs[k];
    }
    job->n_pairs = kept;
    return 0;
}

static int compute_pair(void *arg, size_t item, size_t thread, struct error *e)
{
    struct sketch_job *job = arg;
    struct pair *p = job->pairs + item;

    (void)thread;
    (void)e;
    relation_pair(job->sigs[p->a], job->sigs[p->b], &p->different, &p->shared);
    return 0;
}

static bool is_nearer(const struct neighbour *x, const struct neighbour *y)
{
    if (y->image == NONE)
        return true;
    if (x->shared != y->shared)
        return x->shared > y->shared;
    if (x->different != y->different)
        return x->different < y->different;
    return x->image < y->image;
}

static void offer(struct sketch *s, uint32_t image, uint32_t other, const struct pair *p)
{
    struct neighbour *list = s->neighbours + image * s->n_neighbours;
    struct neighbour more = {other, p->different, p->shared};
    size_t k = s->n_neighbours - 1;

    if (!is_nearer(&more, list + k))
        return;
    for (; k > 0 && is_nearer(&more, list + k - 1); k--)
        list[k] = list[k - 1];
    list[k] = more;
}

/* An image's link stands among its neighbours, in the place of the last if need be. */
static void keep_link(struct sketch_job *job, uint32_t i)
{
    uint32_t j = job->link[i];
    struct pair key = {.a = i > j ? i : j, .b = i > j ? j : i};
    const struct pair *p;

    if (j == NONE || find_neighbour(job->s, i, j) != NULL)
        return;
    p = bsearch(&key, job->pairs, job->n_pairs, sizeof *job->pairs, compare_pairs);
    if (p != NULL)
        job->s->neighbours[(i + 1) * job->s->n_neighbours - 1] =
            (struct neighbour){j, p->different, p->shared};
}

static void fill_neighbours(struct sketch_job *job)
{
    struct sketch *s = job->s;

    for (size_t k = 0; k < s->n * s->n_neighbours; k++)
        s->neighbours[k].image = NONE;
    for (size_t k = 0; k < job->n_pairs; k++) {
        offer(s, job->pairs[k].a, job->pairs[k].b, job->pairs + k);
        offer(s, job->pairs[k].b, job->pairs[k].a, job->pairs + k);
    }
    for (uint32_t i = 0; i < s->n; i++)
        keep_link(job, i);
    for (size_t i = 0; i < s->n; i++) {
        const struct neighbour *list = s->neighbours + i * s->n_neighbours;

        for (size_t k = 0; k < s->n_neighbours && list[k].image != NONE; k++) {
            s->different[triangle(i, list[k].image)] = SKETCH_EXACT;
            s->shared[triangle(i, list[k].image)] = SKETCH_EXACT;
        }
    }
}

static int sketch_run(struct sketch_job *job, struct pool *pool, const struct cancel *cancel,
                      struct progress *progress, struct error *e)
{
    size_t n = job->s->n;

    if (estimate_all(job, pool, cancel, e) != 0 || link_all(job, e) != 0 ||
        pool_run(pool, 0, n, find_candidates, job, cancel, e) != 0 || gather_pairs(job, e) != 0)
        return -1;
    progress_expect(progress, job->n_pairs);
    if (pool_run(pool, 0, job->n_pairs, compute_pair, job, cancel, e) != 0)
        return -1;
    progress_add(progress, job->n_pairs);
    fill_neighbours(job);
    return 0;
}

static int sketch_make(struct sketch_job *job, struct pool *pool, const struct cancel *cancel,
                       struct progress *progress, struct error *e)
{
    struct sketch *s = job->s;
    size_t pairs = s->n * (s->n - (s->n > 0)) / 2;
    AUTO_FREE uint32_t *link = mem_array(s->n, sizeof *link, "sketch", e);
    AUTO_FREE uint32_t *candidates =
        mem_array(s->n * job->n_candidates, sizeof *candidates, "sketch", e);
    int status = -1;

    job->link = link;
    job->candidates = candidates;
    s->different = mem_array(pairs, sizeof *s->different, "sketch", e);
    s->shared = mem_array(pairs, sizeof *s->shared, "sketch", e);
    s->data_bytes = mem_array(s->n, sizeof *s->data_bytes, "sketch", e);
    s->neighbours = mem_array(s->n * s->n_neighbours, sizeof *s->neighbours, "sketch", e);
    if (link != NULL && candidates != NULL && s->different != NULL && s->shared != NULL &&
        s->data_bytes != NULL && s->neighbours != NULL) {
        for (size_t i = 0; i < s->n; i++)
            s->data_bytes[i] = job->sigs[i]->data_bytes;
        status = sketch_run(job, pool, cancel, progress, e);
    }
    free(job->pairs);
    return status;
}

int sketch_compute(const struct sig *const *sigs, size_t n, size_t n_neighbours, struct pool *pool,
                   const struct cancel *cancel, struct progress *progress, struct sketch *out,
                   struct error *e)
{
    struct sketch s = {.n = n, .n_neighbours = n_neighbours};
    struct sketch_job job = {.sigs = sigs, .s = &s, .kernel = relation_kernel_best()};

    if (n > DISKS_MAX || n_neighbours < 2 || n_neighbours > 64)
        return err_set(e, ERR_LIMIT, "a sketch of %zu disks with %zu neighbours", n, n_neighbours);
    job.n_candidates = n_neighbours + n_neighbours / 2 + 1;
    if (sketch_make(&job, pool, cancel, progress, e) != 0) {
        sketch_release(&s);
        return -1;
    }
    *out = s;
    return 0;
}
