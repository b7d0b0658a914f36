/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "cluster/kinship_build.h"

#include "base/mem.h"

#include <stdlib.h>
#include <string.h>

#define NEIGHBOURS 8

/* What relates the images: one of the two. */
struct relatives {
    const struct kinship *k;
    struct relation relation; /* n > 0: exact */
    struct sketch sketch;
};

static uint64_t image_different(const struct relatives *r, size_t i, size_t j)
{
    if (r->relation.n > 0)
        return r->relation.different[i * r->relation.n + j];
    return sketch_different(&r->sketch, i, j);
}

static uint64_t image_shared(const struct relatives *r, size_t i, size_t j)
{
    if (r->relation.n > 0)
        return r->relation.shared[i * r->relation.n + j];
    return sketch_shared(&r->sketch, i, j);
}

static uint64_t leaf_different(const void *arg, size_t i, size_t j)
{
    const struct relatives *r = arg;
    const struct kinship_leaf *a = r->k->leaves + i, *b = r->k->leaves + j;
    uint64_t sum = 0;

    for (uint32_t disk = 0; disk < a->count || disk < b->count; disk++) {
        if (disk >= b->count)
            sum += r->k->images[a->first + disk].data_bytes;
        else if (disk >= a->count)
            sum += r->k->images[b->first + disk].data_bytes;
        else
            sum += image_different(r, a->first + disk, b->first + disk);
    }
    return sum;
}

static uint64_t leaf_shared(const void *arg, size_t i, size_t j)
{
    const struct relatives *r = arg;
    const struct kinship_leaf *a = r->k->leaves + i, *b = r->k->leaves + j;
    uint64_t sum = 0;

    for (uint32_t disk = 0; disk < a->count && disk < b->count; disk++)
        sum += image_shared(r, a->first + disk, b->first + disk);
    return sum;
}

static int take_leaves(struct kinship *k, struct error *e)
{
    size_t next = 0;

    if (k->n_leaves == 0) {
        free(k->leaves);
        k->leaves = mem_array(k->n, sizeof *k->leaves, "guests", e);
        if (k->leaves == NULL)
            return -1;
        for (uint32_t i = 0; i < k->n; i++)
            k->leaves[i] = (struct kinship_leaf){i, 1};
        k->n_leaves = k->n;
    }
    for (size_t i = 0; i < k->n_leaves; i++) {
        if (k->leaves[i].first != next || k->leaves[i].count == 0)
            return err_set(e, ERR_INTERNAL, "guests do not follow their disks");
        next += k->leaves[i].count;
    }
    if (next != k->n)
        return err_set(e, ERR_INTERNAL, "guests do not follow their disks");
    return 0;
}

static void take_signatures(struct kinship *k, const struct sig *const *sigs)
{
    for (size_t i = 0; i < k->n; i++) {
        k->images[i].virtual_size = sigs[i]->size;
        k->images[i].data_bytes = sigs[i]->data_bytes;
        k->images[i].disk_id = sigs[i]->disk;
        k->images[i].content_id = sigs[i]->content;
    }
}

static int relate(struct relatives *r, const struct sig *const *sigs,
                  const struct kinship_options *o, struct error *e)
{
    if (o->sketch && !o->matrix)
        return sketch_compute(sigs, r->k->n, NEIGHBOURS, o->pool, o->cancel, o->progress,
                              &r->sketch, e);
    return relation_compute(sigs, r->k->n, o->pool, o->cancel, o->progress, &r->relation, e);
}

static int grow_tree(struct kinship *k, const struct relatives *r, const struct kinship_options *o,
                     struct error *e)
{
    struct dendrogram_input in = {k->n_leaves, leaf_different, leaf_shared, r, 1 - o->threshold};

    k->linkage = o->linkage;
    k->threshold = o->threshold;
    k->family = mem_array(k->n_leaves, sizeof *k->family, "families", e);
    if (k->family == NULL || dendrogram_build(&in, o->linkage, &k->tree, e) != 0)
        return -1;
    return dendrogram_families(&k->tree, o->threshold, k->family, &k->n_families, e);
}

static int make_plan(struct kinship *k, const struct relatives *r, const struct sig *const *sigs,
                     const struct kinship_options *o, struct error *e)
{
    AUTO_FREE struct plan_image *images = mem_array(k->n, sizeof *images, "plan", e);
    bool exact = r->relation.n > 0 || k->n == 0;

    if (images == NULL)
        return -1;
    for (size_t i = 0; i < k->n; i++) {
        const struct kinship_image *image = k->images + i;

        images[i] = (struct plan_image){
            .allocated = image->allocated_bytes,
            .backing = image->backing,
            .has_backing = image->backing != PLAN_NONE || image->backing_path != NULL,
            .in_use = image->in_use,
            .fixed = image->fixed,
        };
    }
    return plan_compute(images, sigs, k->n, exact ? &r->relation : NULL, exact ? NULL : &r->sketch,
                        o->all, &k->plan, e);
}

/* Does j come before what stands in list[k]? Larger share, smaller distance, smaller index. */
static bool comes_before(const struct relation *r, size_t i, uint32_t j, const struct neighbour *x)
{
    uint64_t shared = r->shared[i * r->n + j], different = r->different[i * r->n + j];

    if (x->image == UINT32_MAX || shared != x->shared)
        return x->image == UINT32_MAX || shared > x->shared;
    return different != x->different ? different < x->different : j < x->image;
}

/* The nearest of each image, from the matrices. */
static void nearest_exactly(struct neighbour *out, const struct relation *r)
{
    for (size_t i = 0; i < r->n; i++) {
        struct neighbour *list = out + i * NEIGHBOURS;

        for (size_t k = 0; k < NEIGHBOURS; k++)
            list[k].image = UINT32_MAX;
        for (uint32_t j = 0; j < r->n; j++) {
            size_t k = NEIGHBOURS - 1;

            if (j == i || !comes_before(r, i, j, list + k))
                continue;
            for (; k > 0 && comes_before(r, i, j, list + k - 1); k--)
                list[k] = list[k - 1];
            list[k] = (struct neighbour){j, r->different[i * r->n + j], r->shared[i * r->n + j]};
        }
    }
}

/* What of the relation goes out: matrices, or each image's nearest, or both. */
static int keep_relation(struct kinship *k, struct relatives *r, const struct kinship_options *o,
                         struct error *e)
{
    bool matrices = o->matrix || (!o->sketch && k->n <= KINSHIP_MATRIX_IMAGES);

    if (o->sketch || k->n > KINSHIP_MATRIX_IMAGES) {
        k->n_neighbours = NEIGHBOURS;
        if (r->sketch.neighbours != NULL)
            k->neighbours = take(r->sketch.neighbours);
        else if ((k->neighbours =
                      mem_array(k->n * NEIGHBOURS, sizeof *k->neighbours, "neighbours", e)) == NULL)
            return -1;
        else
            nearest_exactly(k->neighbours, &r->relation);
    }
    if (matrices) {
        k->different = take(r->relation.different);
        k->shared = take(r->relation.shared);
    }
    return 0;
}

int kinship_build(struct kinship *k, const struct sig *const *sigs, const struct kinship_options *o,
                  struct error *e)
{
    struct relatives r = {.k = k};
    int status = -1;

    if (take_leaves(k, e) != 0)
        return -1;
    take_signatures(k, sigs);
    if (relate(&r, sigs, o, e) == 0 && grow_tree(k, &r, o, e) == 0 &&
        (!o->plan || make_plan(k, &r, sigs, o, e) == 0))
        status = keep_relation(k, &r, o, e);
    relation_release(&r.relation);
    sketch_release(&r.sketch);
    return status;
}
