/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The family tree for people and programs. Each writes a whole document into `out`. */
#ifndef STEMMA_CLUSTER_DRAW_H
#define STEMMA_CLUSTER_DRAW_H

#include "base/buf.h"
#include "cluster/kinship.h"

/* An image that failed, or a warning: what "errors" and "warnings" of the documents say. */
struct draw_problem {
    const char *path, *code, *text;
    bool warning;
};

struct draw_options {
    size_t columns; /* of the terminal; lines are never wider */
    bool ascii;     /* no box drawing */
    bool colour;    /* SGR colours for terminals */
    bool plan;      /* text: show the plan and the commands */
    const struct draw_problem *problems;
    size_t n_problems;
};

[[nodiscard]] int draw_text(struct buf *out, const struct kinship *k, const struct draw_options *o,
                            struct error *e);
[[nodiscard]] int draw_json(struct buf *out, const struct kinship *k, const struct draw_options *o,
                            struct error *e);
[[nodiscard]] int draw_newick(struct buf *out, const struct kinship *k, struct error *e);
[[nodiscard]] int draw_dot(struct buf *out, const struct kinship *k, struct error *e);
[[nodiscard]] int draw_svg(struct buf *out, const struct kinship *k, struct error *e);
[[nodiscard]] int draw_html(struct buf *out, const struct kinship *k, const struct draw_options *o,
                            struct error *e);

/* The shortest names that tell the images apart: the file name, with as many parents as needed; n
 * strings for free(), array and strings owned by the caller. */
[[nodiscard]] int draw_names(const struct kinship *k, char ***out, struct error *e);

#endif
