/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A dendrogram as SVG 1.1: leaves below each other at the right, where nothing differs, joins to
 * the left as far as their distance on a logarithmic scale. */
#include "base/mem.h"
#include "base/text.h"
#include "cluster/draw.h"
#include "cluster/draw_part.h"

#include <math.h>
#include <string.h>

#define ROW 18       /* pixels from leaf to leaf */
#define TREE_LEFT 20 /* where the largest distance is */
#define TREE_WIDTH 560
#define TOP 64   /* first leaf */
#define LETTER 7 /* a column of 12 px text, widely */

static const char *const colours[] = {/* Okabe and Ito's, which all eyes tell apart */
                                      "#0072b2", "#d55e00", "#009e73", "#cc79a7",
                                      "#b8860b", "#56b4e9", "#7a5195", "#6b7a00"};

struct svg {
    struct buf *out;
    const struct kinship *k;
    struct draw_labels labels;
    struct draw_family *families;
    uint32_t *colour_of_family; /* family -> place in the order, UINT32_MAX: alone */
    uint32_t *family;           /* of each node, UINT32_MAX above families */
    uint32_t *stack, *leaves;
    int *y;       /* of each node */
    double scale; /* of the logarithm */
};

static void svg_release(struct svg *s)
{
    draw_labels_release(&s->labels);
    free(s->families);
    free(s->colour_of_family);
    free(s->family);
    free(s->stack);
    free(s->leaves);
    free(s->y);
}

static void put_xml(struct buf *out, const char *text)
{
    for (; *text != 0; text++) {
        switch (*text) {
        case '&':
            buf_printf(out, "&amp;");
            break;
        case '<':
            buf_printf(out, "&lt;");
            break;
        case '>':
            buf_printf(out, "&gt;");
            break;
        case '"':
            buf_printf(out, "&quot;");
            break;
        default:
            /* U+FFFE and U+FFFF are not characters of XML */
            if (strncmp(text, "\xef\xbf", 2) == 0 && (uint8_t)text[2] >= 0xbe) {
                buf_printf(out, "\xef\xbf\xbd");
                text += 2;
            } else {
                buf_put_u8(out, (uint8_t)*text);
            }
        }
    }
}

static double steps(uint64_t bytes)
{
    return log2(1 + (double)bytes / CLUSTER_SIZE);
}

/* Whole pixels: a locale's decimal comma can do no harm. */
static int x_of(const struct svg *s, uint64_t different)
{
    return TREE_LEFT + TREE_WIDTH - (int)lround(steps(different) * s->scale);
}

static const char *colour_of(const struct svg *s, uint32_t family)
{
    uint32_t place = family == UINT32_MAX ? UINT32_MAX : s->colour_of_family[family];

    return place == UINT32_MAX ? "#8a8f98" : colours[place % (sizeof colours / sizeof *colours)];
}

static int svg_arrays(struct svg *s, struct error *e)
{
    const struct kinship *k = s->k;
    size_t n = k->tree.n_nodes + 1;

    s->families = draw_families(k, e);
    s->colour_of_family = mem_array(k->n_families, sizeof *s->colour_of_family, "drawing", e);
    s->family = mem_array(n, sizeof *s->family, "drawing", e);
    s->stack = mem_array(n, sizeof *s->stack, "drawing", e);
    s->leaves = mem_array(n, sizeof *s->leaves, "drawing", e);
    s->y = mem_array(n, sizeof *s->y, "drawing", e);
    if (s->families == NULL || s->colour_of_family == NULL || s->family == NULL ||
        s->stack == NULL || s->leaves == NULL || s->y == NULL)
        return -1;
    return draw_labels_make(k, &s->labels, e);
}

/* Where each node stands; a join at the middle of its first and last child. */
static void svg_place(struct svg *s)
{
    const struct dendrogram *d = &s->k->tree;
    size_t n = d->root < d->n_nodes ? draw_leaves(d, d->root, s->stack, s->leaves) : 0;

    for (size_t i = 0; i < n; i++)
        s->y[s->leaves[i]] = TOP + ROW * (int)i;
    for (size_t i = 0; i < d->n_nodes; i++) {
        const struct dendrogram_node *node = &d->nodes[i];
        const uint32_t *child = d->children + node->first;

        if (node->count == 0) {
            s->family[i] = s->k->family[i];
            continue;
        }
        s->y[i] = (s->y[child[0]] + s->y[child[node->count - 1]]) / 2;
        s->family[i] = s->family[child[0]];
        for (uint32_t c = 1; c < node->count; c++)
            if (s->family[child[c]] != s->family[i])
                s->family[i] = UINT32_MAX;
    }
    for (size_t i = 0; i < s->k->n_families; i++)
        s->colour_of_family[s->families[i].id] =
            s->families[i].leaves > 1 ? (uint32_t)i : UINT32_MAX;
    s->scale = n > 1 && d->nodes[d->root].different > 0
                   ? TREE_WIDTH / steps(d->nodes[d->root].different)
                   : TREE_WIDTH;
}

static int svg_width(const struct svg *s)
{
    size_t widest = 0;

    for (size_t i = 0; i < s->k->n_leaves; i++) {
        size_t width = text_width(s->labels.leaf[i]);

        widest = width > widest ? width : widest;
    }
    return TREE_LEFT + TREE_WIDTH + 40 + LETTER * (int)widest;
}

/* Ticks of the scale: powers of 32 from 1 MiB on, as far as they fit. */
static void put_scale(struct svg *s, int bottom)
{
    const struct dendrogram *d = &s->k->tree;
    uint64_t most = s->k->n_leaves > 1 ? d->nodes[d->root].different : 0;

    buf_printf(s->out, "<g class=\"scale\" text-anchor=\"middle\">\n");
    for (unsigned shift = 20; shift < 60 && ((uint64_t)1 << shift) <= most; shift += 5) {
        char size[TEXT_SIZE_MAX];
        int x = x_of(s, (uint64_t)1 << shift);

        buf_printf(s->out, "<path d=\"M%d 48V%d\"/><text x=\"%d\" y=\"42\">%s</text>\n", x, bottom,
                   x, text_size(size, (uint64_t)1 << shift));
    }
    buf_printf(s->out, "<text x=\"%d\" y=\"42\">equal</text></g>\n", TREE_LEFT + TREE_WIDTH);
}

static void put_join(struct svg *s, uint32_t i)
{
    const struct dendrogram *d = &s->k->tree;
    const struct dendrogram_node *node = &d->nodes[i];
    const uint32_t *child = d->children + node->first;
    int x = x_of(s, node->different);
    char size[TEXT_SIZE_MAX], percent[DRAW_PERCENT_MAX];

    buf_printf(s->out, "<g stroke=\"%s\"%s><title>%s different, %s shared, %u leaves</title>",
               colour_of(s, s->family[i]),
               s->family[i] == UINT32_MAX ? " stroke-dasharray=\"2 3\"" : "",
               text_size(size, node->different),
               draw_percent(percent, share_of(node->shared, node->different)), node->leaves);
    buf_printf(s->out, "<path d=\"M%d %dV%d", x, s->y[child[0]], s->y[child[node->count - 1]]);
    for (uint32_t c = 0; c < node->count; c++)
        buf_printf(s->out, "M%d %dH%d", x, s->y[child[c]], x_of(s, d->nodes[child[c]].different));
    buf_printf(s->out, "\"/></g>\n");
}

static void put_leaf(struct svg *s, uint32_t i)
{
    const struct kinship_leaf *leaf = &s->k->leaves[i];
    int x = TREE_LEFT + TREE_WIDTH;

    buf_printf(s->out, "<circle cx=\"%d\" cy=\"%d\" r=\"3\" fill=\"%s\"/>", x, s->y[i],
               colour_of(s, s->family[i]));
    buf_printf(s->out, "<text class=\"name\" x=\"%d\" y=\"%d\"><title>", x + 9, s->y[i] + 4);
    for (uint32_t m = leaf->first; m < leaf->first + leaf->count; m++) {
        AUTO_BUF path = {};

        draw_escape(&path, s->k->images[m].path);
        buf_put_u8(&path, 0);
        if (m > leaf->first)
            buf_printf(s->out, ", ");
        s->out->failed |= path.failed;
        if (!path.failed)
            put_xml(s->out, (const char *)path.bytes);
    }
    buf_printf(s->out, "</title>");
    put_xml(s->out, s->labels.leaf[i]);
    buf_printf(s->out, "</text>\n");
}

static void put_head(struct svg *s, int width, int height)
{
    char size[TEXT_SIZE_MAX];

    buf_printf(s->out,
               "<svg xmlns=\"http://www.w3.org/2000/svg\" role=\"img\" width=\"%d\" "
               "height=\"%d\" viewBox=\"0 0 %d %d\" font-family=\"system-ui, sans-serif\" "
               "font-size=\"12\">\n<title>Family tree of %zu disk images</title>\n",
               width, height, width, height, s->k->n);
    buf_printf(s->out, "<style>\n"
                       ".page{fill:#fff}text{fill:#1d2329}.head{font-size:15px;font-weight:600}\n"
                       ".scale path{stroke:#dfe3e8}.scale text{fill:#5b6570;font-size:11px}\n"
                       "@media (prefers-color-scheme:dark){.page{fill:#16191d}text{fill:#e6e9ec}\n"
                       ".scale path{stroke:#333a42}.scale text{fill:#9aa4ae}}\n"
                       "</style>\n<rect class=\"page\" width=\"100%%\" height=\"100%%\"/>\n");
    buf_printf(s->out, "<text class=\"head\" x=\"%d\" y=\"22\">%zu image%s, %s</text>\n", TREE_LEFT,
               s->k->n, s->k->n == 1 ? "" : "s", text_size(size, draw_bytes_now(s->k)));
}

int draw_svg(struct buf *out, const struct kinship *k, struct error *e)
{
    __attribute__((cleanup(svg_release))) struct svg s = {.out = out, .k = k};
    int height = TOP + ROW * (int)k->n_leaves + 8;

    if (svg_arrays(&s, e) != 0)
        return -1;
    svg_place(&s);
    put_head(&s, svg_width(&s), height);
    put_scale(&s, height - 10);
    buf_printf(out, "<g fill=\"none\" stroke-width=\"1.6\" stroke-linecap=\"round\">\n");
    /* the joins of unrelated families first, so that nothing of a family is drawn over */
    for (size_t i = k->tree.n_nodes; i > k->n_leaves; i--)
        put_join(&s, (uint32_t)i - 1);
    buf_printf(out, "</g>\n");
    for (size_t i = 0; i < k->n_leaves; i++)
        put_leaf(&s, (uint32_t)i);
    buf_printf(out, "</svg>\n");
    return buf_check(out, "family tree", e);
}
