/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Parts of the text drawing that stand in files of their own. */
#ifndef STEMMA_CLUSTER_DRAW_TEXT_H
#define STEMMA_CLUSTER_DRAW_TEXT_H

#include "cluster/draw_canvas.h"
#include "cluster/draw_part.h"

/* The plan: what each image becomes, what stays and why, and the command. */
[[nodiscard]] int draw_text_plan(struct canvas *c, const struct kinship *k,
                                 const struct draw_labels *labels, struct error *e);

/* "NAME (2.1 GiB)" of a family of one leaf, for free(); NULL when memory is short. */
[[nodiscard]] char *draw_unrelated_word(const struct kinship *k, const struct draw_labels *labels,
                                        const struct draw_family *family);

#endif
