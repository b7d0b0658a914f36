/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "../test.h"

#include "cluster/plan.h"
#include "cluster/relation.h"
#include "relatives.h"

static struct pool *pool;

static struct sketch make(const struct family *f, size_t neighbours)
{
    struct sketch s;
    struct error e;

    assert_ok(sketch_compute(f->list, f->n, neighbours, pool, NULL, NULL, &s, &e), &e);
    return s;
}

static void neighbours_are_exact_and_in_order(void **state)
{
    (void)state;
    for (unsigned round = 0; round < 20; round++) {
        struct family f = family_random(random_below(60), 1 + random_below(300), 3, 4);
        struct sketch s = make(&f, 4);

        for (size_t i = 0; i < f.n; i++) {
            const struct neighbour *list = s.neighbours + i * 4;

            for (size_t k = 0; k < 4 && list[k].image != UINT32_MAX; k++) {
                uint64_t different, shared;

                relation_pair(f.list[i], f.list[list[k].image], &different, &shared);
                assert_int_equal(list[k].different, different);
                assert_int_equal(list[k].shared, shared);
                assert_int_equal(sketch_different(&s, i, list[k].image), different);
                assert_int_equal(sketch_shared(&s, list[k].image, i), shared);
                assert_true(k == 0 || list[k - 1].shared >= shared);
            }
            assert_int_equal(sketch_shared(&s, i, i), f.sigs[i].data_bytes);
        }
        sketch_release(&s);
        family_release(&f);
    }
}

/* With every position in the sample, only the last cluster's cut is not known. */
static void few_positions_are_all_taken(void **state)
{
    struct family f = family_random(40, 200, 3, 4);
    struct sketch s = make(&f, 2);

    (void)state;
    assert_int_equal(s.positions, s.population);
    for (size_t i = 0; i < f.n; i++) {
        for (size_t j = 0; j < f.n; j++) {
            uint64_t different, shared;

            relation_pair(f.list[i], f.list[j], &different, &shared);
            assert_true(sketch_different(&s, i, j) - different < CLUSTER_SIZE);
            assert_true(sketch_shared(&s, i, j) - shared < CLUSTER_SIZE || i == j);
        }
    }
    sketch_release(&s);
    family_release(&f);
}

static void estimates_are_near(void **state)
{
    struct family f = family_random(30, 40000, 2, 4);
    struct sketch s = make(&f, 2);

    (void)state;
    assert_int_equal(s.positions, 4096);
    for (size_t i = 0; i < f.n; i++) {
        for (size_t j = 0; j < i; j++) {
            uint64_t different, shared;
            double all = (double)s.population * CLUSTER_SIZE;

            relation_pair(f.list[i], f.list[j], &different, &shared);
            assert_true(((double)sketch_different(&s, i, j) - (double)different) / all < 0.04);
            assert_true(((double)sketch_different(&s, i, j) - (double)different) / all > -0.04);
            assert_true(((double)sketch_shared(&s, i, j) - (double)shared) / all < 0.04);
            assert_true(((double)sketch_shared(&s, i, j) - (double)shared) / all > -0.04);
        }
    }
    sketch_release(&s);
    family_release(&f);
}

static uint64_t saved(const struct family *f, const struct relation *r, const struct sketch *s)
{
    struct plan_image *images = calloc(f->n, sizeof *images);
    struct plan plan;
    struct error e;
    uint64_t saves;

    for (size_t i = 0; i < f->n; i++)
        images[i].allocated = f->sigs[i].data_bytes + 1000000;
    assert_ok(plan_compute(images, f->list, f->n, r, s, false, &plan, &e), &e);
    saves = plan.saves_bytes;
    plan_release(&plan);
    free(images);
    return saves;
}

/* Many clones that are the same fill one another's neighbours; the plan must find out of them. */
static void a_plan_from_neighbours_saves_nearly_as_much(void **state)
{
    struct family f = family_new(120, 6000);
    struct relation r;
    struct sketch s;
    struct error e;
    uint64_t exact, sketched;

    (void)state;
    for (size_t i = 0; i < f.n; i++) {
        uint32_t *row = f.content + i * f.clusters;

        if (i > 0)
            memcpy(row, f.content + (i < 4 ? 0 : i % 4) * f.clusters, f.clusters * sizeof *row);
        for (uint64_t p = 0; p < f.clusters; p++) {
            if (i == 0 || (i < 4 && random_below(5) == 0))
                row[p] = (uint32_t)(i * f.clusters + p + 1);
        }
        family_sign(&f, i, f.clusters * CLUSTER_SIZE);
    }
    assert_ok(relation_compute(f.list, f.n, pool, NULL, NULL, &r, &e), &e);
    s = make(&f, 4);
    exact = saved(&f, &r, NULL);
    sketched = saved(&f, NULL, &s);
    assert_true(sketched <= exact && sketched >= exact - exact / 1000);
    relation_release(&r);
    sketch_release(&s);
    family_release(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(neighbours_are_exact_and_in_order),
        cmocka_unit_test(few_positions_are_all_taken),
        cmocka_unit_test(estimates_are_near),
        cmocka_unit_test(a_plan_from_neighbours_saves_nearly_as_much),
    };
    struct error e;
    int failed;

    pool = pool_new(2, &e);
    failed = pool == NULL ? 1 : cmocka_run_group_tests(tests, NULL, NULL);
    pool_free(pool);
    return failed;
}
