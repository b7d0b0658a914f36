/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "../test.h"

#include "disk/qcow2_write.h"
#include "hash/id.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>

static uint8_t cluster[CLUSTER_SIZE];

static int new_file(void)
{
    int fd = memfd_create("image", 0);

    assert_true(fd >= 0);
    return fd;
}

static uint64_t size_of(int fd)
{
    struct stat st;

    assert_int_equal(fstat(fd, &st), 0);
    return (uint64_t)st.st_size;
}

/* Figures worked out by hand from docs/formats/overlay.md. */
static void the_size_is_that_of_the_page(void **state)
{
    const uint64_t g = 1ull << 30, t = 1ull << 40;

    (void)state;
    assert_int_equal(qcow2_written_size(0, 0, 0), 262144);
    assert_int_equal(qcow2_written_size(g, 1, 1), 393216);
    assert_int_equal(qcow2_written_size(8 * t, 3, 2), 655360);
    assert_int_equal(qcow2_written_size(64 * g, 65536, 8), 4295884800);
    /* 1 + 32764 + 1 + 1 + 1 + 1 = 32769 clusters need a second block; one cluster fewer does not */
    assert_int_equal(qcow2_written_size(g, 32763, 1), 32768ull * CLUSTER_SIZE);
    assert_int_equal(qcow2_written_size(g, 32764, 1), 32770ull * CLUSTER_SIZE);
    /* a second cluster of L1 begins beyond 4 TiB */
    assert_int_equal(qcow2_written_size(4 * t, 0, 0), 4 * CLUSTER_SIZE);
    assert_int_equal(qcow2_written_size(4 * t + 1, 0, 0), 5 * CLUSTER_SIZE);
}

static void an_unfinished_file_begins_with_zeros(void **state)
{
    const struct qcow2_write_options o = {1 << 20, "base", "raw"};
    static const uint8_t zeros[CLUSTER_SIZE];
    AUTO_FD int fd = new_file();
    struct error e;
    AUTO(qcow2_writer) *w = qcow2_writer_new(fd, &o, &e);

    (void)state;
    assert_non_null(w);
    memset(cluster, 7, sizeof cluster);
    assert_ok(qcow2_write_data(w, 3, cluster, &e), &e);
    assert_int_equal(pread(fd, cluster, sizeof cluster, 0), sizeof cluster);
    assert_memory_equal(cluster, zeros, sizeof cluster);
    assert_ok(qcow2_write_finish(w, &e), &e);
    assert_int_equal(pread(fd, cluster, 4, 0), 4);
    assert_memory_equal(cluster, "QFI\xfb", 4);
    assert_int_equal(size_of(fd), qcow2_written_size(1 << 20, 1, 1));
}

static void clusters_come_in_rising_order_and_within_the_disk(void **state)
{
    const struct qcow2_write_options o = {4 * CLUSTER_SIZE + 1, NULL, NULL};
    AUTO_FD int fd = new_file();
    struct error e;

    (void)state;
    for (int variant = 0; variant < 3; variant++) {
        AUTO(qcow2_writer) *w = qcow2_writer_new(fd, &o, &e);

        assert_non_null(w);
        assert_ok(qcow2_write_zero(w, 2, &e), &e);
        assert_int_equal(qcow2_write_data(w,
                                          variant == 0   ? 2
                                          : variant == 1 ? 0
                                                         : 5,
                                          cluster, &e),
                         -1);
        assert_int_equal(e.code, ERR_INTERNAL);
        /* and one failure is for good */
        assert_int_equal(qcow2_write_finish(w, &e), -1);
    }
}

static void what_qemu_cannot_open_is_refused(void **state)
{
    char name[1025];
    struct qcow2_write_options o = {(2ull << 50) + 1, NULL, NULL};
    struct error e;

    (void)state;
    assert_null(qcow2_writer_new(-1, &o, &e));
    assert_int_equal(e.code, ERR_LIMIT);
    memset(name, 'a', 1024);
    name[1024] = 0;
    o = (struct qcow2_write_options){1 << 20, name, "raw"};
    assert_null(qcow2_writer_new(-1, &o, &e));
    assert_int_equal(e.code, ERR_LIMIT);
}

static void a_full_disk_is_an_error(void **state)
{
    const struct qcow2_write_options o = {64 << 20, NULL, NULL};
    const struct rlimit limit = {1 << 20, RLIM_INFINITY};
    FILE *file = tmpfile();
    struct error e;
    AUTO(qcow2_writer) *w = qcow2_writer_new(fileno(file), &o, &e);
    struct rlimit old;
    int failed = 0;

    (void)state;
    assert_non_null(w);
    signal(SIGXFSZ, SIG_IGN);
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &old), 0);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &limit), 0);
    for (uint64_t i = 0; i < 32 && failed == 0; i++)
        failed = qcow2_write_data(w, i, cluster, &e);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &old), 0);
    assert_int_equal(failed, -1);
    assert_int_equal(e.code, ERR_IO);
    assert_int_equal(e.sys, EFBIG);
    assert_int_equal(qcow2_write_finish(w, &e), -1);
    fclose(file);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_size_is_that_of_the_page),
        cmocka_unit_test(an_unfinished_file_begins_with_zeros),
        cmocka_unit_test(clusters_come_in_rising_order_and_within_the_disk),
        cmocka_unit_test(what_qemu_cannot_open_is_refused),
        cmocka_unit_test(a_full_disk_is_an_error),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
