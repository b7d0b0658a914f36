/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef STEMMA_HASH_ZERO_H
#define STEMMA_HASH_ZERO_H

#include <stdbool.h>
#include <stddef.h>

/* True when all `length` bytes are zero (also for none). Non-zero data ends it at once; zeros are
 * tested at memory speed. */
bool zero_test(const void *bytes, size_t length);

#endif
