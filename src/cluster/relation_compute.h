/* SPDX-License-Identifier: GPL-2.0-or-later */
/* relation_compute() with a kernel of the caller's choice: for tests and benchmarks. */
#ifndef STEMMA_CLUSTER_RELATION_COMPUTE_H
#define STEMMA_CLUSTER_RELATION_COMPUTE_H

#include "cluster/relation.h"
#include "cluster/relation_kernel.h"

[[nodiscard]] int relation_compute_with(const struct relation_kernel *kernel,
                                        const struct sig *const *sigs, size_t n, struct pool *pool,
                                        const struct cancel *cancel, struct progress *progress,
                                        struct relation *out, struct error *e);

#endif
