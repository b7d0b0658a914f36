/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef STEMMA_CLI_KIN_H
#define STEMMA_CLI_KIN_H

#include "cli/common.h"
#include "cluster/kinship.h"

/* The kinship of the session's sources, with a plan: runs the job in the worker. kind and plan are
 * set here. */
[[nodiscard]] int kin_find(struct session *s, struct job *job, struct kinship *out,
                           struct error *e);

#endif
