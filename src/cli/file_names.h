/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef STEMMA_CLI_FILE_NAMES_H
#define STEMMA_CLI_FILE_NAMES_H

#include "cluster/kinship.h"

/* A file name for each image, without a slash and never the same twice: the shortest that tells it
 * from the others (only images[].path counts), its folders joined by _; folders called . and .. do
 * not count. n strings for free(), array and strings owned by the caller. */
[[nodiscard]] int file_names(const struct kinship *k, char ***out, struct error *e);
void file_names_free(char **names, size_t n);

#endif
