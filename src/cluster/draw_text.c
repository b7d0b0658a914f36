/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "cluster/draw_text.h"
#include "base/mem.h"
#include "base/text.h"
#include "cluster/draw.h"
#include "cluster/draw_canvas.h"
#include "cluster/draw_part.h"
#include "cluster/draw_rows.h"

#include <stdio.h>
#include <string.h>

#define GAP 2 /* columns between a name and its figures */

/* What all parts of the text need. */
struct text {
    struct canvas canvas;
    const struct kinship *k;
    const struct draw_options *o;
    struct draw_labels labels;
    struct draw_family *families;
    uint32_t *stack, *leaves; /* room for draw_leaves() */
    bool *open;               /* spines that go on below this line, by level */
    bool folded;              /* some line was */
};

static void text_release(struct text *t)
{
    draw_labels_release(&t->labels);
    free(t->families);
    free(t->stack);
    free(t->leaves);
    free(t->open);
}

#define AUTO_TEXT __attribute__((cleanup(text_release))) struct text

/* Levels of spines that may stand before a name: a third of the line. */
static unsigned deepest(size_t columns)
{
    size_t levels = columns / 6;

    return levels < 3 ? 2 : (unsigned)levels - 1;
}

static int text_init(struct text *t, struct buf *out, const struct kinship *k,
                     const struct draw_options *o, struct error *e)
{
    t->k = k;
    t->o = o;
    canvas_init(&t->canvas, out, o);
    t->families = draw_families(k, e);
    t->stack = mem_array(k->tree.n_nodes + 1, sizeof *t->stack, "drawing", e);
    t->leaves = mem_array(k->n_leaves, sizeof *t->leaves, "drawing", e);
    t->open = mem_array(deepest(t->canvas.columns) + 2, sizeof *t->open, "drawing", e);
    if (t->families == NULL || t->stack == NULL || t->leaves == NULL || t->open == NULL)
        return -1;
    return draw_labels_make(k, &t->labels, e);
}

/* ---- the summary ---- */

static void put_savings(struct text *t, uint64_t now)
{
    char size[TEXT_SIZE_MAX], saved[TEXT_SIZE_MAX], percent[DRAW_PERCENT_MAX];
    uint64_t saves = t->k->plan.saves_bytes, then = now > saves ? now - saves : 0;
    struct canvas *c = &t->canvas;

    if (saves == 0) {
        canvas_put(c, STYLE_PLAIN, "; overlays would save nothing");
        return;
    }
    canvas_format(c, STYLE_PLAIN, "; as overlays %s: ", text_size(size, then));
    if (canvas_room(c) < strlen("saves 1023.9 MiB (99.9%)")) {
        canvas_line(c);
        canvas_put(c, STYLE_PLAIN, "  ");
    }
    canvas_format(c, STYLE_GOOD, "saves %s (%s)", text_size(saved, saves),
                  draw_percent(percent, now > 0 ? (double)saves / (double)now : 0));
}

static size_t count_problems(const struct draw_options *o, bool warnings)
{
    size_t n = 0;

    for (size_t i = 0; i < o->n_problems; i++)
        n += o->problems[i].warning == warnings;
    return n;
}

/* The largest single savings; the image under each saves less than the one before. */
static void put_largest(struct text *t)
{
    const struct kinship *k = t->k;
    struct canvas *c = &t->canvas;
    uint32_t before = UINT32_MAX;

    for (unsigned line = 0; line < 3; line++) {
        uint32_t best = UINT32_MAX;
        char size[TEXT_SIZE_MAX];

        for (uint32_t i = 0; i < k->n; i++) {
            uint64_t saves = k->plan.steps[i].saves_bytes;
            uint64_t limit = before == UINT32_MAX ? UINT64_MAX : k->plan.steps[before].saves_bytes;
            bool later = before == UINT32_MAX || saves < limit || (saves == limit && i > before);

            if (saves > 0 && later && k->plan.steps[i].backing < k->n &&
                (best == UINT32_MAX || saves > k->plan.steps[best].saves_bytes))
                best = i;
        }
        if (best == UINT32_MAX)
            return;
        canvas_format(c, STYLE_PLAIN, "  %9s  ", text_size(size, k->plan.steps[best].saves_bytes));
        canvas_put_end_of(c, STYLE_PLAIN, t->labels.image[best], canvas_room(c) / 2);
        canvas_put(c, STYLE_QUIET, " as overlay of ");
        canvas_put_end_of(c, STYLE_PLAIN, t->labels.image[k->plan.steps[best].backing],
                          canvas_room(c));
        canvas_line(c);
        before = best;
    }
}

static void put_summary(struct text *t)
{
    const struct kinship *k = t->k;
    struct canvas *c = &t->canvas;
    uint64_t now = draw_bytes_now(k);
    char size[TEXT_SIZE_MAX];
    size_t failed = count_problems(t->o, false);

    if (k->n == 0) {
        canvas_put(c, STYLE_STRONG, "No images");
    } else {
        canvas_format(c, STYLE_STRONG, "%zu image%s, %s", k->n, k->n == 1 ? "" : "s",
                      text_size(size, now));
        if (k->plan.steps != NULL)
            put_savings(t, now);
    }
    canvas_line(c);
    if (failed > 0) {
        canvas_format(c, STYLE_WARN, "%zu could not be read and %s left out", failed,
                      failed == 1 ? "is" : "are");
        canvas_line(c);
    }
    if (k->plan.steps != NULL && k->plan.saves_bytes > 0)
        put_largest(t);
}

/* ---- a family ---- */

static void put_bars(struct text *t, unsigned levels)
{
    for (unsigned i = 0; i < levels; i++)
        canvas_put(&t->canvas, STYLE_QUIET, !t->open[i] ? "  " : t->canvas.ascii ? "| " : "│ ");
}

/* The drawing before a row's name; afterwards t->open says what goes on below. */
static void put_branch(struct text *t, const struct draw_row *row, bool alone)
{
    struct canvas *c = &t->canvas;
    const char *corner = c->ascii ? (row->last ? "`-" : "|-") : (row->last ? "└─" : "├─");
    const char *start = c->ascii ? "+-" : "┬─";

    if (row->join == UINT32_MAX) {
        canvas_put(c, STYLE_QUIET, !alone ? start : c->ascii ? "--" : "──");
        t->open[0] = !alone;
    } else {
        put_bars(t, row->corner);
        canvas_put(c, STYLE_QUIET, corner);
        t->open[row->corner] = !row->last;
        if (row->level > row->corner) {
            canvas_put(c, STYLE_QUIET, start);
            t->open[row->level] = true;
        }
    }
    canvas_put(c, STYLE_PLAIN, " ");
    if (row->folded)
        canvas_put(c, STYLE_QUIET, c->ascii ? "> " : "» ");
}

static size_t branch_width(const struct draw_row *row)
{
    return 2 * (size_t)row->level + 3 + (row->folded ? 2 : 0);
}

/* "12.5 MiB different, 98% shared", the numbers in columns; on the first row what it holds. */
struct figures {
    int size_width, percent_width;
    size_t width;
    size_t column; /* where they start */
};

static char *figures_of(char out[80], const struct text *t, const struct draw_row *row,
                        const struct figures *f)
{
    const struct dendrogram_node *join = &t->k->tree.nodes[row->join];
    char size[TEXT_SIZE_MAX], percent[DRAW_PERCENT_MAX];

    snprintf(out, 80, "%*s different, %*s shared", f->size_width, text_size(size, join->different),
             f->percent_width, draw_percent(percent, share_of(join->shared, join->different)));
    return out;
}

/* Bytes of data in the first leaf below a node. */
static uint64_t first_data(const struct text *t, uint32_t node)
{
    const struct dendrogram *d = &t->k->tree;
    const struct kinship_leaf *leaf;
    uint64_t data = 0;

    while (d->nodes[node].count > 0)
        node = d->children[d->nodes[node].first];
    leaf = &t->k->leaves[node];
    for (uint32_t i = leaf->first; i < leaf->first + leaf->count; i++)
        data += t->k->images[i].data_bytes;
    return data;
}

static char *first_figure(char out[80], const struct text *t, const struct draw_row *row,
                          const struct figures *f)
{
    char size[TEXT_SIZE_MAX];

    snprintf(out, 80, "%*s of data", f->size_width, text_size(size, first_data(t, row->node)));
    return out;
}

/* What stands behind a leaf's name: "(in use, on base.qcow2)". */
static void put_marks(const struct text *t, uint32_t leaf, struct buf *out)
{
    const struct kinship_leaf *of = &t->k->leaves[leaf];
    bool in_use = false;
    const char *between = " (";

    for (uint32_t i = of->first; i < of->first + of->count; i++)
        in_use |= t->k->images[i].in_use;
    if (in_use) {
        buf_printf(out, "%sin use", between);
        between = ", ";
    }
    if (of->count == 1) {
        const struct kinship_image *image = &t->k->images[of->first];

        if (image->guest != NULL) {
            buf_printf(out, "%s", between);
            buf_printf(out, "guest ");
            draw_escape(out, image->guest);
            between = ", ";
        }
        if (image->backing < t->k->n) {
            buf_printf(out, "%son %s", between, t->labels.image[image->backing]);
            between = ", ";
        } else if (image->backing_path != NULL) {
            buf_printf(out, "%son ", between);
            draw_escape(out, image->backing_path);
            between = ", ";
        }
    }
    if (between[0] == ',')
        buf_printf(out, ")");
    buf_put_u8(out, 0);
}

/* The width of a row's names on one line; more than `enough` is not counted out. */
static size_t row_width(struct text *t, const struct draw_row *row, size_t enough)
{
    size_t n = draw_leaves(&t->k->tree, row->node, t->stack, t->leaves);
    size_t width = branch_width(row);

    for (size_t i = 0; i < n && width <= enough; i++) {
        AUTO_BUF marks = {};

        put_marks(t, t->leaves[i], &marks);
        t->canvas.out->failed |= marks.failed;
        width += text_width(t->labels.leaf[t->leaves[i]]) + (i > 0 ? 3 : 0) +
                 (marks.failed ? 0 : text_width((char *)marks.bytes));
    }
    return width;
}

static int wider(int width, const char *text)
{
    return (int)strlen(text) > width ? (int)strlen(text) : width;
}

static struct figures figures_measure(struct text *t, const struct draw_rows *rows)
{
    struct figures f = {.size_width = 1, .percent_width = 1};
    char size[TEXT_SIZE_MAX], percent[DRAW_PERCENT_MAX];
    size_t most;

    for (size_t i = 0; i < rows->n; i++) {
        const struct draw_row *row = &rows->rows[i];
        const struct dendrogram_node *join;

        if (row->join == UINT32_MAX) {
            f.size_width = wider(f.size_width, text_size(size, first_data(t, row->node)));
            continue;
        }
        join = &t->k->tree.nodes[row->join];
        f.size_width = wider(f.size_width, text_size(size, join->different));
        f.percent_width =
            wider(f.percent_width, draw_percent(percent, share_of(join->shared, join->different)));
    }
    f.width =
        (size_t)f.size_width + strlen(" different, ") + (size_t)f.percent_width + strlen(" shared");
    most = t->canvas.columns > f.width + GAP ? t->canvas.columns - f.width - GAP : 0;
    for (size_t i = 0; i < rows->n; i++) {
        size_t width = row_width(t, &rows->rows[i], most);

        if (width <= most && width > f.column)
            f.column = width;
    }
    f.column += GAP;
    return f;
}

static void next_line(struct text *t, const struct draw_row *row)
{
    canvas_line(&t->canvas);
    put_bars(t, row->level + 1u);
    canvas_pad(&t->canvas, branch_width(row));
}

/* Columns for a row's name: the same for all rows of a level, whatever their marks. */
static size_t name_room(const struct text *t, const struct draw_row *row)
{
    size_t taken = branch_width(row);

    return t->canvas.columns > taken + 4 ? t->canvas.columns - taken : 4;
}

/* A name too long for the line loses its start; others could lose theirs and then look the same,
 * so its number among the images stands beside it. */
static void put_name(struct text *t, const struct draw_row *row, uint32_t leaf, size_t extra)
{
    const char *label = t->labels.leaf[leaf];
    struct canvas *c = &t->canvas;
    size_t room = name_room(t, row) - extra;
    char tag[24];

    if (text_width(label) <= room) {
        canvas_put(c, STYLE_PLAIN, label);
        return;
    }
    snprintf(tag, sizeof tag, " #%u", t->k->leaves[leaf].first + 1);
    canvas_put_end_of(c, STYLE_PLAIN, label, room > strlen(tag) + 4 ? room - strlen(tag) : 4);
    canvas_put(c, STYLE_QUIET, tag);
}

/* The names of a row: "a = b = c", on as many lines as they need, at least one name on each. */
static void put_names(struct text *t, const struct draw_row *row, size_t n)
{
    struct canvas *c = &t->canvas;

    for (size_t i = 0; i < n; i++) {
        AUTO_BUF marks = {};
        size_t width = text_width(t->labels.leaf[t->leaves[i]]);
        /* what follows on the same line: " =" */
        size_t after = i + 1 < n ? 2 : 0;

        put_marks(t, t->leaves[i], &marks);
        if (marks.failed) {
            c->out->failed = true;
            return;
        }
        if (i > 0 && c->at + 1 + width + after > c->columns)
            next_line(t, row);
        else if (i > 0)
            canvas_put(c, STYLE_PLAIN, " ");
        put_name(t, row, t->leaves[i], after);
        if (text_width((char *)marks.bytes) + after <= canvas_room(c))
            canvas_put(c, STYLE_QUIET, (char *)marks.bytes);
        if (after > 0)
            canvas_put(c, STYLE_PLAIN, " =");
    }
}

static void put_row(struct text *t, const struct draw_row *row, const struct figures *f, bool alone)
{
    struct canvas *c = &t->canvas;
    char text[80];
    size_t n;

    put_branch(t, row, alone);
    n = draw_leaves(&t->k->tree, row->node, t->stack, t->leaves);
    put_names(t, row, n);
    if (row->join == UINT32_MAX)
        first_figure(text, t, row, f);
    else
        figures_of(text, t, row, f);
    if (c->at + GAP <= f->column && f->column + text_width(text) <= c->columns) {
        canvas_pad(c, f->column);
    } else if (row->join == UINT32_MAX) {
        /* worth no line of its own */
        if (canvas_room(c) >= GAP + text_width(text)) {
            canvas_put(c, STYLE_PLAIN, "  ");
            canvas_put(c, STYLE_QUIET, text);
        }
        canvas_line(c);
        return;
    } else if (c->at + GAP + f->width <= c->columns) {
        canvas_pad(c, c->columns - f->width);
    } else {
        next_line(t, row);
        if (f->column + f->width <= c->columns)
            canvas_pad(c, f->column);
    }
    canvas_put(c, STYLE_QUIET, text);
    canvas_line(c);
}

static int put_family(struct text *t, const struct draw_family *family, size_t number,
                      struct error *e)
{
    __attribute__((cleanup(draw_rows_release))) struct draw_rows rows = {};
    struct canvas *c = &t->canvas;
    char size[TEXT_SIZE_MAX], saves[TEXT_SIZE_MAX];
    struct figures f;

    if (draw_rows_make(&t->k->tree, family->root, deepest(c->columns), &rows, e) != 0)
        return -1;
    canvas_format(c, STYLE_STRONG, "Family %zu", number);
    canvas_format(c, STYLE_PLAIN, ": %u images, %s", family->images,
                  text_size(size, family->bytes));
    if (family->saves > 0)
        canvas_format(c, STYLE_GOOD, ", saves %s", text_size(saves, family->saves));
    canvas_line(c);
    f = figures_measure(t, &rows);
    for (size_t i = 0; i < rows.n; i++)
        put_row(t, &rows.rows[i], &f, rows.n == 1);
    t->folded |= rows.folded;
    return 0;
}

static void put_unrelated(struct text *t, size_t from)
{
    struct canvas *c = &t->canvas;
    size_t n = t->k->n_families - from;
    uint64_t bytes = 0;
    char size[TEXT_SIZE_MAX];
    struct canvas_list list = {.canvas = c, .indent = 2, .between = ","};

    for (size_t i = from; i < t->k->n_families; i++)
        bytes += t->families[i].bytes;
    canvas_format(c, STYLE_STRONG, "Unrelated");
    canvas_format(c, STYLE_PLAIN, ": %zu %s, %s", n, n == 1 ? "disk" : "disks",
                  text_size(size, bytes));
    canvas_line(c);
    for (size_t i = from; i < t->k->n_families; i++) {
        AUTO_FREE char *word = draw_unrelated_word(t->k, &t->labels, &t->families[i]);

        if (word == NULL)
            c->out->failed = true;
        else
            canvas_list_put(&list, STYLE_PLAIN, word);
    }
    canvas_line(c);
}

/* An empty line between families, as long as that leaves two lines for each image. */
static bool airy(const struct kinship *k, size_t families)
{
    return k->n <= 40 || families * 3 + 12 < k->n;
}

static int put_families(struct text *t, struct error *e)
{
    const struct kinship *k = t->k;
    size_t related = 0;

    while (related < k->n_families && t->families[related].leaves > 1)
        related++;
    for (size_t i = 0; i < related; i++) {
        if (i == 0 || airy(k, related))
            canvas_line(&t->canvas);
        if (put_family(t, &t->families[i], i + 1, e) != 0)
            return -1;
    }
    if (related < k->n_families) {
        canvas_line(&t->canvas);
        put_unrelated(t, related);
    }
    if (t->folded) {
        canvas_put(&t->canvas, STYLE_QUIET, t->canvas.ascii ? ">" : "»");
        canvas_put(&t->canvas, STYLE_QUIET, " nearer to the lines above it than this width shows");
        canvas_line(&t->canvas);
    }
    return 0;
}

int draw_text(struct buf *out, const struct kinship *k, const struct draw_options *o,
              struct error *e)
{
    AUTO_TEXT t = {};

    if (text_init(&t, out, k, o, e) != 0)
        return -1;
    put_summary(&t);
    if (k->n_leaves > 0 && put_families(&t, e) != 0)
        return -1;
    if (o->plan && k->plan.steps != NULL && k->n > 0 &&
        draw_text_plan(&t.canvas, k, &t.labels, e) != 0)
        return -1;
    return buf_check(out, "family tree", e);
}
