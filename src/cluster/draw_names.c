/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "base/auto.h"
#include "base/mem.h"
#include "base/text.h"
#include "cluster/draw.h"
#include "cluster/draw_part.h"

#include <string.h>

struct name_ref {
    const char *path;
    size_t index;
};

/* The component that ends before `end`: its start and length, and the new end. False when there is
 * none. */
static bool component_before(const char *path, size_t *end, const char **start, size_t *length)
{
    size_t last = *end, first;

    while (last > 0 && path[last - 1] == '/')
        last--;
    if (last == 0)
        return false;
    first = last;
    while (first > 0 && path[first - 1] != '/')
        first--;
    *start = path + first;
    *length = last - first;
    *end = first;
    return true;
}

static int component_compare(const char *a, size_t a_length, const char *b, size_t b_length)
{
    int order = memcmp(a, b, a_length < b_length ? a_length : b_length);

    if (order != 0)
        return order;
    return (a_length > b_length) - (a_length < b_length);
}

/* Compares from the last component up; *common counts those that are equal. */
static int path_compare(const char *a, const char *b, size_t *common)
{
    size_t a_end = strlen(a), b_end = strlen(b), a_length, b_length;
    const char *a_part, *b_part;

    for (*common = 0;; ++*common) {
        bool more_a = component_before(a, &a_end, &a_part, &a_length);
        bool more_b = component_before(b, &b_end, &b_part, &b_length);
        int order;

        if (!more_a || !more_b)
            return more_a - more_b;
        order = component_compare(a_part, a_length, b_part, b_length);
        if (order != 0)
            return order;
    }
}

static int ref_compare(const void *x, const void *y)
{
    const struct name_ref *a = x, *b = y;
    size_t common;
    int order = path_compare(a->path, b->path, &common);

    if (order == 0)
        order = strcmp(a->path, b->path);
    if (order == 0)
        order = (a->index > b->index) - (a->index < b->index);
    return order;
}

/* The path's last `count` components; the whole path when it has not so many. */
static const char *path_suffix(const char *path, size_t count)
{
    size_t end = strlen(path), length;
    const char *start = path;

    for (; count > 0; count--)
        if (!component_before(path, &end, &start, &length))
            return path;
    return start;
}

static int string_compare(const void *x, const void *y)
{
    return strcmp(*(char *const *)x, *(char *const *)y);
}

/* A path that was given before: NAME#2 and so on, skipping what is a name already. */
static char *numbered(const char *name, size_t *number, const char *const *plain, size_t n,
                      struct error *e)
{
    for (;;) {
        AUTO_FREE char *candidate = mem_printf(e, "%s#%zu", name, ++*number);
        const char *key = candidate;

        if (candidate == NULL)
            return NULL;
        if (bsearch(&key, plain, n, sizeof *plain, string_compare) == NULL)
            return take(candidate);
    }
}

static const char *shortest(const struct name_ref *refs, size_t n, size_t i)
{
    size_t before = 0, after = 0;
    size_t same_before = i, same_after = i;

    /* the same path again does not make the name longer */
    while (same_before > 0 && strcmp(refs[same_before - 1].path, refs[i].path) == 0)
        same_before--;
    while (same_after + 1 < n && strcmp(refs[same_after + 1].path, refs[i].path) == 0)
        same_after++;
    if (same_before > 0)
        (void)path_compare(refs[i].path, refs[same_before - 1].path, &before);
    if (same_after + 1 < n)
        (void)path_compare(refs[i].path, refs[same_after + 1].path, &after);
    return path_suffix(refs[i].path, (before > after ? before : after) + 1);
}

static void names_free(char **names, size_t n)
{
    for (size_t i = 0; names != NULL && i < n; i++)
        free(names[i]);
    free(names);
}

static int names_fill(const struct name_ref *refs, size_t n, char **names, struct error *e)
{
    AUTO_FREE const char **plain = mem_array(n, sizeof *plain, "names", e);
    AUTO_FREE const char **sorted = mem_array(n, sizeof *sorted, "names", e);
    size_t number = 1;

    if (plain == NULL || sorted == NULL)
        return -1;
    for (size_t i = 0; i < n; i++) {
        bool again = i > 0 && strcmp(refs[i - 1].path, refs[i].path) == 0;

        plain[i] = again ? plain[i - 1] : shortest(refs, n, i);
        sorted[i] = plain[i];
    }
    qsort(sorted, n, sizeof *sorted, string_compare);
    for (size_t i = 0; i < n; i++) {
        bool again = i > 0 && plain[i] == plain[i - 1];
        char *name;

        if (!again)
            number = 1;
        name = again ? numbered(plain[i], &number, sorted, n, e) : mem_string(plain[i], e);
        if (name == NULL)
            return -1;
        names[refs[i].index] = name;
    }
    return 0;
}

int draw_names(const struct kinship *k, char ***out, struct error *e)
{
    AUTO_FREE struct name_ref *refs = mem_array(k->n, sizeof *refs, "names", e);
    char **names = mem_array(k->n, sizeof *names, "names", e);

    if (refs == NULL || names == NULL) {
        free(names);
        return -1;
    }
    for (size_t i = 0; i < k->n; i++)
        refs[i] = (struct name_ref){k->images[i].path, i};
    qsort(refs, k->n, sizeof *refs, ref_compare);
    if (names_fill(refs, k->n, names, e) != 0) {
        names_free(names, k->n);
        return -1;
    }
    *out = names;
    return 0;
}

void draw_escape(struct buf *out, const char *bytes)
{
    text_escape(out, bytes, strlen(bytes));
}

char *draw_take_string(struct buf *b, struct error *e)
{
    char *text;

    buf_put_u8(b, 0);
    if (buf_check(b, "drawing", e) != 0)
        return NULL;
    text = (char *)b->bytes;
    *b = (struct buf){};
    return text;
}

static int label_images(const struct kinship *k, struct draw_labels *out, struct error *e)
{
    char **names;
    int result = 0;

    if (draw_names(k, &names, e) != 0)
        return -1;
    for (size_t i = 0; i < k->n && result == 0; i++) {
        AUTO_BUF text = {};

        draw_escape(&text, names[i]);
        out->image[i] = draw_take_string(&text, e);
        result = out->image[i] == NULL ? -1 : 0;
    }
    names_free(names, k->n);
    return result;
}

static char *label_of_leaf(const struct kinship *k, const struct draw_labels *l, size_t i,
                           struct error *e)
{
    const struct kinship_leaf *leaf = &k->leaves[i];
    const char *guest = k->images[leaf->first].guest;
    AUTO_BUF text = {};

    if (leaf->count == 1)
        return mem_string(l->image[leaf->first], e);
    if (guest != NULL)
        draw_escape(&text, guest);
    else
        buf_printf(&text, "%s", l->image[leaf->first]);
    buf_printf(&text, " (%u disks)", leaf->count);
    return draw_take_string(&text, e);
}

struct leaf_ref {
    char *label;
    size_t index;
};

static int leaf_ref_compare(const void *x, const void *y)
{
    const struct leaf_ref *a = x, *b = y;
    int order = strcmp(a->label, b->label);

    return order != 0 ? order : (a->index > b->index) - (a->index < b->index);
}

/* Two guests of one name (of two hosts) are told apart by the path of their first disk. */
static int label_twins(const struct kinship *k, struct draw_labels *l, struct error *e)
{
    AUTO_FREE struct leaf_ref *refs = mem_array(k->n_leaves, sizeof *refs, "labels", e);
    AUTO_FREE char *before = NULL; /* the label before this one, as it was */

    if (refs == NULL)
        return -1;
    for (size_t i = 0; i < k->n_leaves; i++)
        refs[i] = (struct leaf_ref){l->leaf[i], i};
    qsort(refs, k->n_leaves, sizeof *refs, leaf_ref_compare);
    for (size_t i = 0; i < k->n_leaves; i++) {
        const struct kinship_leaf *leaf = &k->leaves[refs[i].index];
        const char *label = refs[i].label;
        bool twin = (before != NULL && strcmp(before, label) == 0) ||
                    (i + 1 < k->n_leaves && strcmp(refs[i + 1].label, label) == 0);
        char *longer;

        free(before);
        before = mem_string(label, e);
        if (before == NULL)
            return -1;
        if (!twin || leaf->count == 1)
            continue;
        longer = mem_printf(e, "%s at %s", label, l->image[leaf->first]);
        if (longer == NULL)
            return -1;
        free(l->leaf[refs[i].index]);
        l->leaf[refs[i].index] = longer;
    }
    return 0;
}

int draw_labels_make(const struct kinship *k, struct draw_labels *out, struct error *e)
{
    AUTO_LABELS l = {k->n, k->n_leaves, mem_array(k->n, sizeof *l.image, "labels", e),
                     mem_array(k->n_leaves, sizeof *l.leaf, "labels", e)};

    if (l.image == NULL || l.leaf == NULL || label_images(k, &l, e) != 0)
        return -1;
    for (size_t i = 0; i < k->n_leaves; i++) {
        l.leaf[i] = label_of_leaf(k, &l, i, e);
        if (l.leaf[i] == NULL)
            return -1;
    }
    if (label_twins(k, &l, e) != 0)
        return -1;
    *out = l;
    l = (struct draw_labels){};
    return 0;
}

void draw_labels_release(struct draw_labels *l)
{
    names_free(l->image, l->n_images);
    names_free(l->leaf, l->n_leaves);
    *l = (struct draw_labels){};
}
