/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Makes allocations fail. For tests that name the dependency `alloc_fail` of tests/meson.build: the
 * linker then sends malloc, calloc, realloc, strdup, strndup, asprintf and vasprintf of stemma's
 * own code here (those inside shared libraries stay as they are). */
#ifndef STEMMA_TESTS_ALLOC_FAIL_H
#define STEMMA_TESTS_ALLOC_FAIL_H

#include "base/error.h"

#include <stdint.h>

/* The n-th allocation from now on fails, in whichever thread, and only that one; 0: none. */
void alloc_fail_at(uint64_t n);

/* Allocations since alloc_fail_at(). */
uint64_t alloc_fail_count(void);

/* Calls run(arg, e) again and again, with the first, the second, ... allocation failing, until it
 * needs no more; returns how many there were. The test fails unless run() returns -1 with
 * ERR_MEMORY each time that one failed, and 0 at last. What it leaks AddressSanitizer tells. */
uint64_t alloc_fail_each(int (*run)(void *arg, struct error *e), void *arg);

#endif
