/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A file that appears whole or not at all: written under another name in the same folder, synced,
 * and renamed. */
#ifndef STEMMA_APP_OUTPUT_H
#define STEMMA_APP_OUTPUT_H

#include "base/error.h"

#include <stdbool.h>

struct output {
    char *path;      /* final name; owned */
    char *temporary; /* owned; NULL while nothing is being written */
    int fd;          /* of the temporary file; -1: none */
};

/* `path` is copied. */
[[nodiscard]] int output_create(struct output *o, const char *path, struct error *e);
/* Syncs and renames (keep), or removes. */
[[nodiscard]] int output_commit(struct output *o, bool keep, struct error *e);
/* Removes what was not committed. */
void output_release(struct output *o);

#endif
