/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Draws a kinship that is described on standard input, so that tests in another language can say
 * what they want drawn:
 *
 *     draw-sample FORMAT COLUMNS [ascii] [colour] [plan] < DESCRIPTION > DRAWING
 *
 * One thing a line, words between spaces, texts in hexadecimal or "-" for none:
 *
 *     images N                          image HEXPATH FORMAT VIRTUAL DATA READ ALLOCATED CACHED
 *     leaves N                                INUSE BACKING|- HEXBACKINGPATH HEXGUEST HEXFIXED
 *     leaf FIRST COUNT FAMILY           join DIFFERENT SHARED CHILD...
 *     matrix DIFFERENT... SHARED...     plan ACTION BACKING|- OVERLAY SAVES
 *     neighbours N (IMAGE|- DIFFERENT SHARED)...
 *     problem WARNING HEXPATH CODE HEXTEXT
 *     families N
 */
#include "cluster/draw.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define PROBLEMS_MOST 16

static struct kinship k;
static struct draw_problem problems[PROBLEMS_MOST];
static struct draw_options options;
static size_t n_images, n_leaves, nodes_room, children_room, n_steps;

static void *room(size_t n, size_t size)
{
    void *p = calloc(n > 0 ? n : 1, size);

    if (p == NULL)
        abort();
    return p;
}

static uint64_t number(void)
{
    const char *word = strtok(NULL, " \n");

    if (word == NULL)
        abort();
    return strcmp(word, "-") == 0 ? UINT32_MAX : strtoull(word, NULL, 10);
}

static char *text(bool hex)
{
    const char *word = strtok(NULL, " \n");
    char *out;

    if (word == NULL)
        abort();
    if (strcmp(word, "-") == 0)
        return NULL;
    out = room(strlen(word) + 1, 1);
    for (size_t i = 0; !hex && word[i] != 0; i++)
        out[i] = word[i];
    for (size_t i = 0; hex && word[2 * i] != 0; i++) {
        const char byte[3] = {word[2 * i], word[2 * i + 1]};

        out[i] = (char)strtoul(byte, NULL, 16);
    }
    return out;
}

static void read_image(void)
{
    struct kinship_image *i = &k.images[n_images++];

    i->path = text(true);
    i->format = text(false);
    i->virtual_size = number();
    i->data_bytes = number();
    i->read_bytes = number();
    i->allocated_bytes = number();
    i->cached = number();
    i->in_use = number();
    i->backing = (uint32_t)number();
    i->backing_path = text(true);
    i->guest = text(true);
    i->fixed = text(true);
}

static void read_leaf(void)
{
    struct kinship_leaf *leaf = &k.leaves[n_leaves];

    leaf->first = (uint32_t)number();
    leaf->count = (uint32_t)number();
    k.family[n_leaves] = (uint32_t)number();
    k.tree.nodes[n_leaves++].leaves = 1;
    k.tree.n_nodes = k.tree.n_leaves = n_leaves;
    k.tree.root = (uint32_t)k.tree.n_nodes - 1;
}

static void read_join(void)
{
    struct dendrogram *d = &k.tree;
    struct dendrogram_node *node = &d->nodes[d->n_nodes];

    if (d->n_nodes == nodes_room)
        abort();
    node->different = number();
    node->shared = number();
    node->first = (uint32_t)d->n_children;
    for (const char *word; (word = strtok(NULL, " \n")) != NULL;) {
        uint32_t child = (uint32_t)strtoul(word, NULL, 10);

        if (child >= d->n_nodes || d->n_children == children_room)
            abort();
        node->leaves += d->nodes[child].leaves;
        node->count++;
        d->children[d->n_children++] = child;
    }
    d->root = (uint32_t)d->n_nodes++;
}

static void read_matrix(void)
{
    k.different = room(k.n * k.n, sizeof *k.different);
    k.shared = room(k.n * k.n, sizeof *k.shared);
    for (size_t i = 0; i < k.n * k.n; i++)
        k.different[i] = number();
    for (size_t i = 0; i < k.n * k.n; i++)
        k.shared[i] = number();
}

static void read_step(void)
{
    struct plan_step *step;

    if (k.plan.steps == NULL)
        k.plan.steps = room(k.n, sizeof *k.plan.steps);
    k.plan.n = k.n;
    step = &k.plan.steps[n_steps++];
    step->action = (enum plan_action)number();
    step->backing = (uint32_t)number();
    step->overlay_bytes = number();
    step->saves_bytes = number();
    k.plan.saves_bytes += step->saves_bytes;
}

static void read_neighbours(void)
{
    k.n_neighbours = number();
    k.neighbours = room(k.n * k.n_neighbours, sizeof *k.neighbours);
    for (size_t i = 0; i < k.n * k.n_neighbours; i++) {
        k.neighbours[i].image = (uint32_t)number();
        k.neighbours[i].different = number();
        k.neighbours[i].shared = number();
    }
}

static void read_problem(void)
{
    struct draw_problem *p = &problems[options.n_problems++];

    if (options.n_problems > PROBLEMS_MOST)
        abort();
    p->warning = number();
    p->path = text(true);
    p->code = text(false);
    p->text = text(true);
}

static void read_leaves(void)
{
    k.n_leaves = number();
    k.leaves = room(k.n_leaves, sizeof *k.leaves);
    k.family = room(k.n_leaves, sizeof *k.family);
    nodes_room = 2 * k.n_leaves;
    children_room = 2 * k.n_leaves;
    k.tree.nodes = room(nodes_room, sizeof *k.tree.nodes);
    k.tree.children = room(children_room, sizeof *k.tree.children);
}

static void read_line(char *line)
{
    const char *word = strtok(line, " \n");

    if (word == NULL)
        return;
    if (strcmp(word, "images") == 0) {
        k.n = number();
        k.images = room(k.n, sizeof *k.images);
    } else if (strcmp(word, "families") == 0) {
        k.n_families = number();
    } else if (strcmp(word, "leaves") == 0) {
        read_leaves();
    } else if (strcmp(word, "image") == 0) {
        read_image();
    } else if (strcmp(word, "leaf") == 0) {
        read_leaf();
    } else if (strcmp(word, "join") == 0) {
        read_join();
    } else if (strcmp(word, "matrix") == 0) {
        read_matrix();
    } else if (strcmp(word, "plan") == 0) {
        read_step();
    } else if (strcmp(word, "neighbours") == 0) {
        read_neighbours();
    } else if (strcmp(word, "problem") == 0) {
        read_problem();
    } else {
        abort();
    }
}

static int draw(struct buf *out, const char *format, struct error *e)
{
    if (strcmp(format, "text") == 0)
        return draw_text(out, &k, &options, e);
    if (strcmp(format, "json") == 0)
        return draw_json(out, &k, &options, e);
    if (strcmp(format, "newick") == 0)
        return draw_newick(out, &k, e);
    if (strcmp(format, "dot") == 0)
        return draw_dot(out, &k, e);
    if (strcmp(format, "svg") == 0)
        return draw_svg(out, &k, e);
    if (strcmp(format, "html") == 0)
        return draw_html(out, &k, &options, e);
    return err_set(e, ERR_USAGE, "no format %s", format);
}

static void release(void)
{
    for (size_t i = 0; i < k.n; i++) {
        free(k.images[i].path);
        free(k.images[i].format);
        free(k.images[i].guest);
        free(k.images[i].backing_path);
        free(k.images[i].fixed);
    }
    for (size_t i = 0; i < options.n_problems; i++) {
        free((char *)problems[i].path);
        free((char *)problems[i].code);
        free((char *)problems[i].text);
    }
    free(k.images);
    free(k.leaves);
    free(k.family);
    free(k.tree.nodes);
    free(k.tree.children);
    free(k.different);
    free(k.shared);
    free(k.neighbours);
    free(k.plan.steps);
}

int main(int argc, char **argv)
{
    struct error e = {};
    AUTO_BUF out = {};
    char *line = NULL;
    size_t size = 0;
    int result;

    if (argc < 3)
        return 2;
    k.threshold = 0.9;
    k.tree.root = UINT32_MAX;
    options.problems = problems;
    options.columns = strtoul(argv[2], NULL, 10);
    for (int i = 3; i < argc; i++) {
        options.ascii |= strcmp(argv[i], "ascii") == 0;
        options.colour |= strcmp(argv[i], "colour") == 0;
        options.plan |= strcmp(argv[i], "plan") == 0;
    }
    while (getline(&line, &size, stdin) > 0)
        read_line(line);
    free(line);
    result = draw(&out, argv[1], &e);
    if (result == 0)
        fwrite(out.bytes, 1, out.length, stdout);
    else
        fprintf(stderr, "draw-sample: %s\n", e.msg);
    release();
    return result == 0 ? 0 : 1;
}
