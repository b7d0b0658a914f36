/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The DOT language (graphviz.org/doc/info/lang.html). In a label a backslash begins an escape and
 * an ampersand an entity, so both are doubled or spelled. */
#include "base/mem.h"
#include "base/text.h"
#include "cluster/draw.h"
#include "cluster/draw_part.h"

static void put_quoted(struct buf *out, const char *text)
{
    for (; *text != 0; text++) {
        if (*text == '"' || *text == '\\')
            buf_put_u8(out, '\\');
        if (*text == '&')
            buf_printf(out, "&amp;");
        else
            buf_put_u8(out, (uint8_t)*text);
    }
}

static void put_leaf(struct buf *out, const struct kinship *k, const struct draw_labels *labels,
                     uint32_t i)
{
    const struct kinship_leaf *leaf = &k->leaves[i];
    uint64_t data = 0;
    char size[TEXT_SIZE_MAX];

    for (uint32_t m = leaf->first; m < leaf->first + leaf->count; m++)
        data += k->images[m].data_bytes;
    buf_printf(out, "    n%u [label=\"", i);
    put_quoted(out, labels->leaf[i]);
    buf_printf(out, "\\n%s of data\"];\n", text_size(size, data));
}

static void put_join(struct buf *out, const struct dendrogram *d, uint32_t i)
{
    const struct dendrogram_node *node = &d->nodes[i];
    char size[TEXT_SIZE_MAX], percent[DRAW_PERCENT_MAX];

    if (node->different == 0)
        buf_printf(out, "    n%u [shape=plain, label=\"identical\"];\n", i);
    else
        buf_printf(out, "    n%u [shape=plain, label=\"%s different\\n%s shared\"];\n", i,
                   text_size(size, node->different),
                   draw_percent(percent, share_of(node->shared, node->different)));
    for (uint32_t c = 0; c < node->count; c++)
        buf_printf(out, "    n%u -> n%u [dir=none];\n", i, d->children[node->first + c]);
}

/* A family's leaves and joins: what lies below its root. */
static void put_family(struct buf *out, const struct kinship *k, const struct draw_labels *labels,
                       const struct draw_family *family, size_t number, uint32_t *stack)
{
    const struct dendrogram *d = &k->tree;
    size_t depth = 0;
    char size[TEXT_SIZE_MAX];

    buf_printf(out, "  subgraph cluster_%zu {\n    label=\"Family %zu: %u image%s, %s\";\n", number,
               number, family->images, family->images == 1 ? "" : "s",
               text_size(size, family->bytes));
    stack[depth++] = family->root;
    while (depth > 0) {
        uint32_t at = stack[--depth];

        if (d->nodes[at].count == 0)
            put_leaf(out, k, labels, at);
        else
            put_join(out, d, at);
        for (uint32_t c = d->nodes[at].count; c > 0; c--)
            stack[depth++] = d->children[d->nodes[at].first + c - 1];
    }
    buf_printf(out, "  }\n");
}

/* Backing files, planned and present: an arrow from the overlay. */
static void put_backing(struct buf *out, const struct kinship *k, const uint32_t *leaf)
{
    for (size_t i = 0; i < k->n; i++) {
        uint32_t now = k->images[i].backing;
        const struct plan_step *step = k->plan.steps != NULL ? &k->plan.steps[i] : NULL;
        bool planned = step != NULL && step->action == PLAN_REBASE && step->backing < k->n;

        if (planned)
            buf_printf(out,
                       "  n%u -> n%u [style=dashed, color=\"#0072b2\", constraint=false, "
                       "label=\"overlay\", fontcolor=\"#0072b2\"];\n",
                       leaf[i], leaf[step->backing]);
        if (now < k->n)
            buf_printf(out,
                       "  n%u -> n%u [color=\"#d55e00\", constraint=false, label=\"on\", "
                       "fontcolor=\"#d55e00\"];\n",
                       leaf[i], leaf[now]);
    }
}

int draw_dot(struct buf *out, const struct kinship *k, struct error *e)
{
    AUTO_LABELS labels = {};
    AUTO_FREE struct draw_family *families = draw_families(k, e);
    AUTO_FREE uint32_t *stack = NULL, *leaf = NULL;

    if (families == NULL)
        return -1;
    stack = mem_array(k->tree.n_nodes + 1, sizeof *stack, "tree", e);
    leaf = stack != NULL ? draw_leaf_of_image(k, e) : NULL;
    if (leaf == NULL || draw_labels_make(k, &labels, e) != 0)
        return -1;
    buf_printf(out, "digraph kinship {\n"
                    "  rankdir=LR;\n"
                    "  graph [fontname=\"sans-serif\", color=\"#999999\"];\n"
                    "  node [shape=box, style=rounded, fontname=\"sans-serif\"];\n"
                    "  edge [fontname=\"sans-serif\", color=\"#777777\"];\n");
    for (size_t i = 0; i < k->n_families; i++)
        put_family(out, k, &labels, &families[i], i + 1, stack);
    put_backing(out, k, leaf);
    buf_printf(out, "}\n");
    return buf_check(out, "family tree", e);
}
