/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "cluster/draw_part.h"

#include "base/mem.h"

#include <stdio.h>
#include <string.h>

char *draw_percent(char out[DRAW_PERCENT_MAX], double part)
{
    double percent = part * 100;

    if (part >= 1)
        snprintf(out, DRAW_PERCENT_MAX, "100%%");
    else if (percent >= 99)
        /* cut, never rounded up to all of it */
        snprintf(out, DRAW_PERCENT_MAX, "99.%u%%", (unsigned)((percent - 99) * 10) % 10);
    else if (percent >= 1)
        snprintf(out, DRAW_PERCENT_MAX, "%u%%", (unsigned)(percent + 0.5) % 100);
    else
        snprintf(out, DRAW_PERCENT_MAX, "%s", part > 0 ? "<1%" : "0%");
    return out;
}

static int family_compare(const void *x, const void *y)
{
    const struct draw_family *a = x, *b = y;

    if ((a->leaves > 1) != (b->leaves > 1))
        return a->leaves > 1 ? -1 : 1;
    if (a->saves != b->saves)
        return a->saves > b->saves ? -1 : 1;
    if (a->bytes != b->bytes)
        return a->bytes > b->bytes ? -1 : 1;
    return (a->id > b->id) - (a->id < b->id);
}

/* A join belongs to a family when all its children do; the family's root is its last such node,
 * because a join stands after its children. */
static int family_roots(const struct kinship *k, struct draw_family *families, struct error *e)
{
    const struct dendrogram *d = &k->tree;
    AUTO_FREE uint32_t *family = mem_array(d->n_nodes, sizeof *family, "families", e);

    if (family == NULL)
        return -1;
    for (size_t i = 0; i < d->n_nodes; i++) {
        const struct dendrogram_node *node = &d->nodes[i];

        family[i] = node->count == 0 ? k->family[i] : family[d->children[node->first]];
        for (uint32_t c = 1; c < node->count; c++)
            if (family[d->children[node->first + c]] != family[i])
                family[i] = UINT32_MAX;
        if (family[i] != UINT32_MAX)
            families[family[i]].root = (uint32_t)i;
    }
    return 0;
}

struct draw_family *draw_families(const struct kinship *k, struct error *e)
{
    AUTO_FREE struct draw_family *f = mem_array(k->n_families, sizeof *f, "families", e);

    if (f == NULL || family_roots(k, f, e) != 0)
        return NULL;
    for (size_t i = 0; i < k->n_families; i++)
        f[i].id = (uint32_t)i;
    for (size_t i = 0; i < k->n_leaves; i++) {
        const struct kinship_leaf *leaf = &k->leaves[i];
        struct draw_family *of = &f[k->family[i]];

        of->leaves++;
        of->images += leaf->count;
        for (uint32_t j = leaf->first; j < leaf->first + leaf->count; j++) {
            of->bytes += k->images[j].allocated_bytes;
            if (k->plan.steps != NULL)
                of->saves += k->plan.steps[j].saves_bytes;
        }
    }
    qsort(f, k->n_families, sizeof *f, family_compare);
    return take(f);
}

uint32_t *draw_leaf_of_image(const struct kinship *k, struct error *e)
{
    uint32_t *leaf = mem_array(k->n, sizeof *leaf, "leaves", e);

    for (size_t i = 0; leaf != NULL && i < k->n_leaves; i++)
        for (uint32_t j = 0; j < k->leaves[i].count; j++)
            leaf[k->leaves[i].first + j] = (uint32_t)i;
    return leaf;
}

uint64_t draw_bytes_now(const struct kinship *k)
{
    uint64_t sum = 0;

    for (size_t i = 0; i < k->n; i++)
        sum += k->images[i].allocated_bytes;
    return sum;
}

size_t draw_leaves(const struct dendrogram *d, uint32_t node, uint32_t *stack, uint32_t *out)
{
    size_t depth = 0, n = 0;

    stack[depth++] = node;
    while (depth > 0) {
        const struct dendrogram_node *at = &d->nodes[stack[--depth]];

        if (at->count == 0)
            out[n++] = stack[depth];
        for (uint32_t c = at->count; c > 0; c--)
            stack[depth++] = d->children[at->first + c - 1];
    }
    return n;
}

static bool plain_word(const char *word)
{
    static const char plain[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"
                                "@%+=:,./_-";

    return word[0] != 0 && word[strspn(word, plain)] == 0;
}

void draw_shell_word(struct buf *out, const char *word)
{
    AUTO_BUF shown = {};
    bool hidden;

    /* what cannot be shown as it is must be spelled, or a copied command would mean another file */
    draw_escape(&shown, word);
    buf_put_u8(&shown, 0);
    if (shown.failed) {
        out->failed = true;
        return;
    }
    hidden = strchr(word, '\\') == NULL && strcmp((char *)shown.bytes, word) != 0;
    if (plain_word(word)) {
        buf_printf(out, "%s", word);
    } else if (!hidden && strchr(word, '\\') == NULL && strchr(word, '\'') == NULL) {
        buf_printf(out, "'%s'", word);
    } else {
        /* \xNN and \\ mean the same in $'..'; \xNN ends after two digits there */
        buf_printf(out, "$'");
        for (const uint8_t *p = shown.bytes; *p != 0; p++) {
            if (*p == '\'')
                buf_put_u8(out, '\\');
            buf_put_u8(out, *p);
        }
        buf_printf(out, "'");
    }
}

bool *draw_plan_images(const struct kinship *k, struct error *e)
{
    bool *named = mem_array(k->n, sizeof *named, "plan", e);

    for (size_t i = 0; named != NULL && k->plan.steps != NULL && i < k->n; i++) {
        const struct plan_step *step = &k->plan.steps[i];

        if (step->action != PLAN_REBASE)
            continue;
        named[i] = true;
        if (step->backing < k->n)
            named[step->backing] = true;
    }
    return named;
}

const char *draw_action_name(enum plan_action action)
{
    static const char *const names[] = {
        [PLAN_REBASE] = "rebase",
        [PLAN_ROOT] = "root",
        [PLAN_KEEP] = "keep",
        [PLAN_FIXED] = "fixed",
    };

    return names[action];
}

const char *draw_linkage_name(enum linkage linkage)
{
    static const char *const names[] = {
        [LINKAGE_SINGLE] = "single",
        [LINKAGE_AVERAGE] = "average",
        [LINKAGE_COMPLETE] = "complete",
    };

    return names[linkage];
}

static void put_index(struct json *j, const char *key, uint32_t index, size_t n)
{
    if (index < n)
        json_u64(j, key, index);
    else
        json_null(j, key);
}

void draw_json_place(struct json *j, const struct kinship *k, size_t i)
{
    const struct kinship_image *image = &k->images[i];

    json_u64(j, "allocated_bytes", image->allocated_bytes);
    json_bool(j, "in_use", image->in_use);
    json_string(j, "guest", image->guest);
    put_index(j, "backing", image->backing, k->n);
    json_string(j, "backing_path", image->backing_path);
    json_string(j, "fixed", image->fixed);
}

void draw_json_step(struct json *j, const struct kinship *k, size_t i)
{
    const struct plan_step *step = &k->plan.steps[i];

    put_index(j, "backing", step->backing, k->n);
    json_u64(j, "overlay_bytes", step->overlay_bytes);
    json_u64(j, "saves_bytes", step->saves_bytes);
    json_string(j, "action", draw_action_name(step->action));
}
