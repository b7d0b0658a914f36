/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What the drawings are made of; and each of their allocations made to fail in turn. */
#include "../alloc_fail.h"
#include "../test.h"

#include "cluster/draw.h"
#include "cluster/draw_part.h"
#include "cluster/draw_rows.h"

#include <string.h>

#define TEXT(text) ((char[]){text})

/* Two guests of one name with two disks each, a single disk of each of them nearer or farther, and
 * a stranger; the paths hold what has to be escaped. */
static struct kinship_image images[] = {
    {.path = TEXT("/a/web\n1"), .guest = TEXT("web"), .data_bytes = 1 << 30},
    {.path = TEXT("/a/web2"), .guest = TEXT("web"), .data_bytes = 1 << 30},
    {.path = TEXT("/b/web\n1"), .guest = TEXT("web"), .data_bytes = 1 << 30, .in_use = true},
    {.path = TEXT("/b/web2"), .guest = TEXT("web"), .data_bytes = 1 << 30},
    {.path = TEXT("/b/it's"), .data_bytes = 1 << 30, .backing = 1, .backing_path = TEXT("/a/web2")},
    {.path = TEXT("/c/\xff"),
     .data_bytes = 1 << 20,
     .backing_path = TEXT("/gone"),
     .fixed = TEXT("block device")},
    {.path = TEXT("/c/\xff"), .data_bytes = 1 << 20},
};
static struct kinship_leaf leaves[] = {{0, 2}, {2, 2}, {4, 1}, {5, 1}, {6, 1}};
static uint32_t family[] = {0, 0, 0, 1, 2};
static struct dendrogram_node nodes[] = {
    {.leaves = 1},
    {.leaves = 1},
    {.leaves = 1},
    {.leaves = 1},
    {.leaves = 1},
    {.different = 0, .shared = 1 << 30, .first = 0, .count = 2, .leaves = 2},
    {.different = 1 << 20, .shared = 1 << 30, .first = 2, .count = 2, .leaves = 3},
    {.different = 1 << 30, .shared = 0, .first = 4, .count = 3, .leaves = 5},
};
static uint32_t children[] = {0, 1, 5, 2, 6, 3, 4};
static struct plan_step steps[] = {
    {PLAN_ROOT, PLAN_NONE, 1 << 30, 0}, {PLAN_REBASE, 0, 1 << 20, 1 << 29},
    {PLAN_REBASE, 0, 1 << 20, 1 << 28}, {PLAN_REBASE, 1, 1 << 20, 1 << 28},
    {PLAN_KEEP, 1, 1 << 20, 0},         {PLAN_FIXED, PLAN_NONE, 1 << 20, 0},
    {PLAN_ROOT, PLAN_NONE, 1 << 20, 0},
};
static uint64_t matrix[49];
static const struct draw_problem problems[] = {{"/bad\n", "io", "broken", false},
                                               {"/new", "in-use", "somebody writes", true}};

static const struct kinship *sample(void)
{
    static struct kinship k = {
        .n = 7,
        .images = images,
        .n_leaves = 5,
        .leaves = leaves,
        .different = matrix,
        .shared = matrix,
        .tree = {5, 8, nodes, children, 7, 7},
        .threshold = 0.9,
        .family = family,
        .n_families = 3,
        .plan = {7, steps, 1 << 30},
    };

    for (size_t i = 0; i < k.n; i++) {
        static char raw[] = "raw";

        images[i].format = raw;
        images[i].allocated_bytes = 1 << 30;
        if (i != 4)
            images[i].backing = PLAN_NONE;
    }
    return &k;
}

static int draw_all(void *arg, struct error *e)
{
    const struct draw_options o = {
        .columns = 60, .plan = true, .colour = true, .problems = problems, .n_problems = 2};
    const struct kinship *k = sample();
    AUTO_BUF text = {}, json = {}, newick = {}, dot = {}, svg = {}, html = {};

    (void)arg;
    if (draw_text(&text, k, &o, e) != 0 || draw_json(&json, k, &o, e) != 0 ||
        draw_newick(&newick, k, e) != 0 || draw_dot(&dot, k, e) != 0 || draw_svg(&svg, k, e) != 0)
        return -1;
    return draw_html(&html, k, &o, e);
}

static void each_drawing_fails_cleanly_when_memory_is_short(void **state)
{
    (void)state;
    assert_true(alloc_fail_each(draw_all, NULL) > 100);
}

static void names_are_the_shortest_that_differ(void **state)
{
    static const char *const want[] = {"a/web\n1", "a/web2", "b/web\n1", "b/web2",
                                       "it's",     "\xff",   "\xff#2"};
    struct error e;
    char **names;

    (void)state;
    assert_ok(draw_names(sample(), &names, &e), &e);
    for (size_t i = 0; i < 7; i++) {
        assert_string_equal(names[i], want[i]);
        free(names[i]);
    }
    free(names);
}

static void guests_of_one_name_are_told_apart(void **state)
{
    struct error e;
    AUTO_LABELS l = {};

    (void)state;
    assert_ok(draw_labels_make(sample(), &l, &e), &e);
    assert_string_equal(l.leaf[0], "web (2 disks) at a/web\\x0a1");
    assert_string_equal(l.leaf[1], "web (2 disks) at b/web\\x0a1");
    assert_string_equal(l.leaf[2], "it's");
    assert_string_equal(l.leaf[4], "\\xff#2");
}

static void per_cent_is_never_rounded_to_all_or_nothing(void **state)
{
    static const struct {
        double part;
        const char *want;
    } cases[] = {{0, "0%"},         {1e-9, "<1%"},      {0.0099, "<1%"}, {0.01, "1%"},
                 {0.5, "50%"},      {0.984, "98%"},     {0.9899, "99%"}, {0.99, "99.0%"},
                 {0.9995, "99.9%"}, {0.99999, "99.9%"}, {1, "100%"}};

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char out[DRAW_PERCENT_MAX];

        assert_string_equal(draw_percent(out, cases[i].part), cases[i].want);
    }
}

static void families_of_several_come_first_then_the_largest_saving(void **state)
{
    struct error e;
    AUTO_FREE struct draw_family *f = draw_families(sample(), &e);

    (void)state;
    assert_non_null(f);
    assert_int_equal(f[0].id, 0);
    assert_int_equal(f[0].root, 6);
    assert_int_equal(f[0].leaves, 3);
    assert_int_equal(f[0].images, 5);
    assert_int_equal(f[0].saves, 1 << 30);
    assert_int_equal(f[1].root, 3);
    assert_int_equal(f[2].root, 4);
}

static void identical_leaves_share_a_row_after_the_spine_has_begun(void **state)
{
    struct error e;
    struct draw_rows rows;

    (void)state;
    assert_ok(draw_rows_make(&sample()->tree, 6, 5, &rows, &e), &e);
    assert_int_equal(rows.n, 2);
    assert_int_equal(rows.rows[0].node, 5);
    assert_int_equal(rows.rows[0].join, UINT32_MAX);
    assert_int_equal(rows.rows[1].node, 2);
    assert_int_equal(rows.rows[1].join, 6);
    assert_true(rows.rows[1].last);
    draw_rows_release(&rows);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_drawing_fails_cleanly_when_memory_is_short),
        cmocka_unit_test(names_are_the_shortest_that_differ),
        cmocka_unit_test(guests_of_one_name_are_told_apart),
        cmocka_unit_test(per_cent_is_never_rounded_to_all_or_nothing),
        cmocka_unit_test(families_of_several_come_first_then_the_largest_saving),
        cmocka_unit_test(identical_leaves_share_a_row_after_the_spine_has_begun),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
