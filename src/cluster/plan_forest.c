/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "cluster/plan_forest.h"

#include "base/auto.h"
#include "base/ckd.h"
#include "base/mem.h"

#include <stdlib.h>
#include <string.h>

#define NONE UINT32_MAX

/* Roots may cost this part (1 / it) of a tree's savings for shorter chains. */
#define ROOT_TOLERANCE 1024

struct edge {
    uint32_t a, b; /* dense: b stood first, and may be firm */
    uint32_t
        below; /* what a firm one stands on already: of equal ones the shortest chain is best */
    uint64_t shared;
};

static bool is_parent(const struct forest_input *in, size_t i)
{
    return in->role[i] == FOREST_FREE || in->role[i] == FOREST_FIRM;
}

/* ---- maximum spanning forest; all firm images count as one node ---- */

static bool is_better(const struct edge *x, const struct edge *y)
{
    return x->shared > y->shared || (x->shared == y->shared && x->below < y->below);
}

/* How many images stand below this one already. */
static uint32_t chain_below(const uint32_t *parent, uint32_t i)
{
    uint32_t n = 0;

    for (; parent[i] != NONE; i = parent[i])
        n++;
    return n;
}

/* The firm image that shares most with i. */
static struct edge best_firm(const struct forest_input *in, const uint32_t *below, uint32_t i)
{
    struct edge best = {.a = i, .b = NONE};

    for (uint32_t j = 0; j < in->n; j++) {
        struct edge edge = {i, j, below[j], in->relation->shared[i * in->n + j]};

        if (in->role[j] == FOREST_FIRM && edge.shared > 0 && is_better(&edge, &best))
            best = edge;
    }
    return best;
}

/* Prim over the matrix. Returns the number of edges. */
static size_t edges_dense(const struct forest_input *in, const uint32_t *below, struct edge *edges,
                          struct edge *waiting)
{
    const uint64_t *shared = in->relation->shared;
    size_t n = in->n, left = 0, n_edges = 0;

    for (uint32_t i = 0; i < n; i++) {
        if (in->role[i] == FOREST_FREE)
            waiting[left++] = best_firm(in, below, i);
    }
    while (left > 0) {
        struct edge next;
        size_t best = 0;

        for (size_t k = 1; k < left; k++) {
            if (waiting[k].shared > waiting[best].shared ||
                (waiting[k].shared == waiting[best].shared && waiting[k].a < waiting[best].a))
                best = k;
        }
        next = waiting[best];
        waiting[best] = waiting[--left];
        if (next.b != NONE)
            edges[n_edges++] = next;
        for (size_t k = 0; k < left; k++) {
            uint64_t more = shared[next.a * n + waiting[k].a];

            if (more > waiting[k].shared)
                waiting[k] = (struct edge){waiting[k].a, next.a, 0, more};
        }
    }
    return n_edges;
}

static int compare_edges(const void *left, const void *right)
{
    const struct edge *x = left, *y = right;

    if (x->shared != y->shared)
        return x->shared > y->shared ? -1 : 1;
    if (x->below != y->below)
        return x->below < y->below ? -1 : 1;
    if (x->a != y->a)
        return x->a < y->a ? -1 : 1;
    return x->b < y->b ? -1 : x->b > y->b;
}

static uint32_t find_root(uint32_t *set, uint32_t i)
{
    while (set[i] != i)
        i = set[i] = set[set[i]];
    return i;
}

/* Kruskal over the neighbours. */
static int edges_sparse(const struct forest_input *in, const uint32_t *below, struct edge *edges,
                        size_t *n_edges, struct error *e)
{
    const struct sketch *sketch = in->sketch;
    AUTO_FREE struct edge *all = mem_array(in->n * sketch->n_neighbours, sizeof *all, "plan", e);
    AUTO_FREE uint32_t *set = mem_array(in->n, sizeof *set, "plan", e);
    uint32_t firm = NONE;
    size_t n = 0;

    if (all == NULL || set == NULL)
        return -1;
    for (uint32_t i = 0; i < in->n; i++) {
        const struct neighbour *near = sketch->neighbours + i * sketch->n_neighbours;

        set[i] = i;
        if (in->role[i] == FOREST_FIRM)
            set[i] = firm = firm == NONE ? i : firm;
        for (size_t k = 0; k < sketch->n_neighbours && near[k].image != NONE; k++) {
            uint32_t j = near[k].image;

            if (near[k].shared > 0 && is_parent(in, i) && is_parent(in, j))
                all[n++] = (struct edge){(uint32_t)min_u64(i, j), (uint32_t)max_u64(i, j),
                                         below[i] + below[j], near[k].shared};
        }
    }
    if (n > 1)
        qsort(all, n, sizeof *all, compare_edges);
    for (size_t k = 0; k < n; k++) {
        uint32_t a = find_root(set, all[k].a), b = find_root(set, all[k].b);

        if (a != b) {
            set[max_u64(a, b)] = (uint32_t)min_u64(a, b);
            edges[(*n_edges)++] = all[k];
        }
    }
    return 0;
}

/* ---- which way ---- */

struct arc {
    uint32_t to;
    uint64_t saves_here; /* when this end stands on `to` */
    uint64_t saves_there;
};

struct forest {
    const struct forest_input *in;
    uint32_t *start; /* n + 1: into arcs */
    struct arc *arcs;
    uint32_t *order, *from; /* of the last walk: images in breadth-first order; where from */
    uint32_t *depth, *far;
    uint64_t *gain; /* of the tree with this root */
    bool *placed;
};

/* Arcs of the edges that save something in at least one direction. */
static int arcs_make(struct forest *f, const struct edge *edges, size_t n_edges, struct error *e)
{
    const struct forest_input *in = f->in;
    AUTO_FREE uint64_t *saves = mem_array(2 * n_edges, sizeof *saves, "plan", e);
    AUTO_FREE uint32_t *fill = mem_array(in->n, sizeof *fill, "plan", e);

    f->arcs = mem_array(2 * n_edges, sizeof *f->arcs, "plan", e);
    if (saves == NULL || fill == NULL || f->arcs == NULL)
        return -1;
    for (size_t k = 0; k < n_edges; k++) {
        uint32_t a = edges[k].a, b = edges[k].b;

        saves[2 * k] = in->role[a] == FOREST_FREE ? in->saves(in->arg, a, b) : 0;
        saves[2 * k + 1] = in->role[b] == FOREST_FREE ? in->saves(in->arg, b, a) : 0;
        if (saves[2 * k] > 0 || saves[2 * k + 1] > 0) {
            f->start[a + 1]++;
            f->start[b + 1]++;
        }
    }
    for (size_t i = 0; i < in->n; i++)
        f->start[i + 1] += f->start[i];
    for (size_t k = 0; k < n_edges; k++) {
        uint32_t a = edges[k].a, b = edges[k].b;

        if (saves[2 * k] == 0 && saves[2 * k + 1] == 0)
            continue;
        f->arcs[f->start[a] + fill[a]++] = (struct arc){b, saves[2 * k], saves[2 * k + 1]};
        f->arcs[f->start[b] + fill[b]++] = (struct arc){a, saves[2 * k + 1], saves[2 * k]};
    }
    return 0;
}

/* Breadth first from `root` over what is not placed; returns how many images. */
static size_t walk(struct forest *f, uint32_t root, uint32_t *depth)
{
    size_t n = 1;

    f->order[0] = root;
    f->from[root] = NONE;
    depth[root] = 0;
    for (size_t k = 0; k < n; k++) {
        uint32_t at = f->order[k];

        for (uint32_t i = f->start[at]; i < f->start[at + 1]; i++) {
            uint32_t to = f->arcs[i].to;

            if (to == f->from[at] || f->placed[to] || f->in->role[to] != FOREST_FREE)
                continue;
            f->from[to] = at;
            depth[to] = depth[at] + 1;
            f->order[n++] = to;
        }
    }
    return n;
}

static const struct arc *arc_of(const struct forest *f, uint32_t from, uint32_t to)
{
    uint32_t i = f->start[from];

    while (f->arcs[i].to != to)
        i++;
    return f->arcs + i;
}

/* gain[] of each image of the tree just walked: what all save with it as the root. */
static uint64_t gains(struct forest *f, size_t n)
{
    uint32_t root = f->order[0];
    uint64_t most = 0;

    f->gain[root] = 0;
    for (size_t k = 1; k < n; k++)
        f->gain[root] += arc_of(f, f->order[k], f->from[f->order[k]])->saves_here;
    for (size_t k = 0; k < n; k++) {
        uint32_t at = f->order[k];

        if (k > 0) {
            const struct arc *up = arc_of(f, at, f->from[at]);

            f->gain[at] = f->gain[f->from[at]] - up->saves_here + up->saves_there;
        }
        most = max_u64(most, f->gain[at]);
    }
    return most;
}

/* Of the roots that save (nearly) most the one with the shortest chains. */
static uint32_t choose_root(struct forest *f, uint32_t any)
{
    size_t n = walk(f, any, f->depth);
    uint64_t most = gains(f, n);
    uint32_t best = NONE, longest = 0;

    /* the ends of a longest chain: the farthest from anywhere, and the farthest from that */
    n = walk(f, f->order[n - 1], f->depth);
    n = walk(f, f->order[n - 1], f->far);
    for (size_t k = 0; k < n; k++) {
        uint32_t i = f->order[k];
        uint32_t chain = (uint32_t)max_u64(f->depth[i], f->far[i]);

        if (f->gain[i] < most - most / ROOT_TOLERANCE)
            continue;
        if (best == NONE || chain < longest || (chain == longest && i < best)) {
            best = i;
            longest = chain;
        }
    }
    return best;
}

/* Places the tree of `root`: each image on the one that it was reached from, if that saves. */
static void place(struct forest *f, uint32_t root, uint32_t *parent)
{
    size_t n = walk(f, root, f->depth);

    for (size_t k = 0; k < n; k++) {
        uint32_t at = f->order[k];

        f->placed[at] = true;
        if (k > 0 && arc_of(f, at, f->from[at])->saves_here > 0)
            parent[at] = f->from[at];
    }
}

/* What stands on a firm image, as far as each step saves. */
static void place_on_firm(struct forest *f, uint32_t firm, uint32_t *parent)
{
    size_t n = 1;

    f->order[0] = firm;
    for (size_t k = 0; k < n; k++) {
        uint32_t at = f->order[k];

        for (uint32_t i = f->start[at]; i < f->start[at + 1]; i++) {
            const struct arc *arc = f->arcs + i;

            if (f->placed[arc->to] || f->in->role[arc->to] != FOREST_FREE || arc->saves_there == 0)
                continue;
            f->placed[arc->to] = true;
            parent[arc->to] = at;
            f->order[n++] = arc->to;
        }
    }
}

static int orient(struct forest *f, const struct edge *edges, size_t n_edges, uint32_t *parent,
                  struct error *e)
{
    size_t n = f->in->n;

    if (arcs_make(f, edges, n_edges, e) != 0)
        return -1;
    for (uint32_t i = 0; i < n; i++) {
        if (f->in->role[i] == FOREST_FIRM)
            place_on_firm(f, i, parent);
    }
    for (uint32_t i = 0; i < n; i++) {
        if (f->in->role[i] == FOREST_FREE && !f->placed[i])
            place(f, choose_root(f, i), parent);
    }
    return 0;
}

/* ---- leaves ---- */

static uint32_t best_parent(const struct forest_input *in, uint32_t leaf)
{
    const struct neighbour *near;
    uint64_t most = 0;
    uint32_t best = NONE;

    if (in->relation != NULL) {
        for (uint32_t j = 0; j < in->n; j++) {
            uint64_t shared = in->relation->shared[leaf * in->n + j];

            if (is_parent(in, j) && shared > most) {
                most = shared;
                best = j;
            }
        }
        return best;
    }
    near = in->sketch->neighbours + leaf * in->sketch->n_neighbours;
    for (size_t k = 0; k < in->sketch->n_neighbours && near[k].image != NONE; k++) {
        if (is_parent(in, near[k].image) && near[k].shared > 0)
            return near[k].image;
    }
    return NONE;
}

static void place_leaves(const struct forest_input *in, uint32_t *parent)
{
    for (uint32_t i = 0; i < in->n; i++) {
        uint32_t best = in->role[i] == FOREST_LEAF ? best_parent(in, i) : NONE;

        if (best != NONE && in->saves(in->arg, i, best) > 0)
            parent[i] = best;
    }
}

int forest_build(const struct forest_input *in, uint32_t *parent, struct error *e)
{
    size_t n = in->n, n_edges = 0;
    AUTO_FREE struct edge *edges = mem_array(n, sizeof *edges, "plan", e);
    AUTO_FREE struct edge *waiting = mem_array(n, sizeof *waiting, "plan", e);
    AUTO_FREE uint32_t *start = mem_array(n + 1, sizeof *start, "plan", e);
    AUTO_FREE uint32_t *walks = mem_array(n, 5 * sizeof *walks, "plan", e);
    AUTO_FREE uint64_t *gain = mem_array(n, sizeof *gain, "plan", e);
    AUTO_FREE bool *placed = mem_array(n, sizeof *placed, "plan", e);
    struct forest f = {.in = in, .start = start, .gain = gain, .placed = placed};
    uint32_t *below;
    int status = 0;

    if (edges == NULL || waiting == NULL || start == NULL || walks == NULL || gain == NULL ||
        placed == NULL)
        return -1;
    f.order = walks;
    f.from = walks + n;
    f.depth = walks + 2 * n;
    f.far = walks + 3 * n;
    below = walks + 4 * n;
    for (uint32_t i = 0; i < n; i++)
        below[i] = in->role[i] == FOREST_FIRM ? chain_below(parent, i) : 0;
    if (in->relation != NULL)
        n_edges = edges_dense(in, below, edges, waiting);
    else
        status = edges_sparse(in, below, edges, &n_edges, e);
    if (status == 0)
        status = orient(&f, edges, n_edges, parent, e);
    free(f.arcs);
    if (status == 0)
        place_leaves(in, parent);
    return status;
}
