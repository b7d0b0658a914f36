/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "cluster/plan.h"

#include "base/ckd.h"
#include "base/mem.h"
#include "cluster/plan_forest.h"
#include "cluster/walk.h"
#include "disk/qcow2_write.h"

#include <stdlib.h>
#include <string.h>

#define TABLE_CLUSTERS 8192 /* of 64 KiB, that one L2 table maps */

void plan_release(struct plan *p)
{
    free(p->steps);
    *p = (struct plan){0};
}

/* Tables that map clusters [first, first + count), less those that were counted before. */
static uint64_t tables_touched(uint64_t first, uint64_t count, uint64_t *next)
{
    uint64_t from = max_u64(first / TABLE_CLUSTERS, *next);
    uint64_t end = (first + count - 1) / TABLE_CLUSTERS + 1;

    if (end <= from)
        return 0;
    *next = end;
    return end - from;
}

uint64_t plan_overlay_bytes(const struct sig *child, const struct sig *parent)
{
    uint64_t data = 0, tables = 0, next = 0, end = sig_clusters(child);
    struct walk_pair w = walk_pair_of(child, parent);

    while (walk_pair_next(&w)) {
        uint64_t count = w.first < end ? min_u64(w.count, end - w.first) : 0;

        if (w.a == NULL || w.b == NULL) {
            /* its own data, or zeros that hide the parent's */
            data += w.a != NULL ? count : 0;
            if (count > 0)
                tables += tables_touched(w.first, count, &next);
            continue;
        }
        for (uint64_t k = 0; k < count; k++) {
            if (!id_equal(w.a + k, w.b + k)) {
                data++;
                tables += tables_touched(w.first + k, 1, &next);
            }
        }
    }
    return qcow2_written_size(child->size, data, tables);
}

/* The plan while it is made. */
struct planner {
    const struct plan_image *images;
    const struct sig *const *sigs;
    size_t n;
    bool all;
    enum forest_role *role;
    uint32_t *parent; /* in the end: of each image, or PLAN_NONE */
    bool *stands;     /* on something that it stood on before: nothing to do */
};

static bool has_known_backing(const struct planner *p, size_t i)
{
    return p->images[i].has_backing && p->images[i].backing < p->n;
}

static void assign_roles(struct planner *p)
{
    for (size_t i = 0; i < p->n; i++) {
        const struct plan_image *image = p->images + i;

        p->parent[i] = PLAN_NONE;
        p->stands[i] = image->fixed != NULL || (image->has_backing && !p->all);
        if (image->fixed != NULL)
            p->role[i] = FOREST_OUT;
        else if (p->stands[i])
            p->role[i] = image->in_use ? FOREST_OUT : FOREST_FIRM;
        else
            p->role[i] = image->in_use ? FOREST_LEAF : FOREST_FREE;
    }
    for (size_t i = 0; i < p->n; i++) {
        if (p->stands[i] && has_known_backing(p, i)) {
            uint32_t base = p->images[i].backing;

            p->parent[i] = base;
            if (p->role[base] == FOREST_FREE)
                p->role[base] = FOREST_FIRM;
            else if (p->role[base] == FOREST_LEAF)
                p->role[base] = FOREST_OUT;
        }
    }
}

/* What it would take if it stood on nothing: an overlay would have to be made whole, unless what it
 * stands on is not among the images and stays. */
static uint64_t whole_bytes(const struct planner *p, size_t i)
{
    const struct sig *s = p->sigs[i];

    if (!has_known_backing(p, i))
        return p->images[i].allocated;
    return max_u64(p->images[i].allocated,
                   qcow2_written_size(s->size, s->n_ids, div_up(s->n_ids, TABLE_CLUSTERS)));
}

static uint64_t saves_on(const void *arg, uint32_t child, uint32_t parent)
{
    const struct planner *p = arg;
    uint64_t now = whole_bytes(p, child), then;

    then = plan_overlay_bytes(p->sigs[child], p->sigs[parent]);
    return now > then ? now - then : 0;
}

/* True when image `from` stands on image `to`, however far below. */
static bool stands_on(const struct planner *p, uint32_t from, uint32_t to)
{
    while (from != PLAN_NONE && from != to)
        from = p->parent[from];
    return from == to;
}

/* An overlay that the forest gave nothing better than it has goes on as it is. */
static void keep_backing(struct planner *p, size_t i)
{
    uint32_t base = p->images[i].backing;
    uint32_t parent = p->parent[i];

    if (!p->images[i].has_backing || p->stands[i])
        return;
    if (parent != PLAN_NONE &&
        plan_overlay_bytes(p->sigs[i], p->sigs[parent]) < p->images[i].allocated)
        return;
    if (base < p->n && stands_on(p, base, (uint32_t)i))
        return; /* its base is to stand on it: the new place is the only one */
    p->parent[i] = base < p->n ? base : PLAN_NONE;
    p->stands[i] = true;
}

static void write_step(const struct planner *p, size_t i, struct plan_step *step)
{
    const struct plan_image *image = p->images + i;

    *step = (struct plan_step){
        .action = PLAN_ROOT, .backing = p->parent[i], .overlay_bytes = image->allocated};
    if (image->fixed != NULL) {
        step->action = PLAN_FIXED;
    } else if (p->stands[i]) {
        step->action = PLAN_KEEP;
    } else if (p->parent[i] != PLAN_NONE) {
        step->action = PLAN_REBASE;
        step->overlay_bytes = plan_overlay_bytes(p->sigs[i], p->sigs[p->parent[i]]);
        if (step->overlay_bytes < image->allocated)
            step->saves_bytes = image->allocated - step->overlay_bytes;
    }
}

/* Every overlay has a place that is not the one it must leave. */
static bool plan_is_whole(const struct planner *p)
{
    for (size_t i = 0; i < p->n; i++) {
        if (p->images[i].has_backing && !p->stands[i] && p->parent[i] == PLAN_NONE)
            return false;
    }
    return true;
}

/* *total: the sum of what all files take; UINT64_MAX: the plan cannot be carried out. */
static int make_plan(struct planner *p, const struct forest_input *in, struct plan *out,
                     uint64_t *total, struct error *e)
{
    out->steps = mem_array(p->n, sizeof *out->steps, "plan", e);
    if (out->steps == NULL)
        return -1;
    out->n = p->n;
    assign_roles(p);
    if (forest_build(in, p->parent, e) != 0)
        return -1;
    for (size_t i = 0; i < p->n; i++)
        keep_backing(p, i);
    *total = UINT64_MAX;
    if (!plan_is_whole(p))
        return 0;
    *total = 0;
    for (size_t i = 0; i < p->n; i++) {
        write_step(p, i, out->steps + i);
        out->saves_bytes += out->steps[i].saves_bytes;
        *total += out->steps[i].overlay_bytes;
    }
    return 0;
}

static int check_input(const struct plan_image *images, size_t n, struct error *e)
{
    for (size_t i = 0; i < n; i++) {
        size_t steps = 0;

        for (uint32_t k = (uint32_t)i; k < n && images[k].has_backing; k = images[k].backing) {
            if (++steps > n)
                return err_set(e, ERR_FORMAT, "backing files that go round in a circle");
        }
    }
    return 0;
}

int plan_compute(const struct plan_image *images, const struct sig *const *sigs, size_t n,
                 const struct relation *relation, const struct sketch *sketch, bool all,
                 struct plan *out, struct error *e)
{
    AUTO_FREE uint32_t *parent = mem_array(n, sizeof *parent, "plan", e);
    AUTO_FREE enum forest_role *role = mem_array(n, sizeof *role, "plan", e);
    AUTO_FREE bool *stands = mem_array(n, sizeof *stands, "plan", e);
    struct planner p = {.images = images, .sigs = sigs, .n = n, .parent = parent, .role = role};
    struct forest_input in = {
        .n = n, .role = role, .relation = relation, .sketch = sketch, .saves = saves_on, .arg = &p};
    struct plan kept = {0}, freed = {0};
    uint64_t kept_total, freed_total = UINT64_MAX;
    int status;

    p.stands = stands;
    if (parent == NULL || role == NULL || stands == NULL || check_input(images, n, e) != 0)
        return -1;
    status = make_plan(&p, &in, &kept, &kept_total, e);
    p.all = true;
    if (status == 0 && all)
        status = make_plan(&p, &in, &freed, &freed_total, e);
    /* freeing what exists must be worth it */
    if (status == 0 && freed_total < kept_total) {
        *out = freed;
        freed = (struct plan){0};
    } else if (status == 0) {
        *out = kept;
        kept = (struct plan){0};
    }
    plan_release(&kept);
    plan_release(&freed);
    return status;
}
