/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "../test.h"

#include "sig/compare.h"
#include "sig_make.h"

#include <string.h>
#include <sys/resource.h>

#define N 40

static uint64_t bytes_of(size_t cluster, uint64_t size)
{
    uint64_t start = cluster * CLUSTER_SIZE;

    if (start >= size)
        return 0;
    return size - start < CLUSTER_SIZE ? size - start : CLUSTER_SIZE;
}

/* Counts cluster by cluster, by definition. */
static void assert_counts(const unsigned *a, uint64_t size_a, const unsigned *b, uint64_t size_b)
{
    AUTO(sig) *s = sig_of_numbers(size_a, a, sig_clusters(&(struct sig){.size = size_a}));
    AUTO(sig) *t = sig_of_numbers(size_b, b, sig_clusters(&(struct sig){.size = size_b}));
    uint64_t size = size_a > size_b ? size_a : size_b, equal = 0, zero = 0, different = 0;
    uint64_t first = UINT64_MAX, in_ranges = 0;
    uint8_t differs[N + 2] = {};
    struct comparison c;
    struct error e;

    for (size_t i = 0; i < N; i++) {
        unsigned p = bytes_of(i, size_a) > 0 ? a[i] : 0, q = bytes_of(i, size_b) > 0 ? b[i] : 0;

        *(p != q ? &different : p == 0 ? &zero : &equal) += bytes_of(i, size);
        if (p != q && first == UINT64_MAX)
            first = i * CLUSTER_SIZE;
        differs[i] = p != q;
    }
    assert_ok(compare_signatures(s, t, &c, &e), &e);
    assert_int_equal(c.sizes[0], size_a);
    assert_int_equal(c.sizes[1], size_b);
    assert_int_equal(c.equal_bytes, equal);
    assert_int_equal(c.zero_bytes, zero);
    assert_int_equal(c.different_bytes, different);
    assert_true(c.first_difference == first);
    assert_int_equal(c.granularity, CLUSTER_SIZE);
    for (size_t i = 0; i < c.n_ranges; i++) {
        assert_int_equal(c.ranges[i].offset % CLUSTER_SIZE, 0);
        for (uint64_t at = c.ranges[i].offset; at < c.ranges[i].offset + c.ranges[i].length;
             at += CLUSTER_SIZE) {
            assert_int_equal(differs[at / CLUSTER_SIZE], 1);
            differs[at / CLUSTER_SIZE] = 2;
        }
        in_ranges += c.ranges[i].length;
        if (i > 0) /* merged */
            assert_true(c.ranges[i].offset > c.ranges[i - 1].offset + c.ranges[i - 1].length);
    }
    assert_int_equal(in_ranges, different);
    assert_null(memchr(differs, 1, sizeof differs));
    comparison_release(&c);
}

static void counts_and_ranges_are_those_of_each_cluster(void **state)
{
    const uint64_t ends[] = {0, 1, 100, 4096, CLUSTER_SIZE - 1};
    unsigned a[N], b[N];

    (void)state;
    srand(20);
    for (size_t round = 0; round < 3000; round++) {
        unsigned kinds = 1 + (unsigned)rand() % 4;
        uint64_t size_a = (uint64_t)(rand() % N) * CLUSTER_SIZE + ends[rand() % 5];
        uint64_t size_b =
            rand() % 3 == 0 ? size_a : (uint64_t)(rand() % N) * CLUSTER_SIZE + ends[rand() % 5];

        for (size_t i = 0; i < N; i++) {
            a[i] = (unsigned)rand() % (kinds + 1);
            b[i] = rand() % 2 ? a[i] : (unsigned)rand() % (kinds + 1);
        }
        assert_counts(a, size_a, b, size_b);
    }
}

static void a_disk_equals_itself_also_with_zeros_behind_it(void **state)
{
    const unsigned number[] = {1, 2, 0, 3};
    AUTO(sig) *a = sig_of_numbers(3 * CLUSTER_SIZE + 5, number, 4);
    AUTO(sig) *b = sig_of_numbers(9 * CLUSTER_SIZE, number, 4);
    struct comparison c;
    struct error e;

    (void)state;
    assert_ok(compare_signatures(a, b, &c, &e), &e);
    assert_int_equal(c.different_bytes, 0);
    assert_int_equal(c.equal_bytes, 3 * CLUSTER_SIZE);
    assert_int_equal(c.zero_bytes, 6 * CLUSTER_SIZE);
    assert_int_equal(c.n_ranges, 0);
    comparison_release(&c);
}

static void a_million_ranges_are_counted_exactly_on_a_small_stack(void **state)
{
    const size_t n = 2000000;
    unsigned *a = calloc(n, sizeof *a), *b = calloc(n, sizeof *b);
    AUTO(sig) *s = NULL, *t = NULL;
    struct comparison c;
    struct error e;

    (void)state;
    for (size_t i = 0; i < n; i++) {
        a[i] = (unsigned)i + 1;
        b[i] = i % 2 ? (unsigned)i + 1 : 0;
    }
    s = sig_of_numbers(n * CLUSTER_SIZE, a, n);
    t = sig_of_numbers(n * CLUSTER_SIZE, b, n);
    assert_ok(compare_signatures(s, t, &c, &e), &e);
    assert_int_equal(c.n_ranges, n / 2);
    assert_int_equal(c.different_bytes, n / 2 * CLUSTER_SIZE);
    assert_int_equal(c.ranges[n / 2 - 1].offset, (n - 2) * CLUSTER_SIZE);
    comparison_release(&c);
    free(a);
    free(b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(counts_and_ranges_are_those_of_each_cluster),
        cmocka_unit_test(a_disk_equals_itself_also_with_zeros_behind_it),
        cmocka_unit_test(a_million_ranges_are_counted_exactly_on_a_small_stack),
    };
    const struct rlimit stack = {256 << 10, RLIM_INFINITY};

    setrlimit(RLIMIT_STACK, &stack);
    hash_init();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
