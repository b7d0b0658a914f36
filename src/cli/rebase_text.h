/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The steps of a rebase for people, by image, and for programs, one by one. */
#ifndef STEMMA_CLI_REBASE_TEXT_H
#define STEMMA_CLI_REBASE_TEXT_H

#include "base/buf.h"
#include "base/json.h"
#include "cluster/replace.h"

/* Two lines or so for each image: what it becomes and where its original is. Names are told within
 * the folder that has them all, which the first line names after `title`. The words hold before and
 * after the steps were done; `done`: what undo could not remove is told as kept. items: those the
 * plan was made of, or NULL for undo and commit. */
[[nodiscard]] int rebase_text_steps(struct buf *out, const char *title,
                                    const struct replace_step *steps, size_t n,
                                    const struct replace_item *items, bool done, struct error *e);

/* "steps": [{"kind","path","to","backing","backing_format","text"}], in the order they are done. */
void rebase_json_steps(struct json *j, const struct replace_step *steps, size_t n);

#endif
