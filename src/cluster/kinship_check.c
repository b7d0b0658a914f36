/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "cluster/kinship_check.h"

#include "base/ckd.h"
#include "base/mem.h"

#include <string.h>

static int broken(struct error *e, const char *what)
{
    return err_set(e, ERR_PEER, "the worker sent a family tree with %s", what);
}

static int check_leaves(const struct kinship *k, struct error *e)
{
    uint64_t next = 0;

    for (size_t i = 0; i < k->n_leaves; i++) {
        if (k->leaves[i].first != next || k->leaves[i].count == 0)
            return broken(e, "guests that do not follow their disks");
        next += k->leaves[i].count;
    }
    return next == k->n ? 0 : broken(e, "guests that do not follow their disks");
}

static int check_neighbours(const struct kinship *k, struct error *e)
{
    for (size_t i = 0; k->n_neighbours > 0 && i < k->n; i++) {
        const struct neighbour *list = k->neighbours + i * k->n_neighbours;
        bool ended = false;

        for (size_t x = 0; x < k->n_neighbours; x++) {
            if (list[x].image == UINT32_MAX)
                ended = true;
            else if (ended || list[x].image >= k->n || list[x].image == i)
                return broken(e, "impossible neighbours");
        }
    }
    return 0;
}

/* The children of one join; smallest[] of each node before it is known. */
static int check_join(const struct dendrogram *d, size_t node, uint32_t *smallest, bool *used,
                      struct error *e)
{
    const struct dendrogram_node *x = d->nodes + node;
    uint64_t leaves = 0;

    for (uint32_t c = 0; c < x->count; c++) {
        uint32_t child = d->children[x->first + c];

        if (child >= node || used[child])
            return broken(e, "a join of what is none");
        if (child >= d->n_leaves && d->nodes[child].different >= x->different)
            return broken(e, "joins out of order");
        if (c > 0 && smallest[child] <= smallest[d->children[x->first + c - 1]])
            return broken(e, "siblings out of order");
        used[child] = true;
        leaves += d->nodes[child].leaves;
    }
    smallest[node] = smallest[d->children[x->first]];
    return leaves == x->leaves ? 0 : broken(e, "joins that count wrong");
}

static int check_tree(const struct dendrogram *d, struct error *e)
{
    AUTO_FREE uint32_t *smallest = mem_array(d->n_nodes, sizeof *smallest, "tree", e);
    AUTO_FREE bool *used = mem_array(d->n_nodes, sizeof *used, "tree", e);
    uint64_t next = 0;

    if (smallest == NULL || used == NULL)
        return -1;
    for (size_t i = 0; i < d->n_nodes; i++) {
        const struct dendrogram_node *x = d->nodes + i;

        if (i < d->n_leaves) {
            smallest[i] = (uint32_t)i;
            if (x->count != 0 || x->leaves != 1)
                return broken(e, "a leaf that is none");
            continue;
        }
        if (x->first != next || x->count < 2 || x->count > d->n_children - next)
            return broken(e, "a join of what is none");
        next += x->count;
        if (check_join(d, i, smallest, used, e) != 0)
            return -1;
    }
    /* each node below one join, and all leaves below the last: one tree */
    if (next != d->n_children || (d->n_nodes > 0 && d->nodes[d->root].leaves != d->n_leaves) ||
        (d->n_nodes > 0 && d->n_children + 1 != d->n_nodes))
        return broken(e, "more than one root");
    return 0;
}

static int check_families(const struct kinship *k, struct error *e)
{
    uint32_t seen = 0;

    for (size_t i = 0; i < k->n_leaves; i++) {
        if (k->family[i] > seen || k->family[i] >= k->n_families)
            return broken(e, "families out of order");
        seen += k->family[i] == seen;
    }
    return seen == k->n_families ? 0 : broken(e, "families without members");
}

/* backing[] leads out of the images from each of them. Each is walked once. */
static int check_chains(const uint32_t *backing, size_t n, struct error *e)
{
    AUTO_FREE uint32_t *walk = mem_array(n, sizeof *walk, "chains", e);

    if (walk == NULL)
        return -1;
    for (uint32_t i = 0; i < n; i++) {
        for (uint32_t at = i; at != PLAN_NONE && walk[at] != i + 1; at = backing[at]) {
            if (backing[at] != PLAN_NONE && backing[at] >= n)
                return broken(e, "a backing file that is none");
            if (walk[at] != 0)
                break; /* an earlier walk got out from here */
            walk[at] = i + 1;
            if (backing[at] != PLAN_NONE && walk[backing[at]] == i + 1)
                return broken(e, "backing files that go round in a circle");
        }
    }
    return 0;
}

static int check_backings(struct kinship *k, struct error *e)
{
    AUTO_FREE uint32_t *backing = mem_array(k->n, sizeof *backing, "chains", e);

    if (backing == NULL)
        return -1;
    for (size_t i = 0; i < k->n; i++)
        backing[i] = k->images[i].backing;
    if (check_chains(backing, k->n, e) != 0)
        return -1;
    k->plan.saves_bytes = 0;
    for (size_t i = 0; k->plan.steps != NULL && i < k->n; i++) {
        const struct plan_step *step = k->plan.steps + i;

        backing[i] = step->backing;
        if ((unsigned)step->action > PLAN_FIXED ||
            (step->action == PLAN_REBASE && step->backing == PLAN_NONE) ||
            ckd_add(&k->plan.saves_bytes, k->plan.saves_bytes, step->saves_bytes))
            return broken(e, "an impossible plan");
    }
    return k->plan.steps == NULL ? 0 : check_chains(backing, k->n, e);
}

int kinship_check(struct kinship *k, struct error *e)
{
    if (check_leaves(k, e) != 0 || check_neighbours(k, e) != 0 || check_tree(&k->tree, e) != 0 ||
        check_families(k, e) != 0)
        return -1;
    return check_backings(k, e);
}
