/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "../test.h"

#include "cluster/dendrogram.h"
#include "relatives.h"

#include <stdio.h>

/* A table of distances; shared is 1,000,000 less the distance unless a table says otherwise. */
struct table {
    size_t n;
    const uint64_t *different;
    const uint64_t *shared;
};

static uint64_t at_different(const void *arg, size_t i, size_t j)
{
    const struct table *t = arg;

    return t->different[i * t->n + j];
}

static uint64_t at_shared(const void *arg, size_t i, size_t j)
{
    const struct table *t = arg;

    return t->shared != NULL ? t->shared[i * t->n + j] : 1000000 - t->different[i * t->n + j];
}

static struct dendrogram build(size_t n, const uint64_t *different, const uint64_t *shared,
                               enum linkage linkage)
{
    struct table t = {n, different, shared};
    struct dendrogram_input in = {n, at_different, at_shared, &t};
    struct dendrogram d;
    struct error e;

    assert_ok(dendrogram_build(&in, linkage, &d, &e), &e);
    return d;
}

/* Newick-like: "(0 1:5 (2 3):5)". Small trees only. */
static void write_tree(const struct dendrogram *d, uint32_t node, char **at)
{
    const struct dendrogram_node *x = d->nodes + node;

    if (x->count == 0) {
        *at += sprintf(*at, "%u", node);
        return;
    }
    *at += sprintf(*at, "(");
    for (uint32_t k = 0; k < x->count; k++) {
        if (k > 0)
            *at += sprintf(*at, " ");
        write_tree(d, d->children[x->first + k], at);
    }
    *at += sprintf(*at, ")%ju", (uintmax_t)x->different);
}

static void assert_tree(size_t n, const uint64_t *different, enum linkage linkage,
                        const char *expected)
{
    struct dendrogram d = build(n, different, NULL, linkage);
    char text[512], *at = text;

    *at = '\0';
    if (d.root != UINT32_MAX)
        write_tree(&d, d.root, &at);
    assert_string_equal(text, expected);
    dendrogram_release(&d);
}

static void assert_all_linkages(size_t n, const uint64_t *different, const char *expected)
{
    assert_tree(n, different, LINKAGE_SINGLE, expected);
    assert_tree(n, different, LINKAGE_AVERAGE, expected);
    assert_tree(n, different, LINKAGE_COMPLETE, expected);
}

static void two_tied_pairs_of_strangers_stay_two_families(void **state)
{
    const uint64_t t[] = {
        0,  0,  99, 99, //
        0,  0,  99, 99, //
        99, 99, 0,  0,  //
        99, 99, 0,  0,
    };

    (void)state;
    assert_all_linkages(4, t, "((0 1)0 (2 3)0)99");
}

static void tied_pairs_that_interleave_are_told_apart(void **state)
{
    const uint64_t t[] = {
        0,  99, 7,  99, //
        99, 0,  99, 7,  //
        7,  99, 0,  99, //
        99, 7,  99, 0,
    };

    (void)state;
    assert_all_linkages(4, t, "((0 2)7 (1 3)7)99");
}

static void equal_distances_make_siblings(void **state)
{
    const uint64_t t[] = {
        0, 5, 5, 9, 5, //
        5, 0, 5, 9, 5, //
        5, 5, 0, 9, 5, //
        9, 9, 9, 0, 9, //
        5, 5, 5, 9, 0,
    };

    (void)state;
    assert_all_linkages(5, t, "((0 1 2 4)5 3)9");
}

static void the_three_linkages_measure_as_they_say(void **state)
{
    const uint64_t t[] = {
        0,  10, 40, //
        10, 0,  21, //
        40, 21, 0,
    };

    (void)state;
    assert_tree(3, t, LINKAGE_SINGLE, "((0 1)10 2)21");
    assert_tree(3, t, LINKAGE_AVERAGE, "((0 1)10 2)30");
    assert_tree(3, t, LINKAGE_COMPLETE, "((0 1)10 2)40");
}

static void none_and_one_leaf_are_trees(void **state)
{
    const uint64_t t[] = {0};

    (void)state;
    assert_all_linkages(0, t, "");
    assert_all_linkages(1, t, "0");
}

static void shares_are_those_of_the_pairs_that_the_linkage_looks_at(void **state)
{
    const uint64_t different[] = {
        0, 0, 5, 5, //
        0, 0, 5, 9, //
        5, 5, 0, 1, //
        5, 9, 1, 0,
    };
    const uint64_t shared[] = {
        0,  50, 30, 31, //
        50, 0,  33, 2,  //
        30, 33, 0,  40, //
        31, 2,  40, 0,
    };
    struct dendrogram d = build(4, different, shared, LINKAGE_SINGLE);

    (void)state;
    assert_int_equal(d.nodes[d.root].shared, 33);
    assert_int_equal(d.nodes[4].shared, 50);
    dendrogram_release(&d);
    d = build(4, different, shared, LINKAGE_COMPLETE);
    assert_int_equal(d.nodes[d.root].shared, 2);
    dendrogram_release(&d);
    d = build(4, different, shared, LINKAGE_AVERAGE);
    assert_int_equal(d.nodes[d.root].different, 6);
    assert_int_equal(d.nodes[d.root].shared, (30 + 31 + 33 + 2) / 4);
    dendrogram_release(&d);
}

/* ---- against joining the nearest two again and again ---- */

struct cluster {
    uint32_t members[32];
    size_t n;
};

static double measure(const uint64_t *t, size_t n, const struct cluster *a, const struct cluster *b,
                      enum linkage linkage)
{
    double sum = 0, least = 1e300, most = 0;

    for (size_t i = 0; i < a->n; i++) {
        for (size_t j = 0; j < b->n; j++) {
            double d = (double)t[a->members[i] * n + b->members[j]];

            sum += d;
            least = d < least ? d : least;
            most = d > most ? d : most;
        }
    }
    if (linkage == LINKAGE_AVERAGE)
        return sum / ((double)a->n * (double)b->n);
    return linkage == LINKAGE_SINGLE ? least : most;
}

/* join[i * n + j]: the distance at which i and j first stand in one cluster. */
static void join_plainly(const uint64_t *t, size_t n, enum linkage linkage, uint64_t *join)
{
    struct cluster c[32] = {0};
    size_t left = n;

    for (uint32_t i = 0; i < n; i++)
        c[i] = (struct cluster){.members = {i}, .n = 1};
    while (left > 1) {
        size_t x = 0, y = 1;

        for (size_t i = 0; i < left; i++) {
            for (size_t j = i + 1; j < left; j++) {
                if (measure(t, n, c + i, c + j, linkage) < measure(t, n, c + x, c + y, linkage)) {
                    x = i;
                    y = j;
                }
            }
        }
        for (size_t i = 0; i < c[x].n; i++) {
            for (size_t j = 0; j < c[y].n; j++) {
                uint64_t d = (uint64_t)measure(t, n, c + x, c + y, linkage);

                join[c[x].members[i] * n + c[y].members[j]] = d;
                join[c[y].members[j] * n + c[x].members[i]] = d;
            }
        }
        for (size_t j = 0; j < c[y].n; j++)
            c[x].members[c[x].n++] = c[y].members[j];
        c[y] = c[--left];
    }
}

static void check_shape(const struct dendrogram *d)
{
    uint32_t *seen = calloc(d->n_nodes, sizeof *seen),
             *leaves = calloc(d->n_leaves, sizeof *leaves);
    size_t n = 0;

    for (size_t k = d->n_leaves; k < d->n_nodes; k++) {
        const struct dendrogram_node *x = d->nodes + k;
        uint32_t before = 0, sum = 0;

        assert_true(x->count >= 2);
        for (uint32_t c = 0; c < x->count; c++) {
            uint32_t child = d->children[x->first + c], smallest = UINT32_MAX;

            assert_true(child < k);
            assert_int_equal(seen[child]++, 0);
            assert_true(child < d->n_leaves || d->nodes[child].different < x->different);
            sum += d->nodes[child].leaves;
            assert_int_equal(dendrogram_leaves(d, child, leaves), d->nodes[child].leaves);
            for (uint32_t i = 0; i < d->nodes[child].leaves; i++)
                smallest = leaves[i] < smallest ? leaves[i] : smallest;
            assert_true(c == 0 || smallest > before);
            before = smallest;
        }
        assert_int_equal(sum, x->leaves);
        n += x->count;
    }
    assert_int_equal(n, d->n_children);
    assert_int_equal(d->nodes[d->root].leaves, d->n_leaves);
    free(seen);
    free(leaves);
}

static void check_joins(const struct dendrogram *d, const uint64_t *join)
{
    uint32_t leaves[32];

    for (size_t k = d->n_leaves; k < d->n_nodes; k++) {
        const struct dendrogram_node *x = d->nodes + k;
        size_t n = dendrogram_leaves(d, (uint32_t)k, leaves), end = 0;

        for (uint32_t c = 0; c < x->count; c++) {
            size_t start = end;

            end += d->nodes[d->children[x->first + c]].leaves;
            for (size_t i = start; i < end; i++) {
                for (size_t j = end; j < n; j++)
                    assert_int_equal(join[leaves[i] * d->n_leaves + leaves[j]], x->different);
            }
        }
    }
}

static void trees_equal_those_of_joining_the_nearest_two(void **state)
{
    uint64_t t[32 * 32], join[32 * 32];

    (void)state;
    for (unsigned round = 0; round < 300; round++) {
        size_t n = 2 + random_below(30);
        enum linkage linkage = round % 3;
        /* ties make no difference to single linkage; the others get none */
        uint64_t range = linkage == LINKAGE_SINGLE ? 1 + random_below(40) : UINT64_C(1) << 45;
        struct dendrogram d;

        for (size_t i = 0; i < n; i++) {
            t[i * n + i] = 0;
            for (size_t j = 0; j < i; j++)
                t[i * n + j] = t[j * n + i] = random_below(range);
        }
        d = build(n, t, t, linkage);
        check_shape(&d);
        join_plainly(t, n, linkage, join);
        check_joins(&d, join);
        dendrogram_release(&d);
    }
}

static void trees_with_many_ties_have_the_promised_shape(void **state)
{
    uint64_t t[32 * 32];

    (void)state;
    for (unsigned round = 0; round < 300; round++) {
        size_t n = 2 + random_below(30);
        struct dendrogram d;

        for (size_t i = 0; i < n; i++) {
            t[i * n + i] = 0;
            for (size_t j = 0; j < i; j++)
                t[i * n + j] = t[j * n + i] = random_below(1 + round % 5);
        }
        d = build(n, t, t, round % 3);
        check_shape(&d);
        dendrogram_release(&d);
    }
}

static uint64_t at_chain(const void *arg, size_t i, size_t j)
{
    (void)arg;
    return i > j ? i : j;
}

static void a_tree_of_3000_levels_needs_no_deep_stack(void **state)
{
    struct dendrogram_input in = {3000, at_chain, at_chain, NULL};

    (void)state;
    for (int linkage = 0; linkage < 3; linkage++) {
        struct dendrogram d;
        struct error e;
        uint32_t family[3000];
        size_t n_families;

        assert_ok(dendrogram_build(&in, linkage, &d, &e), &e);
        assert_int_equal(d.n_nodes, 5999);
        check_shape(&d);
        assert_ok(dendrogram_families(&d, 0.9, family, &n_families, &e), &e);
        assert_int_equal(n_families, 1);
        dendrogram_release(&d);
    }
}

static void huge_distances_are_rounded_not_wrapped(void **state)
{
    uint64_t t[9 * 9];
    struct dendrogram d;

    (void)state;
    for (size_t i = 0; i < 81; i++)
        t[i] = i / 9 == i % 9 ? 0 : (UINT64_C(1) << 61) - (i / 9 / 3 == i % 9 / 3 ? 1024 : 0);
    d = build(9, t, t, LINKAGE_AVERAGE);
    assert_int_equal(d.nodes[d.root].count, 3);
    assert_int_equal(d.nodes[d.root].different, UINT64_C(1) << 61);
    dendrogram_release(&d);
}

static void families_end_where_too_much_differs(void **state)
{
    const uint64_t different[] = {
        0,  90, 10, 99, //
        90, 0,  90, 91, //
        10, 90, 0,  99, //
        99, 91, 99, 0,
    };
    uint64_t shared[16];
    uint32_t family[4];
    struct dendrogram d;
    struct error e;
    size_t n;

    (void)state;
    for (size_t i = 0; i < 16; i++)
        shared[i] = 100 - different[i];
    d = build(4, different, shared, LINKAGE_SINGLE);
    assert_ok(dendrogram_families(&d, 0.9, family, &n, &e), &e);
    assert_int_equal(n, 2);
    assert_memory_equal(family, ((uint32_t[]){0, 0, 0, 1}), sizeof family);
    assert_ok(dendrogram_families(&d, 0.5, family, &n, &e), &e);
    assert_int_equal(n, 3);
    assert_memory_equal(family, ((uint32_t[]){0, 1, 0, 2}), sizeof family);
    assert_ok(dendrogram_families(&d, 0, family, &n, &e), &e);
    assert_int_equal(n, 4);
    assert_ok(dendrogram_families(&d, 1, family, &n, &e), &e);
    assert_int_equal(n, 1);
    dendrogram_release(&d);
}

/* Leaf 1 is a clone of leaf 0 that grew; leaf 2 is a small disk of somebody else. */
static void a_small_stranger_does_not_come_between_kin(void **state)
{
    static const uint64_t different[] = {0, 20, 5, 20, 0, 25, 5, 25, 0};
    static const uint64_t shared[] = {4, 4, 0, 4, 24, 0, 0, 0, 1};
    static const uint64_t top[] = {
        [LINKAGE_SINGLE] = 21, [LINKAGE_AVERAGE] = 21, [LINKAGE_COMPLETE] = 25};
    struct table t = {3, different, shared};
    struct dendrogram_input in = {3, at_different, at_shared, &t, 0.1};

    (void)state;
    for (enum linkage linkage = LINKAGE_SINGLE; linkage <= LINKAGE_COMPLETE; linkage++) {
        uint32_t family[3];
        struct dendrogram d;
        struct error e;
        size_t n;

        assert_ok(dendrogram_build(&in, linkage, &d, &e), &e);
        assert_ok(dendrogram_families(&d, 0.9, family, &n, &e), &e);
        assert_int_equal(n, 2);
        assert_int_equal(family[0], family[1]);
        assert_int_equal(d.n_nodes, 5);
        assert_int_equal(d.nodes[3].different, 20);
        assert_int_equal(d.nodes[3].shared, 4);
        assert_int_equal(d.nodes[4].different, top[linkage]);
        dendrogram_release(&d);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(two_tied_pairs_of_strangers_stay_two_families),
        cmocka_unit_test(tied_pairs_that_interleave_are_told_apart),
        cmocka_unit_test(equal_distances_make_siblings),
        cmocka_unit_test(the_three_linkages_measure_as_they_say),
        cmocka_unit_test(none_and_one_leaf_are_trees),
        cmocka_unit_test(shares_are_those_of_the_pairs_that_the_linkage_looks_at),
        cmocka_unit_test(trees_equal_those_of_joining_the_nearest_two),
        cmocka_unit_test(trees_with_many_ties_have_the_promised_shape),
        cmocka_unit_test(a_tree_of_3000_levels_needs_no_deep_stack),
        cmocka_unit_test(huge_distances_are_rounded_not_wrapped),
        cmocka_unit_test(families_end_where_too_much_differs),
        cmocka_unit_test(a_small_stranger_does_not_come_between_kin),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
