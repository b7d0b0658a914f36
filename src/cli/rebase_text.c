/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "cli/rebase_text.h"

#include "base/mem.h"
#include "base/text.h"
#include "cli/common.h"

#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

static const char *const kinds[] = {
    [REPLACE_STEP_REMOVE_NEW] = "remove_new",   [REPLACE_STEP_KEEP_BASE] = "keep_base",
    [REPLACE_STEP_KEEP_OLD] = "keep_old",       [REPLACE_STEP_WRITE] = "write",
    [REPLACE_STEP_VERIFY] = "verify",           [REPLACE_STEP_NAME_BASE] = "name_base",
    [REPLACE_STEP_WRITE_FRESH] = "write_empty", [REPLACE_STEP_SWAP] = "swap",
    [REPLACE_STEP_FREEZE] = "freeze",           [REPLACE_STEP_SETTLE] = "settle",
    [REPLACE_STEP_RESTORE] = "restore",         [REPLACE_STEP_RESTORE_BASE] = "restore_base",
    [REPLACE_STEP_DROP_NAME] = "drop_name",     [REPLACE_STEP_DROP_BASE] = "drop_base",
    [REPLACE_STEP_REMOVE_OLD] = "remove_old",
};
#define KINDS (sizeof kinds / sizeof *kinds)

void rebase_json_steps(struct json *j, const struct replace_step *steps, size_t n)
{
    struct error ignored;

    json_array(j, "steps");
    for (size_t i = 0; i < n; i++) {
        const struct replace_step *s = &steps[i];
        AUTO_FREE
        char *text = replace_step_text(s, &ignored);

        json_object(j, NULL);
        json_string(j, "kind", kinds[s->kind]);
        json_string(j, "path", s->path);
        json_string(j, "to", s->to);
        if (s->backing_path != NULL) {
            json_string(j, "backing", s->backing_path);
            json_string(j, "backing_name", s->backing_name);
            json_string(j, "backing_format", s->backing_format);
        }
        json_string(j, "text", text);
        json_object_end(j);
    }
    json_array_end(j);
}

/* ---- the folder that has them all ---- */

static void shorten(size_t *prefix, const char *first, const char *path)
{
    size_t same = 0, end = 0;

    for (; path != NULL && same < *prefix && first[same] == path[same]; same++) {
        if (path[same] == '/')
            end = same + 1;
    }
    if (path != NULL)
        *prefix = end;
}

/* Its length, with the slash. */
static size_t common_folder(const struct replace_step *steps, size_t n)
{
    size_t prefix = (size_t)(strrchr(steps[0].path, '/') - steps[0].path) + 1;

    for (size_t i = 0; i < n; i++) {
        shorten(&prefix, steps[0].path, steps[i].path);
        shorten(&prefix, steps[0].path, steps[i].to);
        shorten(&prefix, steps[0].path, steps[i].backing_path);
    }
    return prefix == 1 ? 0 : prefix; /* names below the root folder say all */
}

/* ---- one image ---- */

struct image_text {
    struct buf *out;
    size_t prefix;
    const struct replace_item *item; /* or NULL */
    bool done;
    const struct replace_step *of[KINDS]; /* the image's step of each kind, or NULL */
};

static void line(const struct image_text *t, const char *before, const char *path,
                 const char *after)
{
    AUTO_FREE
    char *name = shown(path + t->prefix);

    buf_printf(t->out, "    %s%s%s", before, name, after);
}

static void overlay_on(const struct image_text *t, const struct replace_step *write)
{
    char size[TEXT_SIZE_MAX];
    AUTO_FREE
    char *name = shown(write->backing_path + t->prefix);

    buf_printf(t->out, "an overlay on %s, %s\n", name,
               text_size(size, t->item == NULL ? 0 : t->item->overlay_bytes));
}

/* The base that others stand on. */
static void base_lines(const struct image_text *t)
{
    const struct replace_step *write = t->of[REPLACE_STEP_WRITE];
    const struct replace_step *name_base = t->of[REPLACE_STEP_NAME_BASE];
    const struct replace_step *fresh = t->of[REPLACE_STEP_WRITE_FRESH];
    const struct replace_step *freeze = t->of[REPLACE_STEP_FREEZE];

    if (name_base != NULL && write != NULL) {
        line(t, "read-only from now on, others stand on it: ", name_base->to, ", ");
        overlay_on(t, write);
    } else if (t->of[REPLACE_STEP_VERIFY] != NULL) {
        line(t, "compared again: ", t->of[REPLACE_STEP_VERIFY]->to,
             ", left by an interrupted run\n");
    } else if (fresh != NULL) {
        line(t, "read-only from now on, others stand on it: ", fresh->path, "\n");
    } else if (freeze != NULL) {
        line(t, "read-only from now on, others stand on it: ", freeze->to, "\n");
    }
    if (fresh != NULL)
        line(t, "under its name: an empty overlay on ", fresh->path, "\n");
}

static void replace_lines(const struct image_text *t)
{
    const struct replace_step *write = t->of[REPLACE_STEP_WRITE];

    if (t->of[REPLACE_STEP_REMOVE_NEW] != NULL)
        line(t, "removed: ", t->of[REPLACE_STEP_REMOVE_NEW]->to, ", left by an interrupted run\n");
    base_lines(t);
    if (write != NULL && t->of[REPLACE_STEP_NAME_BASE] == NULL) {
        buf_printf(t->out, "    under its name: ");
        overlay_on(t, write);
    }
    if (t->of[REPLACE_STEP_KEEP_OLD] != NULL)
        line(t, "its original: ", t->of[REPLACE_STEP_KEEP_OLD]->to, ", until --commit\n");
    if (t->of[REPLACE_STEP_SWAP] == NULL && t->of[REPLACE_STEP_SETTLE] != NULL)
        buf_printf(t->out, "    finished: what an interrupted run began\n");
}

static bool exists(const char *path)
{
    struct stat st;

    return lstat(path, &st) == 0;
}

static void undo_lines(const struct image_text *t)
{
    const struct replace_step *base = t->of[REPLACE_STEP_RESTORE_BASE];
    const struct replace_step *old = t->of[REPLACE_STEP_RESTORE];
    const struct replace_step *drop = t->of[REPLACE_STEP_DROP_BASE];

    if (old != NULL)
        line(t, "its original is back, which was ", old->path, "\n");
    if (base != NULL)
        line(t, "its original is back, which was ", base->path, "\n");
    if (t->of[REPLACE_STEP_DROP_NAME] != NULL)
        line(t, "removed: ", t->of[REPLACE_STEP_DROP_NAME]->to,
             ", a second name of its original\n");
    if (drop != NULL && t->done && exists(drop->to))
        line(t, "stays: ", drop->to, ", because others stand on it\n");
    else if (drop != NULL)
        line(t, "removed: ", drop->to, "\n");
    if (t->of[REPLACE_STEP_REMOVE_OLD] != NULL)
        line(t, "removed: ", t->of[REPLACE_STEP_REMOVE_OLD]->to, ", its original\n");
}

/* The name that the image is known by; NULL where a step does not tell. */
static const char *image_path(const struct replace_step *s)
{
    switch (s->kind) {
    case REPLACE_STEP_SWAP:
    case REPLACE_STEP_RESTORE:
    case REPLACE_STEP_RESTORE_BASE:
        return s->to;
    case REPLACE_STEP_NAME_BASE:
    case REPLACE_STEP_WRITE_FRESH:
        return NULL;
    default:
        return s->path;
    }
}

static void image_lines(struct image_text *t, const struct replace_step *steps,
                        const uint32_t *order, size_t n)
{
    const char *path = NULL;
    bool was_raw;

    memset(t->of, 0, sizeof t->of);
    for (size_t i = 0; i < n; i++) {
        const struct replace_step *s = &steps[order[i]];

        t->of[s->kind] = s;
        if (path == NULL)
            path = image_path(s);
    }
    was_raw = t->item != NULL && t->of[REPLACE_STEP_SWAP] != NULL &&
              strcmp(t->item->format, "qcow2") != 0;
    if (path != NULL) {
        AUTO_FREE
        char *name = shown(path + t->prefix);

        buf_printf(t->out, "  %s%s\n", name, was_raw ? " (was raw, becomes qcow2)" : "");
    }
    replace_lines(t);
    undo_lines(t);
}

/* ---- all ---- */

/* Steps by image, images in the order of their first step. */
static int order_steps(const struct replace_step *steps, size_t n, uint32_t *order, struct error *e)
{
    uint32_t items = 0, used = 0;
    AUTO_FREE
    uint32_t *first = NULL;
    AUTO_FREE
    uint32_t *next = mem_array(n, sizeof *next, "steps", e);
    AUTO_FREE
    uint32_t *last = NULL;

    for (size_t i = 0; i < n; i++)
        items = steps[i].item >= items ? steps[i].item + 1 : items;
    first = mem_array(items, sizeof *first, "steps", e);
    last = mem_array(items, sizeof *last, "steps", e);
    if (next == NULL || first == NULL || last == NULL)
        return -1;
    for (uint32_t i = 0; i < n; i++) { /* lists of numbers from 1 on; 0 ends them */
        uint32_t item = steps[i].item;

        if (first[item] == 0)
            first[item] = i + 1;
        else
            next[last[item] - 1] = i + 1;
        last[item] = i + 1;
    }
    for (uint32_t i = 0; i < n; i++) {
        if (first[steps[i].item] != i + 1)
            continue;
        for (uint32_t at = i + 1; at != 0; at = next[at - 1])
            order[used++] = at - 1;
    }
    return 0;
}

int rebase_text_steps(struct buf *out, const char *title, const struct replace_step *steps,
                      size_t n, const struct replace_item *items, bool done, struct error *e)
{
    AUTO_FREE
    uint32_t *order = mem_array(n, sizeof *order, "steps", e);
    struct image_text t = {.out = out, .done = done};
    size_t count;

    if (order == NULL || n == 0 || order_steps(steps, n, order, e) != 0)
        return n == 0 ? 0 : -1;
    t.prefix = common_folder(steps, n);
    if (t.prefix > 0) {
        AUTO_FREE
        char *folder = mem_string(steps[0].path, e);
        AUTO_FREE
        char *safe = NULL;

        if (folder == NULL)
            return -1;
        folder[t.prefix - 1] = 0;
        safe = shown(folder);
        buf_printf(out, "%s, in %s:\n", title, safe);
    } else {
        buf_printf(out, "%s:\n", title);
    }
    for (size_t i = 0; i < n; i += count) {
        uint32_t item = steps[order[i]].item;

        for (count = 1; i + count < n && steps[order[i + count]].item == item;)
            count++;
        t.item = items == NULL ? NULL : &items[item];
        image_lines(&t, steps, order + i, count);
    }
    return 0;
}
