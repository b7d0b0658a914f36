/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "base/mem.h"
#include "base/text.h"
#include "cluster/draw_text.h"

#include <string.h>

#define COMMAND_PATHS 8 /* more are not spelled out */
#define KEPT_IMAGES 8   /* more are counted, by what they stand on */

char *draw_unrelated_word(const struct kinship *k, const struct draw_labels *labels,
                          const struct draw_family *family)
{
    struct error e;
    char size[TEXT_SIZE_MAX];
    const struct kinship_leaf *leaf = &k->leaves[family->root];
    bool in_use = false;

    for (uint32_t i = leaf->first; i < leaf->first + leaf->count; i++)
        in_use |= k->images[i].in_use;
    return mem_printf(&e, "%s (%s%s)", labels->leaf[family->root], text_size(size, family->bytes),
                      in_use ? ", in use" : "");
}

/* Steps of one kind, the largest saving first. */
struct plan_ref {
    uint64_t saves, bytes;
    uint32_t image;
};

static int plan_ref_compare(const void *x, const void *y)
{
    const struct plan_ref *a = x, *b = y;

    if (a->saves != b->saves)
        return a->saves > b->saves ? -1 : 1;
    if (a->bytes != b->bytes)
        return a->bytes > b->bytes ? -1 : 1;
    return (a->image > b->image) - (a->image < b->image);
}

static size_t steps_of(const struct kinship *k, enum plan_action action, struct plan_ref *refs)
{
    size_t n = 0;

    for (uint32_t i = 0; i < k->n; i++)
        if (k->plan.steps[i].action == action)
            refs[n++] =
                (struct plan_ref){k->plan.steps[i].saves_bytes, k->images[i].allocated_bytes, i};
    qsort(refs, n, sizeof *refs, plan_ref_compare);
    return n;
}

/* "web1.qcow2 -> overlay of golden.qcow2, 1.2 GiB instead of 10 GiB", the figures on a line of
 * their own where both do not fit. */
static void put_rebase(struct canvas *c, const struct kinship *k, const struct draw_labels *labels,
                       uint32_t i)
{
    const struct plan_step *step = &k->plan.steps[i];
    const char *name = labels->image[i], *backing = labels->image[step->backing];
    const char *arrow = c->ascii ? " -> overlay of " : " → overlay of ";
    char after[TEXT_SIZE_MAX], now[TEXT_SIZE_MAX];
    AUTO_BUF figures = {};
    size_t room = c->columns - 2 - text_width(arrow) - 1;

    buf_printf(&figures, "%s instead of %s", text_size(after, step->overlay_bytes),
               text_size(now, k->images[i].allocated_bytes));
    buf_put_u8(&figures, 0);
    if (figures.failed) {
        c->out->failed = true;
        return;
    }
    canvas_put(c, STYLE_PLAIN, "  ");
    if (text_width(name) + text_width(backing) > room) {
        canvas_put_end_of(c, STYLE_PLAIN, name, room * 2 / 3);
        canvas_put(c, STYLE_QUIET, arrow);
        canvas_put_end_of(c, STYLE_PLAIN, backing, canvas_room(c) - 1);
    } else {
        canvas_put(c, STYLE_PLAIN, name);
        canvas_put(c, STYLE_QUIET, arrow);
        canvas_put(c, STYLE_PLAIN, backing);
    }
    canvas_put(c, STYLE_QUIET, ",");
    if (canvas_room(c) < 1 + text_width((char *)figures.bytes)) {
        canvas_line(c);
        canvas_put(c, STYLE_PLAIN, "     ");
    }
    canvas_put(c, STYLE_PLAIN, " ");
    canvas_put(c, STYLE_QUIET, (char *)figures.bytes);
    canvas_line(c);
}

/* Why an image stays: how many stand on it, on what it stands, or the reason given. */
static void put_why(struct buf *out, const struct kinship *k, const struct draw_labels *labels,
                    uint32_t i, uint32_t standing)
{
    const struct plan_step *step = &k->plan.steps[i];
    const struct kinship_image *image = &k->images[i];
    char size[TEXT_SIZE_MAX];

    buf_printf(out, "%s (", labels->image[i]);
    if (step->action == PLAN_FIXED) {
        draw_escape(out, image->fixed != NULL ? image->fixed : "cannot take part");
    } else if (step->action == PLAN_KEEP && image->backing < k->n) {
        buf_printf(out, "on %s", labels->image[image->backing]);
    } else if (step->action == PLAN_KEEP && image->backing_path != NULL) {
        buf_printf(out, "on ");
        draw_escape(out, image->backing_path);
    } else {
        buf_printf(out, "%s", text_size(size, image->allocated_bytes));
        if (standing > 0)
            buf_printf(out, ", %u on it", standing);
    }
    buf_printf(out, ")");
    buf_put_u8(out, 0);
}

static void put_staying(struct canvas *c, const struct kinship *k, const struct draw_labels *labels,
                        enum plan_action action, const char *title, const uint32_t *standing,
                        struct plan_ref *refs)
{
    struct canvas_list list = {.canvas = c, .indent = 2, .between = ","};
    size_t n = steps_of(k, action, refs);

    if (n == 0)
        return;
    canvas_put(c, STYLE_STRONG, title);
    canvas_line(c);
    for (size_t i = 0; i < n; i++) {
        AUTO_BUF word = {};

        put_why(&word, k, labels, refs[i].image, standing[refs[i].image]);
        if (word.failed)
            c->out->failed = true;
        else
            canvas_list_put(&list, STYLE_PLAIN, (char *)word.bytes);
    }
    canvas_line(c);
}

/* "30 on golden.raw": what is an overlay already and stays one, where there are too many to be
 * named (the tree names them). */
static void put_kept(struct canvas *c, const struct kinship *k, const struct draw_labels *labels,
                     uint32_t *kept)
{
    struct canvas_list list = {.canvas = c, .indent = 2, .between = ","};
    uint32_t outside = 0;

    memset(kept, 0, k->n * sizeof *kept);
    for (uint32_t i = 0; i < k->n; i++) {
        if (k->plan.steps[i].action != PLAN_KEEP)
            continue;
        if (k->images[i].backing < k->n)
            kept[k->images[i].backing]++;
        else
            outside++;
    }
    canvas_put(c, STYLE_STRONG, "Overlays already");
    canvas_line(c);
    for (uint32_t i = 0; i <= k->n; i++) {
        AUTO_BUF word = {};
        uint32_t n = i < k->n ? kept[i] : outside;

        if (n == 0)
            continue;
        buf_printf(&word, "%u on %s", n, i < k->n ? labels->image[i] : "images not looked at");
        buf_put_u8(&word, 0);
        if (word.failed)
            c->out->failed = true;
        else
            canvas_list_put(&list, STYLE_PLAIN, (char *)word.bytes);
    }
    canvas_line(c);
}

/* The command with its paths, when that is short enough to be read and copied. */
static bool put_spelled(struct canvas *c, const struct kinship *k, const bool *named)
{
    AUTO_BUF words = {};
    size_t n = 0, widest = 0;
    bool dash = false;

    for (size_t i = 0; i < k->n; i++) {
        AUTO_BUF word = {};

        if (!named[i])
            continue;
        n++;
        dash |= k->images[i].path[0] == '-';
        draw_shell_word(&word, k->images[i].path);
        buf_put_u8(&word, 0);
        if (word.failed) {
            c->out->failed = true;
            return true;
        }
        widest = text_width((char *)word.bytes) > widest ? text_width((char *)word.bytes) : widest;
        buf_put(&words, word.bytes, word.length);
    }
    c->out->failed |= words.failed;
    if (words.failed || n > COMMAND_PATHS || widest + 6 > c->columns)
        return false;
    canvas_put(c, STYLE_PLAIN, dash ? "  stemma rebase --" : "  stemma rebase");
    for (const char *word = (char *)words.bytes; n > 0; n--, word += strlen(word) + 1) {
        /* room for " \" behind it */
        if (c->at + 1 + text_width(word) + 2 > c->columns) {
            canvas_put(c, STYLE_PLAIN, " \\");
            canvas_line(c);
            canvas_put(c, STYLE_PLAIN, "   ");
        }
        canvas_put(c, STYLE_PLAIN, " ");
        canvas_put(c, STYLE_PLAIN, word);
    }
    canvas_line(c);
    return true;
}

static int put_command(struct canvas *c, const struct kinship *k, struct error *e)
{
    AUTO_FREE bool *named = draw_plan_images(k, e);

    if (named == NULL)
        return -1;
    canvas_put(c, STYLE_STRONG, "To carry it out");
    canvas_put(c, STYLE_QUIET, " (a dry run; then with --output DIR or --replace)");
    canvas_line(c);
    if (put_spelled(c, k, named))
        return 0;
    canvas_put(c, STYLE_PLAIN, "  stemma rebase IMAGE...");
    canvas_put(c, STYLE_QUIET, "   with the same images as here");
    canvas_line(c);
    return 0;
}

static void put_title(struct canvas *c, const struct kinship *k, size_t n)
{
    uint64_t now = draw_bytes_now(k), saves = k->plan.saves_bytes;
    char after[TEXT_SIZE_MAX], before[TEXT_SIZE_MAX];

    canvas_put(c, STYLE_STRONG, "Plan");
    canvas_format(c, STYLE_PLAIN, ": %zu of %zu images %s,", n, k->n,
                  n == 1 ? "becomes an overlay" : "become overlays");
    if (canvas_room(c) < strlen(" 1023 MiB instead of 1023 MiB")) {
        canvas_line(c);
        canvas_put(c, STYLE_PLAIN, " ");
    }
    canvas_format(c, STYLE_PLAIN, " %s instead of %s",
                  text_size(after, now > saves ? now - saves : 0), text_size(before, now));
    canvas_line(c);
}

int draw_text_plan(struct canvas *c, const struct kinship *k, const struct draw_labels *labels,
                   struct error *e)
{
    AUTO_FREE struct plan_ref *refs = mem_array(k->n, sizeof *refs, "plan", e);
    AUTO_FREE uint32_t *standing = mem_array(k->n, sizeof *standing, "plan", e);
    size_t n;

    if (refs == NULL || standing == NULL)
        return -1;
    for (size_t i = 0; i < k->n; i++)
        if (k->plan.steps[i].backing < k->n)
            standing[k->plan.steps[i].backing]++;
    canvas_line(c);
    n = steps_of(k, PLAN_REBASE, refs);
    if (n > 0) {
        put_title(c, k, n);
        for (size_t i = 0; i < n; i++)
            put_rebase(c, k, labels, refs[i].image);
    } else {
        canvas_put(c, STYLE_STRONG, "Plan");
        canvas_put(c, STYLE_PLAIN, ": nothing to do, no overlay would save more than it costs");
        canvas_line(c);
    }
    put_staying(c, k, labels, PLAN_ROOT, "Stay whole", standing, refs);
    if (steps_of(k, PLAN_KEEP, refs) > KEPT_IMAGES)
        put_kept(c, k, labels, standing);
    else
        put_staying(c, k, labels, PLAN_KEEP, "Overlays already", standing, refs);
    put_staying(c, k, labels, PLAN_FIXED, "Left alone", standing, refs);
    return n > 0 ? put_command(c, k, e) : 0;
}
