/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "cluster/relation_kernel.h"

#include "cluster/relation_kernel_x86.h"

#include <assert.h>

/* Vectors of the compiler: SSE2 on x86-64, NEON on AArch64. */
typedef uint8_t u8x16 __attribute__((vector_size(16)));
typedef uint16_t u16x8 __attribute__((vector_size(16)));

static bool usable_always(void)
{
    return true;
}

/* Lanes of eight bits hold 255 matches, lanes of sixteen 65,535. */
#define LANE_STEPS 255

static void equal8_generic(const uint8_t *a, const uint8_t *b, size_t stride, size_t length,
                           uint32_t count[KERNEL_CELLS])
{
    for (size_t cell = 0; cell < KERNEL_CELLS; cell++) {
        const u8x16 *left = (const u8x16 *)(a + cell / KERNEL_ROWS * stride);
        const u8x16 *right = (const u8x16 *)(b + cell % KERNEL_ROWS * stride);
        size_t n = length / 16;

        while (n > 0) {
            size_t steps = n < LANE_STEPS ? n : LANE_STEPS;
            u8x16 sum = {0};

            for (size_t k = 0; k < steps; k++)
                sum -= (u8x16)(left[k] == right[k]);
            for (size_t lane = 0; lane < 16; lane++)
                count[cell] += sum[lane];
            left += steps;
            right += steps;
            n -= steps;
        }
    }
}

static void equal16_generic(const uint16_t *a, const uint16_t *b, size_t stride, size_t length,
                            uint32_t count[KERNEL_CELLS])
{
    static_assert(KERNEL_LENGTH_MAX / 8 < 65536);
    for (size_t cell = 0; cell < KERNEL_CELLS; cell++) {
        const u16x8 *left = (const u16x8 *)(a + cell / KERNEL_ROWS * stride);
        const u16x8 *right = (const u16x8 *)(b + cell % KERNEL_ROWS * stride);
        u16x8 sum = {0};

        for (size_t k = 0; k < length / 8; k++)
            sum -= (u16x8)(left[k] == right[k]);
        for (size_t lane = 0; lane < 8; lane++)
            count[cell] += sum[lane];
    }
}

static void both_generic(const uint64_t *a, const uint64_t *b, size_t stride, size_t length,
                         uint32_t count[KERNEL_CELLS])
{
    for (size_t cell = 0; cell < KERNEL_CELLS; cell++) {
        const uint64_t *left = a + cell / KERNEL_ROWS * stride;
        const uint64_t *right = b + cell % KERNEL_ROWS * stride;

        for (size_t k = 0; k < length; k++)
            count[cell] += (uint32_t)__builtin_popcountll(left[k] & right[k]);
    }
}

static const struct relation_kernel kernel_generic = {
    .name = "generic",
    .usable = usable_always,
    .equal8 = equal8_generic,
    .equal16 = equal16_generic,
    .both = both_generic,
};

const struct relation_kernel *const relation_kernels[] = {
#ifdef __x86_64__
    &relation_kernel_avx512_popcnt,
    &relation_kernel_avx512,
    &relation_kernel_avx2,
#endif
    &kernel_generic,
};
const size_t relation_n_kernels = sizeof relation_kernels / sizeof *relation_kernels;

const struct relation_kernel *relation_kernel_best(void)
{
    size_t k = 0;

    while (!relation_kernels[k]->usable())
        k++;
    return relation_kernels[k];
}
