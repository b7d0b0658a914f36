/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "cluster/relation.h"

#include "base/ckd.h"
#include "base/mem.h"
#include "cluster/labels.h"
#include "cluster/relation_compute.h"
#include "cluster/walk.h"

#include <string.h>

#define DISKS_MAX 65535
#define TILE 64 /* of the matrices, when they are mirrored */
#define BATCH_MAX 16

void relation_release(struct relation *r)
{
    free(r->different);
    free(r->shared);
    *r = (struct relation){0};
}

void relation_pair(const struct sig *a, const struct sig *b, uint64_t *different, uint64_t *shared)
{
    uint64_t size = max_u64(a->size, b->size);
    uint64_t last = size / CLUSTER_SIZE; /* the one that the end cuts, if any */
    uint64_t cut = size % CLUSTER_SIZE != 0 ? CLUSTER_SIZE - size % CLUSTER_SIZE : 0;
    uint64_t differ = 0, same = 0;
    struct walk_pair w = walk_pair_of(a, b);

    while (walk_pair_next(&w)) {
        uint64_t equal = 0;

        if (w.a != NULL && w.b == w.a) {
            equal = w.count;
        } else if (w.a != NULL && w.b != NULL) {
            for (uint64_t k = 0; k < w.count; k++)
                equal += id_equal(w.a + k, w.b + k);
        }
        same += equal * CLUSTER_SIZE;
        differ += (w.count - equal) * CLUSTER_SIZE;
        if (cut != 0 && last - w.first < w.count) {
            uint64_t k = last - w.first;

            if (w.a != NULL && w.b != NULL && id_equal(w.a + k, w.b + k))
                same -= cut;
            else
                differ -= cut;
        }
    }
    *different = differ;
    *shared = same;
}

/* One pass: slabs labelled side by side, then tiles of the matrices. */
struct relation_job {
    const struct sig *const *sigs;
    size_t n;
    const struct relation_kernel *kernel;
    struct spans positions;
    struct labels **slabs;
    uint64_t *columns; /* LABELS_COLUMNS_MAX for each slab */
    size_t n_slabs, slab_width;
    uint64_t first_rank; /* of this batch */
    struct progress *progress;
    uint64_t *both, *same; /* n x n, clusters, above the diagonal */
};

static int label_slab(void *arg, size_t item, size_t thread, struct error *e)
{
    struct relation_job *job = arg;
    uint64_t rank = job->first_rank + item * job->slab_width;
    uint64_t *columns = job->columns + item * LABELS_COLUMNS_MAX;
    size_t n = 0;

    (void)thread;
    if (rank < job->positions.positions)
        n = (size_t)min_u64(job->positions.positions - rank, job->slab_width);
    spans_positions(&job->positions, rank, n, columns);
    return labels_fill(job->slabs[item], columns, n, e);
}

static void add_count(void *arg, size_t i, size_t j, struct labels_count count)
{
    struct relation_job *job = arg;

    job->both[i * job->n + j] += count.both;
    job->same[i * job->n + j] += count.same;
}

static int count_tile(void *arg, size_t item, size_t thread, struct error *e)
{
    struct relation_job *job = arg;
    size_t first[2], other[2];

    (void)thread;
    (void)e;
    labels_tile(job->n, item, first, other);
    for (size_t s = 0; s < job->n_slabs; s++)
        labels_compare(job->slabs[s], job->kernel, first, other, add_count, job);
    return 0;
}

static int job_run(struct relation_job *job, struct pool *pool, const struct cancel *cancel,
                   struct error *e)
{
    uint64_t step = job->n_slabs * job->slab_width;

    progress_expect(job->progress, job->positions.positions);
    for (; job->first_rank < job->positions.positions; job->first_rank += step) {
        if (pool_run(pool, 0, job->n_slabs, label_slab, job, cancel, e) != 0 ||
            pool_run(pool, 0, labels_tiles(job->n), count_tile, job, cancel, e) != 0)
            return -1;
        progress_add(job->progress, min_u64(step, job->positions.positions - job->first_rank));
    }
    return 0;
}

static void job_release(struct relation_job *job)
{
    for (size_t s = 0; job->slabs != NULL && s < job->n_slabs; s++)
        labels_free(job->slabs[s]);
    free(job->slabs);
    free(job->columns);
    spans_release(&job->positions);
}

static int job_prepare(struct relation_job *job, struct pool *pool, struct error *e)
{
    uint64_t slabs;

    if (spans_union(job->sigs, job->n, &job->positions, e) != 0)
        return -1;
    /* many disks make a slab large enough as it is */
    job->slab_width = job->n > 2048 ? 1024 : LABELS_COLUMNS_MAX;
    slabs = max_u64(1, div_up(job->positions.positions, job->slab_width));
    job->n_slabs = (size_t)min_u64(min_u64(pool_threads(pool), BATCH_MAX), slabs);
    job->columns =
        mem_array(job->n_slabs, LABELS_COLUMNS_MAX * sizeof *job->columns, "positions", e);
    job->slabs = mem_array(job->n_slabs, sizeof(struct labels *), "labels", e);
    if (job->columns == NULL || job->slabs == NULL)
        return -1;
    for (size_t s = 0; s < job->n_slabs; s++) {
        job->slabs[s] = labels_new(job->sigs, job->n, job->slab_width, e);
        if (job->slabs[s] == NULL)
            return -1;
    }
    return 0;
}

/* Clusters to bytes, as if no disk ended inside a cluster. `different` holds `both` before. */
static void matrices_finish(const struct sig *const *sigs, size_t n, uint64_t *different,
                            uint64_t *shared)
{
    for (size_t i = 0; i < n; i++) {
        different[i * n + i] = 0;
        shared[i * n + i] = sigs[i]->data_bytes;
        for (size_t j = i + 1; j < n; j++) {
            uint64_t both = different[i * n + j], same = shared[i * n + j];

            different[i * n + j] = (sigs[i]->n_ids + sigs[j]->n_ids - both - same) * CLUSTER_SIZE;
            shared[i * n + j] = same * CLUSTER_SIZE;
        }
    }
}

static void matrices_mirror(size_t n, uint64_t *different, uint64_t *shared)
{
    for (size_t i0 = 0; i0 < n; i0 += TILE) {
        for (size_t j0 = i0; j0 < n; j0 += TILE) {
            for (size_t i = i0; i < n && i < i0 + TILE; i++) {
                for (size_t j = i0 == j0 ? i + 1 : j0; j < n && j < j0 + TILE; j++) {
                    different[j * n + i] = different[i * n + j];
                    shared[j * n + i] = shared[i * n + j];
                }
            }
        }
    }
}

/* Disk k ends inside a cluster: cut that cluster in its pairs with disks that are not larger (of
 * the same size: with those after it). at[] are the ids there, NULL for zeros. */
static void cut_tail(const struct sig *const *sigs, size_t n, size_t k, const struct id *const *at,
                     uint64_t *different, uint64_t *shared)
{
    uint64_t cut = CLUSTER_SIZE - sigs[k]->size % CLUSTER_SIZE;

    for (size_t j = 0; j < n; j++) {
        size_t cell = j < k ? j * n + k : k * n + j;

        if (j == k || sigs[j]->size > sigs[k]->size || (sigs[j]->size == sigs[k]->size && j < k))
            continue;
        if (at[k] != NULL && at[j] != NULL && id_equal(at[k], at[j]))
            shared[cell] -= cut;
        else if (at[k] != NULL || at[j] != NULL)
            different[cell] -= cut;
    }
}

static int cut_tails(const struct sig *const *sigs, size_t n, uint64_t *different, uint64_t *shared,
                     struct error *e)
{
    AUTO_FREE const struct id **at = mem_array(n, sizeof(struct id *), "ids", e);
    uint64_t known = UINT64_MAX;

    if (at == NULL)
        return -1;
    for (size_t k = 0; k < n; k++) {
        uint64_t last = sigs[k]->size / CLUSTER_SIZE;

        if (sigs[k]->size % CLUSTER_SIZE == 0)
            continue;
        for (size_t j = 0; j < n && last != known; j++) {
            size_t run = sig_find(sigs[j], last);

            at[j] = walk_at(sigs[j], &run, last);
        }
        known = last;
        cut_tail(sigs, n, k, at, different, shared);
    }
    return 0;
}

int relation_compute_with(const struct relation_kernel *kernel, const struct sig *const *sigs,
                          size_t n, struct pool *pool, const struct cancel *cancel,
                          struct progress *progress, struct relation *out, struct error *e)
{
    AUTO_FREE uint64_t *both = NULL;
    AUTO_FREE uint64_t *same = NULL;
    struct relation_job job = {.sigs = sigs, .n = n, .kernel = kernel, .progress = progress};
    int status = -1;

    if (n > DISKS_MAX)
        return err_set(e, ERR_LIMIT, "%zu disks are more than the %d that can be compared at once",
                       n, DISKS_MAX);
    job.both = both = mem_array(n * n, sizeof *both, "the matrix of distances", e);
    job.same = same = mem_array(n * n, sizeof *same, "the matrix of shares", e);
    if (both != NULL && same != NULL && job_prepare(&job, pool, e) == 0)
        status = job_run(&job, pool, cancel, e);
    job_release(&job);
    if (status != 0)
        return -1;
    matrices_finish(sigs, n, both, same);
    if (cut_tails(sigs, n, both, same, e) != 0)
        return -1;
    matrices_mirror(n, both, same);
    *out = (struct relation){.n = n, .different = take(both), .shared = take(same)};
    return 0;
}

int relation_compute(const struct sig *const *sigs, size_t n, struct pool *pool,
                     const struct cancel *cancel, struct progress *progress, struct relation *out,
                     struct error *e)
{
    return relation_compute_with(relation_kernel_best(), sigs, n, pool, cancel, progress, out, e);
}
