/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "../test.h"

#include "cluster/relation.h"
#include "cluster/relation_compute.h"
#include "relatives.h"

static struct pool *pool;

/* The definition, cluster by cluster over the table. */
static void count_plainly(const struct family *f, size_t i, size_t j, uint64_t *different,
                          uint64_t *shared)
{
    uint64_t size = f->sigs[i].size > f->sigs[j].size ? f->sigs[i].size : f->sigs[j].size;

    *different = *shared = 0;
    for (uint64_t p = 0; p * CLUSTER_SIZE < size; p++) {
        uint64_t length = size - p * CLUSTER_SIZE;
        uint32_t a = family_at(f, i, p), b = family_at(f, j, p);

        if (length > CLUSTER_SIZE)
            length = CLUSTER_SIZE;
        if (a != b)
            *different += length;
        else if (a != 0)
            *shared += length;
    }
}

static void check_family(const struct family *f, const struct relation_kernel *kernel)
{
    struct relation r;
    struct error e;

    assert_ok(relation_compute_with(kernel, f->list, f->n, pool, NULL, NULL, &r, &e), &e);
    assert_int_equal(r.n, f->n);
    for (size_t i = 0; i < f->n; i++) {
        for (size_t j = 0; j < f->n; j++) {
            uint64_t different, shared;

            count_plainly(f, i, j, &different, &shared);
            if (i == j)
                assert_int_equal(shared, f->sigs[i].data_bytes);
            if (r.different[i * f->n + j] != different || r.shared[i * f->n + j] != shared)
                fail_msg("%s: disks %zu and %zu of %zu: %ju %ju, not %ju %ju", kernel->name, i, j,
                         f->n, (uintmax_t)r.different[i * f->n + j],
                         (uintmax_t)r.shared[i * f->n + j], (uintmax_t)different,
                         (uintmax_t)shared);
        }
    }
    relation_release(&r);
}

static void check_with_all_kernels(const struct family *f)
{
    for (size_t k = 0; k < relation_n_kernels; k++) {
        if (relation_kernels[k]->usable())
            check_family(f, relation_kernels[k]);
    }
}

static void a_pair_is_what_counting_cluster_by_cluster_says(void **state)
{
    (void)state;
    for (unsigned round = 0; round < 60; round++) {
        struct family f = family_random(6, 1 + random_below(300), 2, 5);

        for (size_t i = 0; i < f.n; i++) {
            for (size_t j = 0; j < f.n; j++) {
                uint64_t expected[2], found[2];

                count_plainly(&f, i, j, &expected[0], &expected[1]);
                relation_pair(f.list[i], f.list[j], &found[0], &found[1]);
                assert_int_equal(found[0], expected[0]);
                assert_int_equal(found[1], expected[1]);
            }
        }
        family_release(&f);
    }
}

static void all_pairs_are_exact_with_every_kernel(void **state)
{
    (void)state;
    for (unsigned round = 0; round < 30; round++) {
        struct family f = family_random(random_below(40), 1 + random_below(700),
                                        1 + random_below(4), 1 + (uint32_t)random_below(9));

        check_with_all_kernels(&f);
        family_release(&f);
    }
}

static void disks_of_many_slabs_are_exact(void **state)
{
    struct family f = family_random(17, 9001, 3, 4);

    (void)state;
    check_with_all_kernels(&f);
    family_release(&f);
}

static void more_disks_than_a_tile_are_exact(void **state)
{
    struct family f = family_random(150, 130, 5, 3);

    (void)state;
    check_with_all_kernels(&f);
    family_release(&f);
}

static void columns_with_more_than_255_ids_are_exact(void **state)
{
    struct family f = family_new(530, 90);

    (void)state;
    for (size_t i = 0; i < f.n; i++) {
        for (uint64_t p = 0; p < f.clusters; p++) {
            uint32_t distinct = p % 9 == 0 ? 400 : p % 9 == 1 ? 256 : p % 9 == 2 ? 255 : 20;

            /* the first disks bring every one of them */
            f.content[i * f.clusters + p] =
                i < distinct ? (uint32_t)i + 1 : (uint32_t)random_below(distinct + 1);
        }
        family_sign(&f, i, f.clusters * CLUSTER_SIZE - i % 7 * 512);
    }
    check_with_all_kernels(&f);
    family_release(&f);
}

/* No counter of a kernel wraps. */
static void disks_that_agree_all_along_are_exact(void **state)
{
    struct family f = family_new(3, 9001);

    (void)state;
    for (uint64_t p = 0; p < f.clusters; p++) {
        f.content[p] = f.content[f.clusters + p] = (uint32_t)p + 1;
        f.content[2 * f.clusters + p] = p == 77 ? 0 : (uint32_t)p + 1;
    }
    for (size_t i = 0; i < f.n; i++)
        family_sign(&f, i, f.clusters * CLUSTER_SIZE - 512);
    check_with_all_kernels(&f);
    family_release(&f);
}

static void no_disk_and_empty_disks_are_no_trouble(void **state)
{
    struct family f = family_new(3, 4);

    (void)state;
    for (size_t i = 0; i < f.n; i++)
        family_sign(&f, i, i * 100000);
    check_with_all_kernels(&f);
    f.n = 0;
    check_with_all_kernels(&f);
    f.n = 3;
    family_release(&f);
}

static void data_far_apart_costs_only_what_it_is(void **state)
{
    struct id ids[2] = {{{1}}, {{2}}};
    struct sig_run runs[2] = {{5, 1, 0}, {UINT64_C(1) << 44, 1, 1}};
    struct sig a = {.size = UINT64_C(1) << 61, .n_runs = 2, .runs = runs, .n_ids = 2, .ids = ids};
    struct sig b = {.size = UINT64_C(6) << 16, .n_runs = 1, .runs = runs, .n_ids = 1, .ids = ids};
    const struct sig *list[2] = {&a, &b};
    struct relation r;
    struct error e;

    (void)state;
    assert_ok(relation_compute(list, 2, pool, NULL, NULL, &r, &e), &e);
    assert_int_equal(r.different[1], CLUSTER_SIZE);
    assert_int_equal(r.shared[2], CLUSTER_SIZE);
    relation_release(&r);
}

static void a_cancelled_run_ends(void **state)
{
    struct family f = family_random(10, 100, 2, 3);
    struct cancel cancel = {true};
    struct relation r;
    struct error e;

    (void)state;
    assert_int_equal(relation_compute(f.list, f.n, pool, &cancel, NULL, &r, &e), -1);
    assert_int_equal(e.code, ERR_CANCELLED);
    family_release(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_pair_is_what_counting_cluster_by_cluster_says),
        cmocka_unit_test(all_pairs_are_exact_with_every_kernel),
        cmocka_unit_test(disks_of_many_slabs_are_exact),
        cmocka_unit_test(more_disks_than_a_tile_are_exact),
        cmocka_unit_test(columns_with_more_than_255_ids_are_exact),
        cmocka_unit_test(disks_that_agree_all_along_are_exact),
        cmocka_unit_test(no_disk_and_empty_disks_are_no_trouble),
        cmocka_unit_test(data_far_apart_costs_only_what_it_is),
        cmocka_unit_test(a_cancelled_run_ends),
    };
    struct error e;
    int failed;

    pool = pool_new(3, &e);
    failed = pool == NULL ? 1 : cmocka_run_group_tests(tests, NULL, NULL);
    pool_free(pool);
    return failed;
}
