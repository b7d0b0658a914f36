/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef STEMMA_CLUSTER_KINSHIP_CHECK_H
#define STEMMA_CLUSTER_KINSHIP_CHECK_H

#include "cluster/kinship.h"

/* What came from the other side: every index within its array, leaves that tile the images, a tree
 * that is one, families in order, no circle of backing files. Sets the plan's sum. ERR_PEER. */
[[nodiscard]] int kinship_check(struct kinship *k, struct error *e);

#endif
