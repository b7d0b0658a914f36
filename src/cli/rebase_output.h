/* SPDX-License-Identifier: GPL-2.0-or-later */
/* stemma rebase --output DIR: overlays in a folder of their own; the originals stay as they are. */
#ifndef STEMMA_CLI_REBASE_OUTPUT_H
#define STEMMA_CLI_REBASE_OUTPUT_H

#include "cli/common.h"
#include "cluster/kinship.h"

/* Where each image's overlay goes: path[i] for free(), NULL for images that the plan does not
 * rebase. NAME.qcow2, NAME being the image's file name without an image's extension, or with it
 * (and with its folders, joined by _) when two would be the same. */
[[nodiscard]] int rebase_output_names(const struct kinship *k, const char *folder, char **path,
                                      struct error *e);

/* What the overlay of image i stands on: the parent's overlay, or the parent itself. */
const char *rebase_output_backing(const struct kinship *k, char *const *path, size_t i);

/* Writes and verifies all of them, parents first; each appears under its name once it is verified.
 * sizes[i]: bytes written. What fails is told, and so is what stands on it. */
[[nodiscard]] int rebase_output_write(struct session *s, const struct kinship *k, char *const *path,
                                      uint64_t *sizes, struct error *e);

#endif
