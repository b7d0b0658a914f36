/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Signatures for tests, without a disk. */
#ifndef STEMMA_TESTS_SIG_SIG_MAKE_H
#define STEMMA_TESTS_SIG_SIG_MAKE_H

#include "sig/sig.h"

/* A signature of `size` bytes whose cluster i has an id made of number[i], or is zero for 0. */
struct sig *sig_of_numbers(uint64_t size, const unsigned *number, size_t n);

#endif
