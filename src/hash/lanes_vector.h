/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Inside of hash/: the builds of lanes_vector.c. The number of lanes names the instruction set. */
#ifndef STEMMA_HASH_LANES_VECTOR_H
#define STEMMA_HASH_LANES_VECTOR_H

#include "hash/lanes.h"
#include "hash/lanes_cpu.h"

#if __BYTE_ORDER__ != __ORDER_LITTLE_ENDIAN__
#error "the lane kernel loads words as they stand: little endian only; build with -Dblake3_src"
#endif

extern const struct lane_kernel lanes_vector_16, lanes_vector_8, lanes_vector_4;

#if defined VECTOR_LANES && VECTOR_LANES == 16
#define VECTOR_KERNEL lanes_vector_16
#define VECTOR_NAME "avx512"
#define VECTOR_USABLE cpu_avx512
#elif defined VECTOR_LANES && VECTOR_LANES == 8
#define VECTOR_KERNEL lanes_vector_8
#define VECTOR_NAME "avx2"
#define VECTOR_USABLE cpu_avx2
#elif defined VECTOR_LANES
#define VECTOR_KERNEL lanes_vector_4
#define VECTOR_USABLE cpu_any
#if defined __x86_64__
#define VECTOR_NAME "sse2"
#elif defined __aarch64__
#define VECTOR_NAME "neon"
#else
#define VECTOR_NAME "portable"
#endif
#endif

#endif
