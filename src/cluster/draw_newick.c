/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The Newick tree format (Olsen's interpretation of 1990,
 * phylipweb.github.io/phylip/newick_doc.html): names between single quotes, a quote in a name
 * twice. A branch is half of what its two ends differ by, in bytes, so that the way from leaf to
 * leaf through their join is their distance. */
#include "base/mem.h"
#include "cluster/draw.h"
#include "cluster/draw_part.h"

struct newick_at {
    uint32_t node, child;
};

static void put_name(struct buf *out, const char *name)
{
    buf_put_u8(out, '\'');
    for (; *name != 0; name++) {
        if (*name == '\'')
            buf_put_u8(out, '\'');
        buf_put_u8(out, (uint8_t)*name);
    }
    buf_put_u8(out, '\'');
}

static void put_length(struct buf *out, const struct dendrogram *d, uint32_t node, uint32_t parent)
{
    uint64_t upper = d->nodes[parent].different, lower = d->nodes[node].different;
    uint64_t twice = upper > lower ? upper - lower : 0;

    buf_printf(out, ":%ju%s", (uintmax_t)(twice / 2), twice % 2 != 0 ? ".5" : "");
}

/* With a stack of its own: the tree may be as deep as there are leaves. */
static void put_tree(struct buf *out, const struct dendrogram *d, char *const *names,
                     struct newick_at *stack)
{
    size_t depth = 0;

    stack[depth++] = (struct newick_at){d->root, 0};
    while (depth > 0) {
        struct newick_at *at = &stack[depth - 1];
        const struct dendrogram_node *node = &d->nodes[at->node];

        if (at->child < node->count) {
            buf_put_u8(out, at->child == 0 ? '(' : ',');
            stack[depth++] = (struct newick_at){d->children[node->first + at->child++], 0};
            continue;
        }
        if (node->count == 0)
            put_name(out, names[at->node]);
        else
            buf_put_u8(out, ')');
        depth--;
        if (depth > 0)
            put_length(out, d, at->node, stack[depth - 1].node);
    }
}

int draw_newick(struct buf *out, const struct kinship *k, struct error *e)
{
    AUTO_LABELS labels = {};
    AUTO_FREE struct newick_at *stack = mem_array(k->tree.n_nodes, sizeof *stack, "tree", e);

    if (stack == NULL || draw_labels_make(k, &labels, e) != 0)
        return -1;
    if (k->tree.root < k->tree.n_nodes)
        put_tree(out, &k->tree, labels.leaf, stack);
    buf_printf(out, ";\n");
    return buf_check(out, "family tree", e);
}
