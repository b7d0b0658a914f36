/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifdef __x86_64__
#include "cluster/relation_kernel_x86.h"

#include <immintrin.h>

#define WITH_AVX512 __attribute__((target("avx512f,avx512bw,popcnt")))
#define WITH_AVX512_POPCNT __attribute__((target("avx512f,avx512bw,avx512vpopcntdq,popcnt")))
#define WITH_AVX2 __attribute__((target("avx2,popcnt")))
#define UNROLL _Pragma("GCC unroll 4")

static bool usable_avx512_popcnt(void)
{
    return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
           __builtin_cpu_supports("avx512vpopcntdq") && __builtin_cpu_supports("popcnt");
}

static bool usable_avx512(void)
{
    return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
           __builtin_cpu_supports("popcnt");
}

static bool usable_avx2(void)
{
    return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("popcnt");
}

/* Eight counters and six vectors stay in registers: four rows against two. */
WITH_AVX512 static void equal8_avx512(const uint8_t *a, const uint8_t *b, size_t stride,
                                      size_t length, uint32_t count[KERNEL_CELLS])
{
    for (size_t y = 0; y < KERNEL_ROWS; y += 2) {
        const uint8_t *b0 = b + y * stride, *b1 = b0 + stride;
        uint64_t n[KERNEL_ROWS][2] = {0};

        for (size_t k = 0; k < length; k += 64) {
            __m512i w0 = _mm512_load_si512(b0 + k), w1 = _mm512_load_si512(b1 + k);

            UNROLL for (size_t x = 0; x < KERNEL_ROWS; x++)
            {
                __m512i v = _mm512_load_si512(a + x * stride + k);

                n[x][0] += (uint64_t)_mm_popcnt_u64(_mm512_cmpeq_epi8_mask(v, w0));
                n[x][1] += (uint64_t)_mm_popcnt_u64(_mm512_cmpeq_epi8_mask(v, w1));
            }
        }
        for (size_t x = 0; x < KERNEL_ROWS; x++) {
            count[x * KERNEL_ROWS + y] += (uint32_t)n[x][0];
            count[x * KERNEL_ROWS + y + 1] += (uint32_t)n[x][1];
        }
    }
}

WITH_AVX512 static void equal16_avx512(const uint16_t *a, const uint16_t *b, size_t stride,
                                       size_t length, uint32_t count[KERNEL_CELLS])
{
    for (size_t y = 0; y < KERNEL_ROWS; y += 2) {
        const uint16_t *b0 = b + y * stride, *b1 = b0 + stride;
        uint32_t n[KERNEL_ROWS][2] = {0};

        for (size_t k = 0; k < length; k += 32) {
            __m512i w0 = _mm512_load_si512(b0 + k), w1 = _mm512_load_si512(b1 + k);

            UNROLL for (size_t x = 0; x < KERNEL_ROWS; x++)
            {
                __m512i v = _mm512_load_si512(a + x * stride + k);

                n[x][0] += (uint32_t)_mm_popcnt_u32(_mm512_cmpeq_epi16_mask(v, w0));
                n[x][1] += (uint32_t)_mm_popcnt_u32(_mm512_cmpeq_epi16_mask(v, w1));
            }
        }
        for (size_t x = 0; x < KERNEL_ROWS; x++) {
            count[x * KERNEL_ROWS + y] += n[x][0];
            count[x * KERNEL_ROWS + y + 1] += n[x][1];
        }
    }
}

/* Bitmaps may end in the middle of a vector. */
WITH_AVX512_POPCNT static void both_avx512(const uint64_t *a, const uint64_t *b, size_t stride,
                                           size_t length, uint32_t count[KERNEL_CELLS])
{
    for (size_t x = 0; x < KERNEL_ROWS; x++) {
        __m512i n[KERNEL_ROWS];

        for (size_t y = 0; y < KERNEL_ROWS; y++)
            n[y] = _mm512_setzero_si512();
        for (size_t k = 0; k < length; k += 8) {
            __mmask8 in = length - k < 8 ? (__mmask8)((1U << (length - k)) - 1) : 0xff;
            __m512i v = _mm512_maskz_loadu_epi64(in, a + x * stride + k);

            UNROLL for (size_t y = 0; y < KERNEL_ROWS; y++)
            {
                __m512i w = _mm512_maskz_loadu_epi64(in, b + y * stride + k);

                n[y] = _mm512_add_epi64(n[y], _mm512_popcnt_epi64(_mm512_and_si512(v, w)));
            }
        }
        for (size_t y = 0; y < KERNEL_ROWS; y++)
            count[x * KERNEL_ROWS + y] += (uint32_t)_mm512_reduce_add_epi64(n[y]);
    }
}

__attribute__((target("popcnt"))) static void both_popcnt(const uint64_t *a, const uint64_t *b,
                                                          size_t stride, size_t length,
                                                          uint32_t count[KERNEL_CELLS])
{
    for (size_t x = 0; x < KERNEL_ROWS; x++) {
        uint64_t n[KERNEL_ROWS] = {0};

        for (size_t k = 0; k < length; k++) {
            uint64_t v = a[x * stride + k];

            UNROLL for (size_t y = 0; y < KERNEL_ROWS; y++) n[y] +=
                (uint64_t)_mm_popcnt_u64(v & b[y * stride + k]);
        }
        for (size_t y = 0; y < KERNEL_ROWS; y++)
            count[x * KERNEL_ROWS + y] += (uint32_t)n[y];
    }
}

WITH_AVX2 static uint32_t sum_bytes(__m256i v)
{
    __m256i sad = _mm256_sad_epu8(v, _mm256_setzero_si256());
    __m128i half = _mm_add_epi64(_mm256_castsi256_si128(sad), _mm256_extracti128_si256(sad, 1));

    return (uint32_t)(_mm_cvtsi128_si64(half) + _mm_extract_epi64(half, 1));
}

/* Four rows against two: eight sums of bytes, emptied before they can overflow. */
#define AVX2_STEP ((size_t)32 * 255)

WITH_AVX2 static void equal8_avx2_part(const uint8_t *a, const uint8_t *b, size_t stride,
                                       size_t length, uint32_t *count)
{
    __m256i n[KERNEL_ROWS][2];

    for (size_t x = 0; x < KERNEL_ROWS; x++)
        n[x][0] = n[x][1] = _mm256_setzero_si256();
    for (size_t k = 0; k < length; k += 32) {
        __m256i w0 = _mm256_load_si256((const __m256i *)(b + k));
        __m256i w1 = _mm256_load_si256((const __m256i *)(b + stride + k));

        UNROLL for (size_t x = 0; x < KERNEL_ROWS; x++)
        {
            __m256i v = _mm256_load_si256((const __m256i *)(a + x * stride + k));

            n[x][0] = _mm256_sub_epi8(n[x][0], _mm256_cmpeq_epi8(v, w0));
            n[x][1] = _mm256_sub_epi8(n[x][1], _mm256_cmpeq_epi8(v, w1));
        }
    }
    for (size_t x = 0; x < KERNEL_ROWS; x++) {
        count[x * KERNEL_ROWS] += sum_bytes(n[x][0]);
        count[x * KERNEL_ROWS + 1] += sum_bytes(n[x][1]);
    }
}

WITH_AVX2 static void equal8_avx2(const uint8_t *a, const uint8_t *b, size_t stride, size_t length,
                                  uint32_t count[KERNEL_CELLS])
{
    for (size_t y = 0; y < KERNEL_ROWS; y += 2) {
        for (size_t k = 0; k < length; k += AVX2_STEP)
            equal8_avx2_part(a + k, b + y * stride + k, stride,
                             length - k < AVX2_STEP ? length - k : AVX2_STEP, count + y);
    }
}

WITH_AVX2 static void equal16_avx2(const uint16_t *a, const uint16_t *b, size_t stride,
                                   size_t length, uint32_t count[KERNEL_CELLS])
{
    for (size_t cell = 0; cell < KERNEL_CELLS; cell++) {
        const uint16_t *left = a + cell / KERNEL_ROWS * stride;
        const uint16_t *right = b + cell % KERNEL_ROWS * stride;
        __m256i n = _mm256_setzero_si256();
        uint16_t lanes[16];

        for (size_t k = 0; k < length; k += 16)
            n = _mm256_sub_epi16(
                n, _mm256_cmpeq_epi16(_mm256_load_si256((const __m256i *)(left + k)),
                                      _mm256_load_si256((const __m256i *)(right + k))));
        _mm256_storeu_si256((__m256i *)lanes, n);
        for (size_t lane = 0; lane < 16; lane++)
            count[cell] += lanes[lane];
    }
}

const struct relation_kernel relation_kernel_avx512_popcnt = {
    .name = "avx512-vpopcntdq",
    .usable = usable_avx512_popcnt,
    .equal8 = equal8_avx512,
    .equal16 = equal16_avx512,
    .both = both_avx512,
};

const struct relation_kernel relation_kernel_avx512 = {
    .name = "avx512",
    .usable = usable_avx512,
    .equal8 = equal8_avx512,
    .equal16 = equal16_avx512,
    .both = both_popcnt,
};

const struct relation_kernel relation_kernel_avx2 = {
    .name = "avx2",
    .usable = usable_avx2,
    .equal8 = equal8_avx2,
    .equal16 = equal16_avx2,
    .both = both_popcnt,
};
#endif
