/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "base/json.h"
#include "base/mem.h"
#include "cluster/draw.h"
#include "cluster/draw_part.h"

#include <string.h>

static void put_id(struct json *j, const char *key, const struct id *id)
{
    char hex[65];

    id_to_hex(id, hex);
    json_string(j, key, hex);
}

static void put_image(struct json *j, const struct kinship *k, size_t i)
{
    const struct kinship_image *image = &k->images[i];

    json_object(j, NULL);
    json_string(j, "path", image->path);
    json_string(j, "format", image->format);
    json_u64(j, "virtual_size", image->virtual_size);
    json_u64(j, "data_bytes", image->data_bytes);
    json_u64(j, "read_bytes", image->read_bytes);
    json_bool(j, "cached", image->cached);
    draw_json_place(j, k, i);
    put_id(j, "disk_id", &image->disk_id);
    put_id(j, "content_id", &image->content_id);
    json_object_end(j);
}

static void put_matrix(struct json *j, const char *key, const uint64_t *matrix, size_t n)
{
    if (matrix == NULL)
        return;
    json_array(j, key);
    for (size_t row = 0; row < n; row++) {
        json_array(j, NULL);
        for (size_t column = 0; column < n; column++)
            json_u64(j, NULL, matrix[row * n + column]);
        json_array_end(j);
    }
    json_array_end(j);
}

static void put_neighbours(struct json *j, const struct kinship *k)
{
    if (k->n_neighbours == 0)
        return;
    json_array(j, "neighbours");
    for (size_t i = 0; i < k->n; i++) {
        json_array(j, NULL);
        for (size_t m = 0; m < k->n_neighbours; m++) {
            const struct neighbour *of = &k->neighbours[i * k->n_neighbours + m];

            if (of->image >= k->n)
                break;
            json_object(j, NULL);
            json_u64(j, "image", of->image);
            json_u64(j, "different_bytes", of->different);
            json_u64(j, "shared_bytes", of->shared);
            json_object_end(j);
        }
        json_array_end(j);
    }
    json_array_end(j);
}

static void leaf_text(struct buf *out, const struct kinship *k, uint32_t i)
{
    const struct kinship_leaf *leaf = &k->leaves[i];
    struct json j;

    json_init(&j, out);
    json_object(&j, NULL);
    if (leaf->count == 1) {
        json_u64(&j, "image", leaf->first);
    } else {
        json_string(&j, "guest", k->images[leaf->first].guest);
        json_array(&j, "images");
        for (uint32_t m = 0; m < leaf->count; m++)
            json_u64(&j, NULL, leaf->first + m);
        json_array_end(&j);
    }
    json_object_end(&j);
}

struct tree_at {
    uint32_t node, child;
};

/* The tree with a stack of its own: it may be as deep as there are leaves. */
static int tree_text(struct buf *out, const struct kinship *k, struct error *e)
{
    const struct dendrogram *d = &k->tree;
    AUTO_FREE struct tree_at *stack = mem_array(d->n_nodes, sizeof *stack, "tree", e);
    size_t depth = 0;

    if (stack == NULL)
        return -1;
    stack[depth++] = (struct tree_at){d->root, 0};
    while (depth > 0) {
        struct tree_at *at = &stack[depth - 1];
        const struct dendrogram_node *node = &d->nodes[at->node];

        if (node->count == 0) {
            leaf_text(out, k, at->node);
            depth--;
        } else if (at->child == node->count) {
            buf_printf(out, "]}");
            depth--;
        } else {
            if (at->child == 0)
                buf_printf(out, "{\"different_bytes\":%ju,\"shared_bytes\":%ju,\"children\":[",
                           (uintmax_t)node->different, (uintmax_t)node->shared);
            else
                buf_put_u8(out, ',');
            stack[depth++] = (struct tree_at){d->children[node->first + at->child++], 0};
        }
    }
    return 0;
}

static int put_tree(struct json *j, const struct kinship *k, struct error *e)
{
    AUTO_BUF text = {};

    if (k->tree.root >= k->tree.n_nodes) {
        json_null(j, "tree");
        return 0;
    }
    if (tree_text(&text, k, e) != 0)
        return -1;
    buf_put_u8(&text, 0);
    if (buf_check(&text, "tree", e) != 0)
        return -1;
    json_raw(j, "tree", (const char *)text.bytes);
    return 0;
}

/* Images by family, each family's in the order of the arguments. */
static int put_families(struct json *j, const struct kinship *k, struct error *e)
{
    AUTO_FREE size_t *start = mem_array(k->n_families + 2, sizeof *start, "families", e);
    AUTO_FREE uint32_t *images = mem_array(k->n, sizeof *images, "families", e);
    AUTO_FREE uint32_t *leaf = draw_leaf_of_image(k, e);

    if (start == NULL || images == NULL || leaf == NULL)
        return -1;
    /* start[f + 1] counts, then is where family f goes on, then where it ends */
    for (size_t i = 0; i < k->n; i++)
        start[k->family[leaf[i]] + 2]++;
    for (size_t f = 0; f < k->n_families; f++)
        start[f + 2] += start[f + 1];
    for (size_t i = 0; i < k->n; i++)
        images[start[k->family[leaf[i]] + 1]++] = (uint32_t)i;
    json_array(j, "families");
    for (size_t f = 0; f < k->n_families; f++) {
        json_array(j, NULL);
        for (size_t i = start[f]; i < start[f + 1]; i++)
            json_u64(j, NULL, images[i]);
        json_array_end(j);
    }
    json_array_end(j);
    return 0;
}

static void put_reason(struct json *j, const struct kinship *k, size_t i)
{
    const struct kinship_image *image = &k->images[i];

    switch (k->plan.steps[i].action) {
    case PLAN_REBASE:
        json_string(j, "reason", "smallest as an overlay of this image");
        break;
    case PLAN_ROOT:
        json_string(j, "reason", "stays whole");
        break;
    case PLAN_KEEP:
        json_string(j, "reason", "is an overlay already");
        break;
    case PLAN_FIXED:
        json_string(j, "reason", image->fixed != NULL ? image->fixed : "cannot take part");
        break;
    }
}

static void put_plan(struct json *j, const struct kinship *k)
{
    if (k->plan.steps == NULL)
        return;
    json_array(j, "plan");
    for (size_t i = 0; i < k->n; i++) {
        json_object(j, NULL);
        json_u64(j, "image", i);
        draw_json_step(j, k, i);
        put_reason(j, k, i);
        json_object_end(j);
    }
    json_array_end(j);
    json_u64(j, "saves_bytes", k->plan.saves_bytes);
}

static void put_problems(struct json *j, const char *key, const struct draw_options *o,
                         bool warnings)
{
    json_array(j, key);
    for (size_t i = 0; i < o->n_problems; i++) {
        const struct draw_problem *p = &o->problems[i];

        if (p->warning != warnings)
            continue;
        json_object(j, NULL);
        json_string(j, "path", p->path);
        json_string(j, "code", p->code);
        json_string(j, "message", p->text);
        json_object_end(j);
    }
    json_array_end(j);
}

int draw_json(struct buf *out, const struct kinship *k, const struct draw_options *o,
              struct error *e)
{
    struct json j;

    json_init(&j, out);
    json_object(&j, NULL);
    json_u64(&j, "cluster_size", CLUSTER_SIZE);
    json_array(&j, "images");
    for (size_t i = 0; i < k->n; i++)
        put_image(&j, k, i);
    json_array_end(&j);
    put_matrix(&j, "different_bytes", k->different, k->n);
    put_matrix(&j, "shared_bytes", k->shared, k->n);
    put_neighbours(&j, k);
    json_string(&j, "linkage", draw_linkage_name(k->linkage));
    json_double(&j, "threshold", k->threshold);
    if (put_tree(&j, k, e) != 0 || put_families(&j, k, e) != 0)
        return -1;
    put_plan(&j, k);
    put_problems(&j, "errors", o, false);
    put_problems(&j, "warnings", o, true);
    json_object_end(&j);
    buf_printf(out, "\n");
    return buf_check(out, "family tree", e);
}
