/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What random disks (scan_oracle.py) seldom hit. Expected ids are those of a plain file with the
 * content that the disk must have. */
#include "../disk/env_files.h"
#include "../test.h"

#include "sig/library.h"

#include <string.h>

struct place {
    char *folder;
    struct pool *pool;
    struct test_env env;
    struct cancel cancel;
    struct progress progress;
    struct scan_options scan;
    struct sig_library *library;
};

static int set_up(void **state)
{
    struct place *p = calloc(1, sizeof *p);
    struct error e;

    p->folder = test_folder_new();
    p->pool = pool_new(2, &e);
    p->scan =
        (struct scan_options){.pool = p->pool, .cancel = &p->cancel, .progress = &p->progress};
    assert_ok(test_env_init(&p->env, &e), &e);
    p->library = sig_library_new(NULL, &p->scan, &p->env.env.problems, &e);
    *state = p;
    return p->pool == NULL || p->library == NULL;
}

static int tear_down(void **state)
{
    struct place *p = *state;

    sig_library_free(p->library);
    test_env_release(&p->env);
    pool_free(p->pool);
    test_folder_remove(p->folder);
    free(p);
    return 0;
}

static struct disk *open_disk(struct place *p, const char *name, const char *format)
{
    AUTO_FREE char *path = test_path(p->folder, name);
    struct disk *d = NULL;
    struct error e;

    assert_ok(test_env_open(&p->env, path, format, NULL, &d, &e), &e);
    return d;
}

static struct id disk_id_of(struct place *p, const char *name, const char *format)
{
    AUTO(disk) *d = open_disk(p, name, format);
    AUTO(sig) *s = NULL;
    struct sig_origin origin;
    struct error e;

    assert_ok(sig_library_get(p->library, d, &s, &origin, &e), &e);
    assert_int_equal(p->progress.done, p->progress.total);
    return s->disk;
}

static void assert_same_disk(struct place *p, const char *image, const char *plain)
{
    struct id a = disk_id_of(p, image, "qcow2"), b = disk_id_of(p, plain, "raw");

    assert_memory_equal(&a, &b, sizeof a);
}

static void an_overlay_may_end_within_a_cluster_of_its_base(void **state)
{
    static const char *const cases[][2] = {
        /* what qemu-io writes to the overlay; what is done to the expected file */
        {"-c quit", "true"},
        {"-c 'write -q -P 1 0 512'", "printf '\\001%.0s' $(seq 512) | dd of=want conv=notrunc"},
        {"-c 'write -q -P 1 64k 512'",
         "printf '\\001%.0s' $(seq 512) | dd of=want bs=64k seek=1 conv=notrunc"},
    };
    const unsigned bases[] = {200000, 70000}; /* the latter ends within that cluster as well */
    struct place *p = *state;

    if (!test_have("qemu-img") || !test_have("qemu-io"))
        skip();
    for (size_t i = 0; i < 2 * sizeof cases / sizeof *cases; i++) {
        assert_int_equal(
            test_run("cd %s && rm -f o.qcow2 && yes b | head -c %u > base && head -c 66560 "
                     "base > want && qemu-img create -q -f qcow2 -b base -F raw o.qcow2 66560 && "
                     "qemu-io -f qcow2 %s o.qcow2 > /dev/null && { %s; } 2> /dev/null",
                     p->folder, bases[i % 2], cases[i / 2][0], cases[i / 2][1]),
            0);
        assert_same_disk(p, "o.qcow2", "want");
    }
}

static void a_base_that_is_zero_there_needs_no_reading(void **state)
{
    struct place *p = *state;

    if (!test_have("qemu-img") || !test_have("qemu-io"))
        skip();
    assert_int_equal(test_run("cd %s && yes b | head -c 131072 > base && truncate -s 1000000 base "
                              "&& qemu-img create -q -f qcow2 -o cluster_size=4k -b base -F raw "
                              "o.qcow2 66560 && qemu-io -f qcow2 -c 'write -q -P 7 64k 512' o.qcow2"
                              " && head -c 66560 base > want && yes %s | head -n 512 | tr -d "
                              "'\\n' | dd of=want bs=64k seek=1 conv=notrunc 2> /dev/null",
                              p->folder, "$(printf '\\007')"),
                     0);
    assert_same_disk(p, "o.qcow2", "want");
}

static void what_lies_beyond_a_shorter_base_is_zero(void **state)
{
    struct place *p = *state;

    if (!test_have("qemu-img"))
        skip();
    assert_int_equal(
        test_run("cd %s && yes b | head -c 70144 > base && cp base want && truncate -s "
                 "300000000 want && qemu-img create -q -f qcow2 -b base -F raw o.qcow2 "
                 "300000256 && truncate -s 300000256 want",
                 p->folder),
        0);
    assert_same_disk(p, "o.qcow2", "want");
    /* base, want (in whole blocks of its file system), and none of the overlay */
    assert_in_range(p->progress.total, 2 * 70144, 2 * 73728);
}

static void a_huge_sparse_disk_takes_no_time(void **state)
{
    struct place *p = *state;
    struct id a, b;

    assert_int_equal(
        test_run("cd %s && truncate -s 4T a && cp --sparse=always a b && printf x | dd "
                 "of=b bs=1 seek=3000000000000 conv=notrunc 2> /dev/null",
                 p->folder),
        0);
    a = disk_id_of(p, "a", "raw");
    assert_int_equal(p->progress.total, 0);
    b = disk_id_of(p, "b", "raw");
    assert_true(p->progress.total <= CLUSTER_SIZE);
    assert_memory_not_equal(&a, &b, sizeof a);
}

static void a_scan_can_be_cancelled(void **state)
{
    struct place *p = *state;
    AUTO(disk) *d = NULL;
    AUTO(sig) *s = NULL;
    struct sig_origin origin;
    struct error e = {};

    assert_int_equal(test_run("yes b | head -c 3000000 > %s/a", p->folder), 0);
    d = open_disk(p, "a", "raw");
    p->cancel.requested = true;
    assert_int_equal(sig_library_get(p->library, d, &s, &origin, &e), -1);
    assert_int_equal(e.code, ERR_CANCELLED);
    assert_null(s);
    p->cancel.requested = false; /* and done after all */
    assert_ok(sig_library_get(p->library, d, &s, &origin, &e), &e);
}

static void a_file_that_shrank_is_an_error(void **state)
{
    struct place *p = *state;
    AUTO_FREE char *path = test_path(p->folder, "a");
    AUTO(disk) *d = NULL;
    AUTO(sig) *s = NULL;
    struct sig_origin origin;
    struct error e = {};

    assert_int_equal(test_run("yes b | head -c 3000000 > %s/a", p->folder), 0);
    d = open_disk(p, "a", "raw");
    assert_int_equal(truncate(path, 1000000), 0);
    assert_int_equal(sig_library_get(p->library, d, &s, &origin, &e), -1);
    assert_int_equal(e.code, ERR_CHANGED);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
#define T(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
        T(an_overlay_may_end_within_a_cluster_of_its_base),
        T(a_base_that_is_zero_there_needs_no_reading),
        T(what_lies_beyond_a_shorter_base_is_zero),
        T(a_huge_sparse_disk_takes_no_time),
        T(a_scan_can_be_cancelled),
        T(a_file_that_shrank_is_an_error),
    };

    hash_init();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
