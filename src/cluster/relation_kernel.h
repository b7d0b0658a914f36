/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Counts of equal labels, four rows against four at a time so that each load serves four compares.
 * Measured on one core of an AMD EPYC (Zen 4): docs/architecture.md. */
#ifndef STEMMA_CLUSTER_RELATION_KERNEL_H
#define STEMMA_CLUSTER_RELATION_KERNEL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define KERNEL_ROWS 4
#define KERNEL_CELLS (KERNEL_ROWS * KERNEL_ROWS)
#define KERNEL_UNIT 64          /* lengths and strides are multiples of this many labels */
#define KERNEL_LENGTH_MAX 65536 /* labels of a row, at most */

/* Row x of `a` against row y of `b` adds to count[x * KERNEL_ROWS + y]. Rows are `stride` elements
 * apart; pointers are aligned to 64 bytes. */
struct relation_kernel {
    const char *name;
    bool (*usable)(void);
    /* Positions with equal labels of 8 and of 16 bits. */
    void (*equal8)(const uint8_t *a, const uint8_t *b, size_t stride, size_t length,
                   uint32_t count[KERNEL_CELLS]);
    void (*equal16)(const uint16_t *a, const uint16_t *b, size_t stride, size_t length,
                    uint32_t count[KERNEL_CELLS]);
    /* Bits set in both of two bitmaps; stride and length in words. */
    void (*both)(const uint64_t *a, const uint64_t *b, size_t stride, size_t length,
                 uint32_t count[KERNEL_CELLS]);
};

/* Fastest first; the last one works everywhere. */
extern const struct relation_kernel *const relation_kernels[];
extern const size_t relation_n_kernels;

/* The fastest that this CPU can run. */
const struct relation_kernel *relation_kernel_best(void);

#endif
