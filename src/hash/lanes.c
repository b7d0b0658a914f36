/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "hash/lanes.h"

#ifdef STEMMA_LANES_BLAKE3
#define PREFERRED lanes_blake3
#else
#define PREFERRED lanes_vector
#endif

const struct lane_kernel *lanes_choose(void)
{
    const struct lane_kernel *const *k = PREFERRED;

    while (!(*k)->usable())
        k++;
    return *k;
}
