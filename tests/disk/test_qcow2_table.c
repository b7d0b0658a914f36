/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Tables written by hand after docs/interop/qcow2.txt, in memory files. */
#include "../test.h"

#include "base/buf.h"
#include "disk/qcow2_table.h"
#include "env_files.h"

#include <string.h>

#define COPIED (UINT64_C(1) << 63)
#define COMPRESSED (UINT64_C(1) << 62)

enum { SMALL = 512, PER_TABLE = SMALL / 8 };

static const struct qcow2_layout small = {
    .version = 3, .cluster_bits = 9, .size = (uint64_t)4 * PER_TABLE * SMALL};

/* A file with an L1 table of four entries in cluster 0 and L2 tables in clusters 1 to 4, whose
 * entries are given; a table of nothing but zeros is not allocated. */
static struct qcow2_table *table_new(const uint64_t entries[4][PER_TABLE], struct host_file **file)
{
    static const uint64_t none[PER_TABLE];
    AUTO_BUF b = {};
    struct error e;
    struct qcow2_table *t;

    for (uint64_t i = 0; i < PER_TABLE; i++) {
        bool there = i < 4 && memcmp(entries[i], none, sizeof none) != 0;

        buf_put_be64(&b, there ? (i + 1) * SMALL | COPIED : 0);
    }
    for (int i = 0; i < 4; i++) {
        for (int j = 0; j < PER_TABLE; j++)
            buf_put_be64(&b, entries[i][j]);
    }
    *file = test_memory_file("tables", b.bytes, b.length, &e);
    assert_non_null(*file);
    t = qcow2_table_new(&small, *file, 0, 4, 4096, &e);
    if (t == NULL)
        fail_msg("%s", e.msg);
    return t;
}

static void assert_run(struct qcow2_table *t, uint64_t offset, enum qcow2_kind kind,
                       uint64_t length, uint64_t host)
{
    struct qcow2_run run;
    struct error e;

    assert_ok(qcow2_table_run(t, offset, &run, &e), &e);
    assert_int_equal(run.kind, kind);
    assert_int_equal(run.length, length);
    assert_int_equal(run.host, host);
}

static void runs_go_on_across_tables_while_they_are_of_one_kind(void **state)
{
    uint64_t entries[4][PER_TABLE] = {};
    AUTO(host_file) *f = NULL;
    AUTO(qcow2_table) *t = NULL;
    const uint64_t table = PER_TABLE * SMALL;

    (void)state;
    /* the last 2 clusters of table 0 and the first 3 of table 1 follow each other on the host */
    entries[0][62] = 0x10000 | COPIED;
    entries[0][63] = 0x10200;
    entries[1][0] = 0x10400 | COPIED;
    entries[1][1] = 0x10600 | COPIED;
    entries[1][2] = 0x10800;
    entries[1][3] = 0x20000; /* not there */
    entries[1][4] = 1;
    entries[1][5] = 0x30000 | 1;
    entries[1][6] = COMPRESSED | 0x777;
    entries[1][7] = COMPRESSED | 0x888;
    entries[1][8] = UINT64_C(0x00ff000000000000) | COPIED; /* bits 9 to 55 are the offset */
    entries[1][9] = UINT64_C(0x3f000000000001fe) | COPIED; /* the others are not */
    t = table_new(entries, &f);
    assert_run(t, 0, QCOW2_UNALLOCATED, 62 * SMALL, 0);
    assert_run(t, 62 * SMALL, QCOW2_DATA, 5 * SMALL, 0x10000);
    assert_run(t, 62 * SMALL + 700, QCOW2_DATA, 5 * SMALL - 700, 0x10000 + 700);
    assert_run(t, table + 3 * SMALL, QCOW2_DATA, SMALL, 0x20000);
    assert_run(t, table + 4 * SMALL, QCOW2_ZERO, SMALL, 0);
    assert_run(t, table + 5 * SMALL, QCOW2_ZERO_ALLOCATED, SMALL, 0);
    assert_run(t, table + 6 * SMALL, QCOW2_COMPRESSED, SMALL, 0x777);
    assert_run(t, table + 7 * SMALL + 100, QCOW2_COMPRESSED, SMALL - 100, 0x888);
    assert_run(t, table + 8 * SMALL, QCOW2_DATA, SMALL, UINT64_C(0x00ff000000000000));
    /* tables 2 and 3 do not exist */
    assert_run(t, table + 9 * SMALL, QCOW2_UNALLOCATED, 3 * table - 9 * SMALL, 0);
}

static void damage_is_told_to_whoever_asks_for_the_damaged_piece(void **state)
{
    uint64_t entries[4][PER_TABLE] = {};
    AUTO(host_file) *f = NULL;
    AUTO(qcow2_table) *t = NULL;
    struct qcow2_run run = {.length = 77};
    struct qcow2_layout old = small;
    struct error e;

    (void)state;
    entries[0][1] = 1; /* a zero cluster, which version 2 does not know */
    t = table_new(entries, &f);
    qcow2_table_free(take(t));
    old.version = 2;
    t = qcow2_table_new(&old, f, 0, 4, 4096, &e);
    assert_non_null(t);
    assert_run(t, 0, QCOW2_UNALLOCATED, SMALL, 0);
    assert_int_equal(qcow2_table_run(t, SMALL, &run, &e), -1);
    assert_int_equal(e.code, ERR_FORMAT);
    assert_int_equal(run.length, 77);
    assert_run(t, 2 * SMALL, QCOW2_UNALLOCATED, (4 * PER_TABLE - 2) * SMALL, 0);
}

static void a_table_larger_than_the_limit_is_refused(void **state)
{
    uint64_t entries[4][PER_TABLE] = {};
    AUTO(host_file) *f = NULL;
    AUTO(qcow2_table) *t = table_new(entries, &f);
    struct error e;

    (void)state;
    assert_null(qcow2_table_new(&small, f, 0, 4, 31, &e));
    assert_int_equal(e.code, ERR_LIMIT);
    assert_null(qcow2_table_new(&small, f, 0, 3, 4096, &e));
    assert_int_equal(e.code, ERR_FORMAT);
    assert_null(qcow2_table_new(&small, f, 5 * SMALL, 4, 4096, &e));
    assert_int_equal(e.code, ERR_FORMAT);
}

static void a_compressed_descriptor_counts_whole_sectors(void **state)
{
    struct qcow2_layout l = {.cluster_bits = 16};
    uint64_t offset, length;

    (void)state;
    /* x = 62 - (16 - 8) = 54: the offset has 54 bits, the sectors 8 */
    qcow2_compressed_place(&l, COMPRESSED | UINT64_C(3) << 54 | 0x12345, &offset, &length);
    assert_int_equal(offset, 0x12345);
    assert_int_equal(length, 4 * 512 - 0x145);
    l.cluster_bits = 9; /* x = 61: one bit for the sectors */
    qcow2_compressed_place(&l, COMPRESSED | UINT64_C(1) << 61 | 0x200, &offset, &length);
    assert_int_equal(offset, 0x200);
    assert_int_equal(length, 1024);
}

static void subclusters_of_one_kind_are_one_run(void **state)
{
    struct qcow2_layout l = {.version = 3, .cluster_bits = 16, .extended = true, .size = 1 << 20};
    const uint64_t host = 0x50000 | COPIED, bitmap = UINT64_C(0xf0) << 32 | 0x80000f0f;
    struct qcow2_run run;
    struct error e;

    (void)state;
    assert_ok(qcow2_entry_run(&l, host, bitmap, 0x10000 + 100, &run, &e), &e);
    assert_int_equal(run.kind, QCOW2_DATA);
    assert_int_equal(run.length, 4 * 2048 - 100);
    assert_int_equal(run.host, 0x50000 + 100);
    assert_ok(qcow2_entry_run(&l, host, bitmap, 0x10000 + 5 * 2048, &run, &e), &e);
    assert_int_equal(run.kind, QCOW2_ZERO_ALLOCATED);
    assert_int_equal(run.length, 3 * 2048);
    assert_ok(qcow2_entry_run(&l, host, bitmap, 0x10000 + 12 * 2048, &run, &e), &e);
    assert_int_equal(run.kind, QCOW2_UNALLOCATED);
    assert_int_equal(run.length, 19 * 2048);
    assert_ok(qcow2_entry_run(&l, host, bitmap, 0x20000 - 1, &run, &e), &e);
    assert_int_equal(run.kind, QCOW2_DATA);
    assert_int_equal(run.length, 1);
    assert_int_equal(run.host, 0x5ffff);
    assert_ok(qcow2_entry_run(&l, 0, UINT64_C(0xffff) << 32, 0, &run, &e), &e);
    assert_int_equal(run.kind, QCOW2_ZERO);
    assert_int_equal(run.length, 16 * 2048);
    assert_int_equal(qcow2_entry_run(&l, 0, 1, 0, &run, &e), -1);
    assert_int_equal(qcow2_entry_run(&l, host, UINT64_C(1) << 32 | 1, 0, &run, &e), -1);
}

static void external_data_stands_where_the_guest_has_it(void **state)
{
    struct qcow2_layout l = {.version = 3, .cluster_bits = 16, .data_file = true, .size = 1 << 20};
    struct qcow2_run run;
    struct error e;

    (void)state;
    assert_ok(qcow2_entry_run(&l, COPIED, 0, 0, &run, &e), &e); /* offset 0 is a place there */
    assert_int_equal(run.kind, QCOW2_DATA);
    assert_ok(qcow2_entry_run(&l, 0, 0, 0, &run, &e), &e);
    assert_int_equal(run.kind, QCOW2_UNALLOCATED);
    assert_int_equal(qcow2_entry_run(&l, 0x20000 | COPIED, 0, 0x10000, &run, &e), -1);
    assert_int_equal(qcow2_entry_run(&l, COMPRESSED | 0x20000, 0, 0x10000, &run, &e), -1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(runs_go_on_across_tables_while_they_are_of_one_kind),
        cmocka_unit_test(damage_is_told_to_whoever_asks_for_the_damaged_piece),
        cmocka_unit_test(a_table_larger_than_the_limit_is_refused),
        cmocka_unit_test(a_compressed_descriptor_counts_whole_sectors),
        cmocka_unit_test(subclusters_of_one_kind_are_one_run),
        cmocka_unit_test(external_data_stands_where_the_guest_has_it),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
