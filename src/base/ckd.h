/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Checked arithmetic: each stores the result and is true when it did not fit.
 * (<stdckdint.h> is not in both compilers that we build with.) */
#ifndef STEMMA_BASE_CKD_H
#define STEMMA_BASE_CKD_H

#include <stdbool.h>
#include <stdint.h>

#define ckd_add(result, a, b) __builtin_add_overflow((a), (b), (result))
#define ckd_sub(result, a, b) __builtin_sub_overflow((a), (b), (result))
#define ckd_mul(result, a, b) __builtin_mul_overflow((a), (b), (result))

static inline uint64_t min_u64(uint64_t a, uint64_t b)
{
    return a < b ? a : b;
}

static inline uint64_t max_u64(uint64_t a, uint64_t b)
{
    return a > b ? a : b;
}

static inline bool is_power_of_2(uint64_t n)
{
    return n != 0 && (n & (n - 1)) == 0;
}

/* ceil(n / unit), without overflow; unit > 0. */
static inline uint64_t div_up(uint64_t n, uint64_t unit)
{
    return n / unit + (n % unit != 0);
}

/* True when [offset, offset + length) does not lie within [0, size). */
static inline bool range_outside(uint64_t offset, uint64_t length, uint64_t size)
{
    return offset > size || length > size - offset;
}

#endif
