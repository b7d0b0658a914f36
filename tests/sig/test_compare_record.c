/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "../test.h"

#include "base/buf.h"
#include "hash/id.h"
#include "sig/compare_record.h"

#include <string.h>

/* Feeds each record to a receiver, cut or changed as a case wants it. */
struct wire {
    struct comparison_receiver *to;
    size_t n; /* records by now */
};

static int pass(void *arg, uint16_t type, const void *payload, size_t length, struct error *e)
{
    struct wire *w = arg;

    assert_true(length <= RECORD_MAX);
    assert_in_range(type, COMPARISON_RECORD_FIRST, COMPARISON_RECORD_LAST);
    w->n++;
    return comparison_receive(w->to, type, cursor_of(payload, length), e);
}

/* n ranges of 3 bytes, 10 apart. */
static struct comparison make(size_t n)
{
    struct comparison c = {.sizes = {n * 10 + 5, 4}, .granularity = 1, .n_ranges = n};

    c.ranges = calloc(n > 0 ? n : 1, sizeof *c.ranges);
    for (size_t i = 0; i < n; i++)
        c.ranges[i] = (struct byte_range){i * 10 + 2, 3};
    c.different_bytes = 3 * n;
    c.equal_bytes = 5;
    c.zero_bytes = n * 7;
    c.first_difference = n > 0 ? 2 : UINT64_MAX;
    return c;
}

static void a_comparison_arrives_as_it_was_sent(void **state)
{
    const size_t counts[] = {0, 1, 4096, 4097, 1000000};

    (void)state;
    for (size_t i = 0; i < sizeof counts / sizeof *counts; i++) {
        struct comparison c = make(counts[i]), got;
        struct wire w = {};
        struct error e;

        w.to = comparison_receiver_new(&e);
        assert_non_null(w.to);
        assert_int_equal(comparison_receiver_take(w.to, &got, &e), -1);
        assert_int_equal(e.code, ERR_PEER);
        assert_ok(comparison_send(&c, pass, &w, &e), &e);
        assert_int_equal(w.n, 2 + (counts[i] + 4095) / 4096);
        assert_true(comparison_receiver_done(w.to));
        assert_ok(comparison_receiver_take(w.to, &got, &e), &e);
        assert_memory_equal(got.sizes, c.sizes, sizeof c.sizes);
        assert_int_equal(got.equal_bytes, c.equal_bytes);
        assert_int_equal(got.zero_bytes, c.zero_bytes);
        assert_int_equal(got.different_bytes, c.different_bytes);
        assert_true(got.first_difference == c.first_difference);
        assert_int_equal(got.granularity, 1);
        assert_int_equal(got.n_ranges, counts[i]);
        if (counts[i] > 0)
            assert_memory_equal(got.ranges, c.ranges, counts[i] * sizeof *c.ranges);
        comparison_release(&got);
        comparison_release(&c);
        comparison_receiver_free(w.to);
    }
}

/* Sends what is not a comparison; some record of it must be refused. */
static void assert_refused(const struct comparison *c)
{
    struct wire w = {};
    struct error e;

    w.to = comparison_receiver_new(&e);
    assert_int_equal(comparison_send(c, pass, &w, &e), -1);
    assert_int_equal(e.code, ERR_PEER);
    comparison_receiver_free(w.to);
}

static void figures_that_do_not_agree_are_refused(void **state)
{
    struct comparison c = make(3);

    (void)state;
    c.granularity = 2;
    assert_refused(&c);
    c.granularity = 1;
    c.equal_bytes++;
    assert_refused(&c);
    c.equal_bytes = UINT64_MAX;
    c.zero_bytes += 6; /* the sum is right, but for the overflow */
    assert_refused(&c);
    comparison_release(&c);
    c = make(3);
    c.sizes[0] = DISK_SIZE_MAX + 1;
    c.zero_bytes = c.sizes[0] - c.equal_bytes - c.different_bytes;
    assert_refused(&c);
    comparison_release(&c);
    c = make(3);
    c.different_bytes++;
    c.equal_bytes--;
    assert_refused(&c);
    comparison_release(&c);
}

static void ranges_out_of_order_are_refused(void **state)
{
    const struct byte_range bad[] = {
        {2, 3},  /* the same again */
        {5, 3},  /* adjacent */
        {0, 3},  /* before */
        {12, 0}, /* empty */
        {34, 3}, /* beyond the end */
        {UINT64_MAX - 1, 3},
    };

    (void)state;
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        struct comparison c = make(3);

        c.ranges[1] = bad[i];
        assert_refused(&c);
        comparison_release(&c);
    }
}

static void records_out_of_order_are_refused(void **state)
{
    const uint16_t types[] = {COMPARISON_RANGES, COMPARISON_END, 0x203, 0x1ff};
    const uint8_t range[16] = {2, [8] = 3};
    struct error e;

    (void)state;
    for (size_t i = 0; i < sizeof types / sizeof *types; i++) {
        AUTO(comparison_receiver) *r = comparison_receiver_new(&e);

        assert_int_equal(comparison_receive(r, types[i], cursor_of(range, sizeof range), &e), -1);
        assert_int_equal(e.code, ERR_PEER);
        assert_false(comparison_receiver_done(r));
    }
}

static void nothing_follows_the_end(void **state)
{
    struct comparison c = make(1);
    struct wire w = {};
    struct error e;

    (void)state;
    w.to = comparison_receiver_new(&e);
    assert_ok(comparison_send(&c, pass, &w, &e), &e);
    assert_int_equal(comparison_send(&c, pass, &w, &e), -1);
    comparison_release(&c);
    comparison_receiver_free(w.to);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_comparison_arrives_as_it_was_sent),
        cmocka_unit_test(figures_that_do_not_agree_are_refused),
        cmocka_unit_test(ranges_out_of_order_are_refused),
        cmocka_unit_test(records_out_of_order_are_refused),
        cmocka_unit_test(nothing_follows_the_end),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
