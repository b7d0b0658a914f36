/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Inside of hash/: what the processor has, and the system saves for it (the compilers' own cpuid
 * code looks at XCR0 too). */
#ifndef STEMMA_HASH_LANES_CPU_H
#define STEMMA_HASH_LANES_CPU_H

#include <stdbool.h>

static inline bool cpu_any(void)
{
    return true;
}

#ifdef __x86_64__
static inline bool cpu_sse41(void)
{
    return __builtin_cpu_supports("sse4.1");
}

static inline bool cpu_avx2(void)
{
    return __builtin_cpu_supports("avx2");
}

static inline bool cpu_avx512(void)
{
    return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512vl");
}
#endif

#endif
