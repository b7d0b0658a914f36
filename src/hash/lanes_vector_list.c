/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "hash/lanes_vector.h"

const struct lane_kernel *const lanes_vector[] = {
#ifdef __x86_64__
    &lanes_vector_16,
    &lanes_vector_8,
#endif
    &lanes_vector_4,
    NULL,
};
