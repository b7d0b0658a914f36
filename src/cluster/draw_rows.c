/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "cluster/draw_rows.h"

#include "base/auto.h"
#include "base/mem.h"

/* A branch still to be drawn. */
struct branch {
    struct draw_row row; /* what its first line will be, but for its node */
    uint32_t node;
};

struct plotter {
    const struct dendrogram *d;
    unsigned levels;
    struct branch *stack; /* the next one on top */
    size_t depth, capacity;
    uint32_t *spine; /* joins from a branch's top down to its first line */
    struct draw_rows out;
};

static bool is_line(const struct dendrogram *d, uint32_t node)
{
    return d->nodes[node].count == 0 || d->nodes[node].different == 0;
}

/* The child that goes on along the spine: of those with lines of their own the one with most
 * leaves, else the first. Index among the children. */
static uint32_t main_child(const struct dendrogram *d, uint32_t join)
{
    const struct dendrogram_node *node = &d->nodes[join];
    const uint32_t *child = d->children + node->first;
    uint32_t best = 0;

    for (uint32_t c = 1; c < node->count; c++) {
        bool line = is_line(d, child[c]), best_line = is_line(d, child[best]);

        if ((best_line && !line) || (best_line == line && !line &&
                                     d->nodes[child[c]].leaves > d->nodes[child[best]].leaves))
            best = c;
    }
    return best;
}

static int push(struct plotter *p, struct branch branch, struct error *e)
{
    if (mem_grow(&p->stack, &p->capacity, p->depth + 1, sizeof *p->stack, "drawing", e) != 0)
        return -1;
    p->stack[p->depth++] = branch;
    return 0;
}

/* Puts a branch's lines on the stack, the first on top. They stand on a spine of their own unless
 * that would be too deep. */
static int unfold(struct plotter *p, struct branch b, struct error *e)
{
    const struct dendrogram *d = p->d;
    bool whole = b.row.join == UINT32_MAX, folded = !whole && b.row.level >= p->levels;
    bool last = !folded || b.row.last;
    uint32_t node = b.node;
    size_t n = 0;

    if (folded)
        b.row.last = false;
    else if (!whole)
        b.row.level++;
    for (; !is_line(d, node); node = d->children[d->nodes[node].first + main_child(d, node)])
        p->spine[n++] = node;
    /* from the top join, whose branches are drawn last, downwards */
    for (size_t i = 0; i < n; i++) {
        const struct dendrogram_node *join = &d->nodes[p->spine[i]];
        uint32_t main = main_child(d, p->spine[i]);

        for (uint32_t c = join->count; c > 0; c--) {
            struct draw_row row = {.join = p->spine[i],
                                   .corner = b.row.level,
                                   .level = b.row.level,
                                   .last = last,
                                   .folded = folded};

            if (c - 1 == main)
                continue;
            last = false;
            if (push(p, (struct branch){row, d->children[join->first + c - 1]}, e) != 0)
                return -1;
        }
    }
    return push(p, (struct branch){b.row, node}, e);
}

static int plot(struct plotter *p, uint32_t root, struct error *e)
{
    struct draw_row first = {.join = UINT32_MAX, .last = true};

    if (push(p, (struct branch){first, root}, e) != 0)
        return -1;
    while (p->depth > 0) {
        struct branch b = p->stack[--p->depth];

        if (is_line(p->d, b.node)) {
            b.row.node = b.node;
            p->out.folded |= b.row.folded;
            p->out.rows[p->out.n++] = b.row;
        } else if (unfold(p, b, e) != 0) {
            return -1;
        }
    }
    return 0;
}

int draw_rows_make(const struct dendrogram *d, uint32_t root, unsigned levels,
                   struct draw_rows *out, struct error *e)
{
    struct plotter p = {.d = d, .levels = levels};
    int result = -1;

    p.spine = mem_array(d->n_nodes, sizeof *p.spine, "drawing", e);
    p.out.rows =
        p.spine == NULL ? NULL : mem_array(d->nodes[root].leaves, sizeof *p.out.rows, "drawing", e);
    if (p.out.rows != NULL)
        result = plot(&p, root, e);
    free(p.stack);
    free(p.spine);
    if (result == 0)
        *out = p.out;
    else
        free(p.out.rows);
    return result;
}

void draw_rows_release(struct draw_rows *r)
{
    free(r->rows);
    *r = (struct draw_rows){};
}
