/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef STEMMA_CLI_IN_USE_H
#define STEMMA_CLI_IN_USE_H

#include "cli/common.h"

/* Marks the sources that --in-use names, by file, not by name. ERR_USAGE for one that is none of
 * them. */
[[nodiscard]] int mark_in_use(struct session *s, const struct strings *names, struct error *e);

#endif
