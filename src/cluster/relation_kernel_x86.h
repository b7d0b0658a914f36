/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef STEMMA_CLUSTER_RELATION_KERNEL_X86_H
#define STEMMA_CLUSTER_RELATION_KERNEL_X86_H

#include "cluster/relation_kernel.h"

extern const struct relation_kernel relation_kernel_avx512_popcnt; /* with VPOPCNTDQ */
extern const struct relation_kernel relation_kernel_avx512;        /* BW */
extern const struct relation_kernel relation_kernel_avx2;

#endif
