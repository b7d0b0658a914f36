/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "cluster/dendrogram.h"

#include "base/auto.h"
#include "base/ckd.h"
#include "base/mem.h"
#include "cluster/linkage.h"

#include <stdlib.h>
#include <string.h>

#define NONE UINT32_MAX

void dendrogram_release(struct dendrogram *d)
{
    free(d->nodes);
    free(d->children);
    *d = (struct dendrogram){0};
}

double share_of(uint64_t shared, uint64_t different)
{
    double sum = (double)shared + (double)different;

    return sum > 0 ? (double)shared / sum : 1.0;
}

/* A join while the tree grows; its children are a linked list, so that splicing is one step. */
struct join {
    uint64_t height;
    uint32_t smallest; /* leaf below */
    uint32_t head, tail, count, leaves;
    uint32_t index; /* of the node it becomes; NONE: spliced away */
    bool strangers;
};

/* Nodes here: leaf i is i, join k is n + k. */
struct grove {
    size_t n, n_joins;
    struct join *joins; /* n - 1 at most */
    uint32_t *next;     /* sibling of each node */
    uint32_t *parent;   /* union-find over leaves */
    uint32_t *top;      /* of a set's root: the node that stands for it */
};

static uint32_t find_root(uint32_t *parent, uint32_t i)
{
    while (parent[i] != i)
        i = parent[i] = parent[parent[i]];
    return i;
}

static uint32_t node_smallest(const struct grove *g, uint32_t node)
{
    return node < g->n ? node : g->joins[node - g->n].smallest;
}

static uint32_t node_leaves(const struct grove *g, uint32_t node)
{
    return node < g->n ? 1 : g->joins[node - g->n].leaves;
}

static void join_append(struct grove *g, struct join *j, uint32_t node)
{
    g->next[node] = NONE;
    if (j->head == NONE)
        j->head = node;
    else
        g->next[j->tail] = node;
    j->tail = node;
    j->count++;
    j->leaves += node_leaves(g, node);
    if (node_smallest(g, node) < j->smallest)
        j->smallest = node_smallest(g, node);
}

/* `from`, a join of the same height, gives its children to j. */
static void join_splice(struct grove *g, struct join *j, struct join *from)
{
    g->next[j->tail] = from->head;
    j->tail = from->tail;
    j->count += from->count;
    j->leaves += from->leaves;
    if (from->smallest < j->smallest)
        j->smallest = from->smallest;
    from->count = 0;
}

static bool node_is_join_at(const struct grove *g, uint32_t node, uint64_t height)
{
    return node >= g->n && g->joins[node - g->n].height == height;
}

/* Strangers join above the families that they come from, and with or above strangers that joined
 * before. */
static uint64_t height_over(const struct grove *g, uint32_t node, uint64_t height)
{
    const struct join *below = g->joins + (node - g->n);

    return node < g->n ? height : max_u64(height, below->height + !below->strangers);
}

/* Joins the sets of two leaves. Equal distances above one another become one join with many
 * children; equal distances beside one another stay apart. */
static void grove_join(struct grove *g, const struct linkage_merge *m)
{
    uint32_t left = find_root(g->parent, m->a), right = find_root(g->parent, m->b);
    uint32_t x = g->top[left], y = g->top[right], joined;
    bool strangers = m->height >= LINKAGE_STRANGERS;
    uint64_t height = m->height;

    if (strangers)
        height = height_over(g, x, height_over(g, y, height - LINKAGE_STRANGERS));
    if (!node_is_join_at(g, x, height)) {
        uint32_t swap = x;

        x = y;
        y = swap;
    }
    if (node_is_join_at(g, x, height)) {
        joined = x;
        if (node_is_join_at(g, y, height))
            join_splice(g, g->joins + (x - g->n), g->joins + (y - g->n));
        else
            join_append(g, g->joins + (x - g->n), y);
    } else {
        struct join *j = g->joins + g->n_joins;

        joined = (uint32_t)(g->n + g->n_joins++);
        *j = (struct join){
            .height = height, .strangers = strangers, .smallest = NONE, .head = NONE, .tail = NONE};
        join_append(g, j, x);
        join_append(g, j, y);
    }
    /* the smaller index stays root: sets stay flat enough with the path halving */
    if (left > right)
        g->parent[left] = right;
    else
        g->parent[right] = left;
    g->top[min_u64(left, right)] = joined;
}

static int compare_joins(const void *a, const void *b)
{
    const struct join *x = *(const struct join *const *)a, *y = *(const struct join *const *)b;

    if (x->height != y->height)
        return x->height < y->height ? -1 : 1;
    return x->smallest < y->smallest ? -1 : 1;
}

struct child_key {
    uint32_t smallest, node;
};

static int compare_children(const void *a, const void *b)
{
    const struct child_key *x = a, *y = b;

    return x->smallest < y->smallest ? -1 : x->smallest > y->smallest;
}

/* The children of one join, ordered by their smallest leaf. */
static void write_children(const struct grove *g, const struct join *j, struct child_key *keys,
                           uint32_t *out)
{
    uint32_t node = j->head;

    for (size_t k = 0; k < j->count; k++, node = g->next[node]) {
        keys[k].smallest = node_smallest(g, node);
        keys[k].node = node < g->n ? node : g->joins[node - g->n].index;
    }
    qsort(keys, j->count, sizeof *keys, compare_children);
    for (size_t k = 0; k < j->count; k++)
        out[k] = keys[k].node;
}

/* Joins in the order of their distance, then of their smallest leaf: children come first. */
static int grove_write(const struct grove *g, struct dendrogram *out, struct error *e)
{
    AUTO_FREE struct join **order = mem_array(g->n_joins, sizeof(struct join *), "tree", e);
    AUTO_FREE struct child_key *keys = mem_array(g->n, sizeof *keys, "tree", e);
    size_t n = 0;

    if (order == NULL || keys == NULL)
        return -1;
    for (size_t k = 0; k < g->n_joins; k++) {
        if (g->joins[k].count > 0)
            order[n++] = g->joins + k;
    }
    if (n > 1)
        qsort(order, n, sizeof(struct join *), compare_joins);
    out->n_leaves = g->n;
    out->n_nodes = g->n + n;
    out->nodes = mem_array(out->n_nodes, sizeof *out->nodes, "tree", e);
    out->children = mem_array(g->n + n, sizeof *out->children, "tree", e);
    if (out->nodes == NULL || out->children == NULL)
        return -1;
    for (size_t i = 0; i < g->n; i++)
        out->nodes[i].leaves = 1;
    for (size_t k = 0; k < n; k++)
        order[k]->index = (uint32_t)(g->n + k);
    for (size_t k = 0; k < n; k++) {
        struct dendrogram_node *node = out->nodes + g->n + k;

        node->different = order[k]->height;
        node->first = (uint32_t)out->n_children;
        node->count = order[k]->count;
        node->leaves = order[k]->leaves;
        write_children(g, order[k], keys, out->children + out->n_children);
        out->n_children += node->count;
    }
    out->root = g->n == 0 ? NONE : (uint32_t)(out->n_nodes - 1);
    return 0;
}

static int grow(const struct linkage_merge *merges, size_t n, struct dendrogram *out,
                struct error *e)
{
    AUTO_FREE struct join *joins = mem_array(n, sizeof *joins, "tree", e);
    AUTO_FREE uint32_t *next = mem_array(2 * n, sizeof *next, "tree", e);
    AUTO_FREE uint32_t *parent = mem_array(n, sizeof *parent, "tree", e);
    AUTO_FREE uint32_t *top = mem_array(n, sizeof *top, "tree", e);
    struct grove g = {.n = n, .joins = joins, .next = next, .parent = parent, .top = top};

    if (joins == NULL || next == NULL || parent == NULL || top == NULL)
        return -1;
    for (uint32_t i = 0; i < n; i++)
        parent[i] = top[i] = i;
    for (size_t k = 0; k + 1 < n; k++)
        grove_join(&g, merges + k);
    return grove_write(&g, out, e);
}

size_t dendrogram_leaves(const struct dendrogram *d, uint32_t node, uint32_t *out)
{
    size_t n = d->nodes[node].leaves, at = n, waiting = 0;

    /* Filled from the back: out[0..waiting) is the stack, whose nodes have at least as many leaves
     * as there is room left between it and the result. */
    out[waiting++] = node;
    while (waiting > 0) {
        uint32_t top = out[--waiting];
        const struct dendrogram_node *x = d->nodes + top;

        if (x->count == 0) {
            out[--at] = top;
            continue;
        }
        for (uint32_t k = 0; k < x->count; k++)
            out[waiting++] = d->children[x->first + k];
    }
    return n;
}

/* What one join's pairs of leaves share, where the linkage looks. */
struct share_sum {
    unsigned __int128 shared;
    uint64_t pairs, best;
};

static void share_add(struct share_sum *sum, const struct dendrogram_input *in,
                      enum linkage linkage, uint64_t height, size_t i, size_t j)
{
    if (linkage == LINKAGE_AVERAGE) {
        sum->shared += in->shared(in->arg, i, j);
        sum->pairs++;
    } else if (in->different(in->arg, i, j) == height) {
        uint64_t shared = in->shared(in->arg, i, j);
        bool better = linkage == LINKAGE_SINGLE ? shared > sum->best : shared < sum->best;

        if (sum->pairs++ == 0 || better)
            sum->best = shared;
    }
}

/* Each pair of leaves meets in exactly one join: n^2 / 2 pairs in all. */
static void fill_shared(struct dendrogram *d, const struct dendrogram_input *in,
                        enum linkage linkage, uint32_t *leaves)
{
    for (size_t k = d->n_leaves; k < d->n_nodes; k++) {
        struct dendrogram_node *node = d->nodes + k;
        struct share_sum sum = {0};
        size_t n = dendrogram_leaves(d, (uint32_t)k, leaves), done = 0;

        for (uint32_t c = 0; c < node->count; c++) {
            size_t end = done + d->nodes[d->children[node->first + c]].leaves;

            for (size_t i = done; i < end; i++) {
                for (size_t j = end; j < n; j++)
                    share_add(&sum, in, linkage, node->different, leaves[i], leaves[j]);
            }
            done = end;
        }
        node->shared = sum.best;
        if (linkage == LINKAGE_AVERAGE)
            node->shared = (uint64_t)(sum.shared / sum.pairs);
    }
}

int dendrogram_build(const struct dendrogram_input *input, enum linkage linkage,
                     struct dendrogram *out, struct error *e)
{
    AUTO_FREE struct linkage_merge *merges = NULL;
    AUTO_FREE uint32_t *leaves = NULL;
    struct dendrogram tree = {.root = NONE};

    if (input->n > UINT32_MAX / 4)
        return err_set(e, ERR_LIMIT, "a tree of %zu leaves", input->n);
    merges = mem_array(input->n, sizeof *merges, "tree", e);
    leaves = mem_array(input->n, sizeof *leaves, "tree", e);
    if (merges == NULL || leaves == NULL)
        return -1;
    if (linkage_merges(input, linkage, merges, e) != 0 || grow(merges, input->n, &tree, e) != 0) {
        dendrogram_release(&tree);
        return -1;
    }
    fill_shared(&tree, input, linkage, leaves);
    *out = tree;
    return 0;
}

/* near[k]: node k and all joins below it share enough. */
static void mark_near(const struct dendrogram *d, double threshold, bool *near)
{
    for (size_t k = 0; k < d->n_nodes; k++) {
        const struct dendrogram_node *node = d->nodes + k;

        near[k] = node->count == 0 || share_of(node->shared, node->different) >= 1 - threshold;
        for (uint32_t c = 0; near[k] && c < node->count; c++)
            near[k] = near[d->children[node->first + c]];
    }
}

int dendrogram_families(const struct dendrogram *d, double threshold, uint32_t *family, size_t *n,
                        struct error *e)
{
    AUTO_FREE bool *near = mem_array(d->n_nodes, sizeof *near, "families", e);
    AUTO_FREE uint32_t *top = mem_array(d->n_nodes, sizeof *top, "families", e);
    AUTO_FREE uint32_t *number = mem_array(d->n_nodes, sizeof *number, "families", e);
    size_t found = 0;

    if (near == NULL || top == NULL || number == NULL)
        return -1;
    mark_near(d, threshold, near);
    for (size_t k = 0; k < d->n_nodes; k++) {
        top[k] = (uint32_t)k;
        number[k] = NONE;
    }
    /* parents stand behind their children */
    for (size_t k = d->n_nodes; k-- > d->n_leaves;) {
        const struct dendrogram_node *node = d->nodes + k;

        for (uint32_t c = 0; near[k] && c < node->count; c++)
            top[d->children[node->first + c]] = top[k];
    }
    for (size_t i = 0; i < d->n_leaves; i++) {
        if (number[top[i]] == NONE)
            number[top[i]] = (uint32_t)found++;
        family[i] = number[top[i]];
    }
    *n = found;
    return 0;
}
