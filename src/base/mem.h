/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Allocation with checked sizes. Zeroed; never NULL for zero elements; NULL and ERR_MEMORY on
 * failure. */
#ifndef STEMMA_BASE_MEM_H
#define STEMMA_BASE_MEM_H

#include "base/error.h"

#include <stddef.h>

/* n elements of `size` bytes, for free(). */
[[nodiscard]] void *mem_array(size_t n, size_t size, const char *what, struct error *e);

/* Room for at least `needed` elements in the growing array *array of *capacity elements (doubling);
 * on failure the array is as it was. Returns 0 or -1. New elements are zeroed. */
[[nodiscard]] int mem_grow(void *array, size_t *capacity, size_t needed, size_t size,
                           const char *what, struct error *e);

/* A copy of the text, for free(). */
[[nodiscard]] char *mem_string(const char *text, struct error *e);

/* Formatted text, for free(). */
[[nodiscard]] char *mem_printf(struct error *e, const char *format, ...) PRINTF_LIKE(2, 3);

#endif
