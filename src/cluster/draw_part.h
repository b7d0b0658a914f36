/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What the drawings share: labels, figures, the shape of the families. Inside cluster/ only. */
#ifndef STEMMA_CLUSTER_DRAW_PART_H
#define STEMMA_CLUSTER_DRAW_PART_H

#include "base/auto.h"
#include "base/buf.h"
#include "base/json.h"
#include "cluster/kinship.h"

/* Names that can be shown anywhere: escaped, also characters that turn or hide text. */
struct draw_labels {
    size_t n_images, n_leaves;
    char **image; /* of each image */
    char **leaf;  /* of each leaf: its image's, or "GUEST (2 disks)"; all different */
};

[[nodiscard]] int draw_labels_make(const struct kinship *k, struct draw_labels *out,
                                   struct error *e);
void draw_labels_release(struct draw_labels *l);

#define AUTO_LABELS __attribute__((cleanup(draw_labels_release))) struct draw_labels

/* text_escape() of a string. */
void draw_escape(struct buf *out, const char *bytes);

/* The buffer's bytes as a string for free(), and the buffer empty; NULL when it had failed. */
[[nodiscard]] char *draw_take_string(struct buf *b, struct error *e);

/* "98%": whole per cent, one decimal from 99 up, "<1%" for a trace, and 100% only for all. */
#define DRAW_PERCENT_MAX 8
char *draw_percent(char out[DRAW_PERCENT_MAX], double part);

/* A family, as the drawings order and title them. */
struct draw_family {
    uint32_t id;     /* in kinship.family */
    uint32_t root;   /* its subtree */
    uint32_t leaves; /* in it */
    uint32_t images;
    uint64_t bytes; /* allocated by its images */
    uint64_t saves; /* by the plan, 0 without one */
};

/* The families, those of several leaves first, then by what they save, by size, by number. An array
 * of k->n_families for free(). */
[[nodiscard]] struct draw_family *draw_families(const struct kinship *k, struct error *e);

/* Each image's leaf: an array of k->n for free(). */
[[nodiscard]] uint32_t *draw_leaf_of_image(const struct kinship *k, struct error *e);

/* Bytes that all images take on the host now. */
uint64_t draw_bytes_now(const struct kinship *k);

/* Leaves below `node`, in drawing order, into out[]; returns how many. No recursion. `stack` holds
 * n_nodes. */
size_t draw_leaves(const struct dendrogram *d, uint32_t node, uint32_t *stack, uint32_t *out);

/* A word for a shell: plain where it can be, else quoted, $'..' where it holds control
 * characters. */
void draw_shell_word(struct buf *out, const char *word);

/* Images that the rebase command of the plan names: those that change and those they come to stand
 * on. An array of k->n flags for free(). */
[[nodiscard]] bool *draw_plan_images(const struct kinship *k, struct error *e);

/* "rebase", "root", "keep", "fixed" */
const char *draw_action_name(enum plan_action action);
const char *draw_linkage_name(enum linkage linkage);

/* Members of image i that tell where it lies and what may happen to it, for JSON and the page. */
void draw_json_place(struct json *j, const struct kinship *k, size_t i);

/* Members of the plan's step for image i. */
void draw_json_step(struct json *j, const struct kinship *k, size_t i);

#endif
