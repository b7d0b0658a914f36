/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The page of src/cluster/page/, which tools/embed-page.py makes one file of, with the data of the
 * tree as JSON in it; and the tree as text for readers without scripts. */
#include "base/json.h"
#include "base/mem.h"
#include "cluster/draw.h"
#include "cluster/draw_page.h"
#include "cluster/draw_part.h"

#include <string.h>

#define TEXT_COLUMNS 100

static void put_image(struct json *j, const struct kinship *k, const struct draw_labels *labels,
                      size_t i)
{
    const struct kinship_image *image = &k->images[i];
    AUTO_BUF path = {};

    draw_escape(&path, image->path);
    buf_put_u8(&path, 0);
    j->out->failed |= path.failed;
    json_object(j, NULL);
    json_string(j, "name", labels->image[i]);
    json_string(j, "path", path.failed ? "" : (const char *)path.bytes);
    json_string(j, "format", image->format);
    json_u64(j, "virtual_size", image->virtual_size);
    json_u64(j, "data_bytes", image->data_bytes);
    draw_json_place(j, k, i);
    json_object_end(j);
}

static void put_leaves(struct json *j, const struct kinship *k, const struct draw_labels *labels)
{
    json_array(j, "leaves");
    for (size_t i = 0; i < k->n_leaves; i++) {
        json_object(j, NULL);
        json_string(j, "name", labels->leaf[i]);
        json_u64(j, "first", k->leaves[i].first);
        json_u64(j, "count", k->leaves[i].count);
        json_object_end(j);
    }
    json_array_end(j);
}

/* The joins as a list, not nested: a script's parser need not be as deep as the tree. */
static void put_joins(struct json *j, const struct dendrogram *d)
{
    json_array(j, "joins");
    for (size_t i = d->n_leaves; i < d->n_nodes; i++) {
        const struct dendrogram_node *node = &d->nodes[i];

        json_object(j, NULL);
        json_u64(j, "different", node->different);
        json_u64(j, "shared", node->shared);
        json_u64(j, "leaves", node->leaves);
        json_array(j, "children");
        for (uint32_t c = 0; c < node->count; c++)
            json_u64(j, NULL, d->children[node->first + c]);
        json_array_end(j);
        json_object_end(j);
    }
    json_array_end(j);
}

static void put_families(struct json *j, const struct draw_family *families, size_t n)
{
    json_array(j, "families");
    for (size_t i = 0; i < n; i++) {
        json_object(j, NULL);
        json_u64(j, "root", families[i].root);
        json_u64(j, "leaves", families[i].leaves);
        json_u64(j, "images", families[i].images);
        json_u64(j, "bytes", families[i].bytes);
        json_u64(j, "saves", families[i].saves);
        json_object_end(j);
    }
    json_array_end(j);
}

/* The lower triangle of a symmetric matrix, with its diagonal. */
static void put_triangle(struct json *j, const char *key, const uint64_t *matrix, size_t n)
{
    if (matrix == NULL)
        return;
    json_array(j, key);
    for (size_t row = 0; row < n; row++) {
        json_array(j, NULL);
        for (size_t column = 0; column <= row; column++)
            json_u64(j, NULL, matrix[row * n + column]);
        json_array_end(j);
    }
    json_array_end(j);
}

static int put_command(struct json *j, const struct kinship *k, struct error *e)
{
    AUTO_FREE bool *named = draw_plan_images(k, e);
    AUTO_BUF command = {};
    bool some = false;

    if (named == NULL)
        return -1;
    buf_printf(&command, "stemma rebase --");
    for (size_t i = 0; i < k->n; i++) {
        if (!named[i])
            continue;
        some = true;
        buf_put_u8(&command, ' ');
        draw_shell_word(&command, k->images[i].path);
    }
    buf_put_u8(&command, 0);
    if (buf_check(&command, "command", e) != 0)
        return -1;
    json_string(j, "command", some ? (const char *)command.bytes : NULL);
    return 0;
}

static int put_plan(struct json *j, const struct kinship *k, struct error *e)
{
    if (k->plan.steps == NULL)
        return 0;
    json_array(j, "plan");
    for (size_t i = 0; i < k->n; i++) {
        json_object(j, NULL);
        draw_json_step(j, k, i);
        json_object_end(j);
    }
    json_array_end(j);
    json_u64(j, "saves_bytes", k->plan.saves_bytes);
    return put_command(j, k, e);
}

static void put_problems(struct json *j, const char *key, const struct draw_options *o,
                         bool warnings)
{
    json_array(j, key);
    for (size_t i = 0; i < o->n_problems; i++) {
        AUTO_BUF path = {};

        if (o->problems[i].warning != warnings)
            continue;
        draw_escape(&path, o->problems[i].path != NULL ? o->problems[i].path : "");
        buf_put_u8(&path, 0);
        j->out->failed |= path.failed;
        json_object(j, NULL);
        json_string(j, "path", path.failed ? "" : (const char *)path.bytes);
        json_string(j, "message", o->problems[i].text);
        json_object_end(j);
    }
    json_array_end(j);
}

static int put_document(struct buf *out, const struct kinship *k, const struct draw_options *o,
                        struct error *e)
{
    AUTO_LABELS labels = {};
    AUTO_FREE struct draw_family *families = draw_families(k, e);
    struct json j;

    if (families == NULL || draw_labels_make(k, &labels, e) != 0)
        return -1;
    json_init(&j, out);
    json_object(&j, NULL);
    json_array(&j, "images");
    for (size_t i = 0; i < k->n; i++)
        put_image(&j, k, &labels, i);
    json_array_end(&j);
    put_leaves(&j, k, &labels);
    put_joins(&j, &k->tree);
    put_families(&j, families, k->n_families);
    put_triangle(&j, "different", k->different, k->n);
    put_triangle(&j, "shared", k->shared, k->n);
    if (put_plan(&j, k, e) != 0)
        return -1;
    put_problems(&j, "errors", o, false);
    put_problems(&j, "warnings", o, true);
    json_object_end(&j);
    return buf_check(out, "family tree", e);
}

/* JSON inside <script>: nothing that could end the element or a line of script. All of these stand
 * inside strings only. */
static void put_embedded(struct buf *out, const struct buf *json)
{
    for (size_t i = 0; i < json->length; i++) {
        uint8_t c = json->bytes[i];

        if (c == '<' || c == '>' || c == '&') {
            buf_printf(out, "\\u%04x", c);
        } else if (json->length - i >= 3 && memcmp(json->bytes + i, "\xe2\x80", 2) == 0 &&
                   (json->bytes[i + 2] & 0xfe) == 0xa8) {
            buf_printf(out, "\\u20%02x", json->bytes[i + 2] - 0x80);
            i += 2;
        } else {
            buf_put_u8(out, c);
        }
    }
}

static int put_text(struct buf *out, const struct kinship *k, const struct draw_options *o,
                    struct error *e)
{
    const struct draw_options plain = {.columns = TEXT_COLUMNS,
                                       .plan = true,
                                       .problems = o->problems,
                                       .n_problems = o->n_problems};
    AUTO_BUF text = {};

    if (draw_text(&text, k, &plain, e) != 0)
        return -1;
    for (size_t i = 0; i < text.length; i++) {
        uint8_t c = text.bytes[i];

        if (c == '<' || c == '>' || c == '&')
            buf_printf(out, "&#%u;", c);
        else
            buf_put_u8(out, c);
    }
    return 0;
}

int draw_html(struct buf *out, const struct kinship *k, const struct draw_options *o,
              struct error *e)
{
    AUTO_BUF json = {};

    if (put_document(&json, k, o, e) != 0)
        return -1;
    buf_put(out, page_head, sizeof page_head - 1);
    if (put_text(out, k, o, e) != 0)
        return -1;
    buf_put(out, page_middle, sizeof page_middle - 1);
    put_embedded(out, &json);
    buf_put(out, page_end, sizeof page_end - 1);
    return buf_check(out, "family tree", e);
}
