/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Overlays of raw images, judged by qemu-img. */
#include "../disk/env_files.h"
#include "../test.h"
#include "../tools.h"

#include "base/ckd.h"
#include "cluster/overlay.h"
#include "cluster/plan.h"
#include "disk/qcow2_write.h"
#include "disk/reader.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/stat.h>

static struct test_env environment;
static struct scan_options scan;
static uint64_t seed;

static struct disk *open_disk(const char *path, const char *format)
{
    struct disk *d;
    struct error e;

    assert_ok(test_env_open(&environment, path, format, NULL, &d, &e), &e);
    return d;
}

static struct sig *sign(struct disk *d)
{
    struct sig *s;
    struct error e;

    assert_ok(scan_disk(d, NULL, &scan, &s, &e), &e);
    return s;
}

/* A raw image of clusters that are zeros or one of a few contents, so that two images have many in
 * common; small pieces at odd places differ. */
static void make_image(const char *path, uint64_t size)
{
    AUTO_FD int fd = open(path, O_RDWR | O_CREAT | O_TRUNC, 0600);
    static uint8_t bytes[CLUSTER_SIZE];

    assert_int_equal(ftruncate(fd, (off_t)size), 0);
    for (uint64_t at = 0; at < size; at += CLUSTER_SIZE) {
        uint64_t content = 1 + next_random(&seed) % 3, state = content + at;
        size_t length = min_u64(CLUSTER_SIZE, size - at);

        if (next_random(&seed) % 4 == 0)
            continue;
        fill_random(&state, bytes, CLUSTER_SIZE);
        if (next_random(&seed) % 8 == 0)
            bytes[next_random(&seed) % length] ^= 1;
        assert_int_equal(pwrite(fd, bytes, length, (off_t)at), length);
    }
}

static int write_overlay(const char *path, struct disk *child, const char *backing,
                         const char *format, struct error *e)
{
    AUTO(disk) *parent = open_disk(backing, format);
    AUTO(sig) *c = sign(child), *p = sign(parent);
    AUTO_FD int fd = open(path, O_RDWR | O_CREAT | O_TRUNC, 0600);
    struct stat st;

    if (overlay_write(child, c, p, fd, backing, format, &scan, e) < 0)
        return -1;
    assert_int_equal(fstat(fd, &st), 0);
    assert_int_equal(st.st_size, plan_overlay_bytes(c, p));
    return 0;
}

static void check_overlay(const char *path, struct disk *original, const char *raw)
{
    AUTO(disk) *overlay = open_disk(path, "qcow2");
    struct error e;

    assert_int_equal(run("qemu-img check -q -f qcow2 %s", path), 0);
    assert_int_equal(run("qemu-img compare -q -f qcow2 -F raw %s %s", path, raw), 0);
    assert_ok(overlay_verify(original, overlay, &scan, &e), &e);
}

static void random_overlays_are_what_qemu_reads(void **state)
{
    struct error e;

    (void)state;
    for (int round = 0; round < 30; round++) {
        uint64_t sizes[2];
        AUTO(disk) *child = NULL;

        for (int i = 0; i < 2; i++) {
            sizes[i] = 1 + next_random(&seed) % (3 << 20);
            if (round % 3 == 0)
                sizes[i] = div_up(sizes[i], 4096) * 4096;
        }
        if (round % 5 == 0)
            sizes[1] = sizes[0];
        make_image("parent.raw", sizes[0]);
        make_image("child.raw", sizes[1]);
        child = open_disk("child.raw", "raw");
        assert_ok(write_overlay("overlay.qcow2", child, "parent.raw", "raw", &e), &e);
        check_overlay("overlay.qcow2", child, "child.raw");
    }
}

static void chains_of_overlays_and_fresh_layers_read_as_the_original(void **state)
{
    struct error e;
    AUTO(disk) *a = NULL, *b = NULL, *base = NULL, *fresh = NULL;
    AUTO_FD int fd = -1;
    struct progress progress = {};

    (void)state;
    make_image("root.raw", 2 << 20);
    make_image("a.raw", (2 << 20) + 70000);
    make_image("b.raw", (2 << 20) - 1000);
    a = open_disk("a.raw", "raw");
    b = open_disk("b.raw", "raw");
    assert_ok(write_overlay("a.qcow2", a, "root.raw", "raw", &e), &e);
    assert_ok(write_overlay("b.qcow2", b, "a.qcow2", "qcow2", &e), &e);
    check_overlay("a.qcow2", a, "a.raw");
    check_overlay("b.qcow2", b, "b.raw");
    fd = open("fresh.qcow2", O_RDWR | O_CREAT, 0600);
    assert_ok(overlay_write_empty(fd, disk_size(b), "b.qcow2", "qcow2", &e), &e);
    check_overlay("fresh.qcow2", b, "b.raw");
    base = open_disk("b.qcow2", "qcow2");
    fresh = open_disk("fresh.qcow2", "qcow2");
    scan.progress = &progress;
    assert_ok(overlay_verify(base, fresh, &scan, &e), &e);
    scan.progress = NULL;
    assert_int_equal(progress.done, disk_size(fresh));
    assert_int_equal(progress.total, disk_size(fresh));
}

static void without_a_parent_it_is_the_whole_disk(void **state)
{
    AUTO(disk) *child = NULL;
    AUTO(sig) *s = NULL;
    AUTO_FD int fd = open("whole.qcow2", O_RDWR | O_CREAT | O_TRUNC, 0600);
    struct error e;

    (void)state;
    make_image("child.raw", 1234567);
    child = open_disk("child.raw", "raw");
    s = sign(child);
    assert_ok(overlay_write(child, s, NULL, fd, NULL, NULL, &scan, &e), &e);
    check_overlay("whole.qcow2", child, "child.raw");
}

static void a_disk_that_changed_since_it_was_signed_is_told(void **state)
{
    AUTO(disk) *child = NULL, *parent = NULL;
    AUTO(sig) *c = NULL, *p = NULL;
    AUTO_FD int fd = open("overlay.qcow2", O_RDWR | O_CREAT | O_TRUNC, 0600);
    struct error e;

    (void)state;
    make_image("parent.raw", 1 << 20);
    make_image("child.raw", 1 << 20);
    assert_int_equal(run("printf 1 | dd of=child.raw bs=1 seek=589823 conv=notrunc status=none"),
                     0);
    child = open_disk("child.raw", "raw");
    parent = open_disk("parent.raw", "raw");
    c = sign(child);
    p = sign(parent);
    assert_int_equal(run("printf 2 | dd of=child.raw bs=1 seek=589823 conv=notrunc status=none"),
                     0);
    assert_int_equal(overlay_write(child, c, p, fd, "parent.raw", "raw", &scan, &e), -1);
    assert_int_equal(e.code, ERR_CHANGED);
    assert_non_null(strstr(e.msg, "524288"));
    assert_int_not_equal(run("qemu-img info -f qcow2 overlay.qcow2 >/dev/null 2>&1"), 0);
}

static void the_first_difference_is_named(void **state)
{
    const uint64_t places[] = {0, 65535, 65536, (5 << 20) + 17, (6 << 20) + 65535};
    struct error e;

    (void)state;
    make_image("parent.raw", (6 << 20) + 65536);
    for (size_t i = 0; i < sizeof places / sizeof *places; i++) {
        AUTO(disk) *a = NULL, *b = NULL;
        char text[64];

        assert_int_equal(run("cp parent.raw other.raw && for i in %ju 6500000; do "
                             "dd if=parent.raw bs=1 skip=$i count=1 status=none | tr '\\000-\\377' "
                             "'\\001-\\377\\000' | dd of=other.raw bs=1 seek=$i conv=notrunc "
                             "status=none; done",
                             (uintmax_t)places[i]),
                         0);
        a = open_disk("parent.raw", "raw");
        b = open_disk("other.raw", "raw");
        assert_int_equal(overlay_verify(a, b, &scan, &e), -1);
        assert_int_equal(e.code, ERR_FORMAT);
        snprintf(text, sizeof text, "at offset %ju", (uintmax_t)min_u64(places[i], 6500000));
        if (strstr(e.msg, text) == NULL)
            fail_msg("\"%s\" does not say \"%s\"", e.msg, text);
    }
}

/* The overlay itself holds nothing: what differs is below it. */
static void what_an_overlay_does_not_hold_is_compared_as_well(void **state)
{
    struct error e;

    (void)state;
    make_image("parent.raw", (1 << 20) + 65536);
    assert_int_equal(run("cp parent.raw other.raw && head -c 1 /dev/zero | tr '\\000' '\\125' | "
                         "dd of=other.raw bs=1 seek=1000000 conv=notrunc status=none && rm -f "
                         "on.qcow2 && qemu-img create -q -f qcow2 -b other.raw -F raw on.qcow2"),
                     0);
    for (size_t same = 0; same < 2; same++) {
        AUTO(disk) *a = open_disk(same ? "other.raw" : "parent.raw", "raw");
        AUTO(disk) *b = open_disk("on.qcow2", "qcow2");

        assert_int_equal(overlay_verify(a, b, &scan, &e), same ? 0 : -1);
    }
}

static void sizes_must_agree_but_for_the_last_sector(void **state)
{
    AUTO(disk) *a = NULL, *b = NULL, *c = NULL;
    struct error e;

    (void)state;
    assert_int_equal(run("rm -f [xyz].raw; truncate -s 1000 x.raw; truncate -s 1024 y.raw; "
                         "truncate -s 1536 z.raw"),
                     0);
    a = open_disk("x.raw", "raw");
    b = open_disk("y.raw", "raw");
    c = open_disk("z.raw", "raw");
    assert_ok(overlay_verify(a, b, &scan, &e), &e);
    assert_int_equal(overlay_verify(a, c, &scan, &e), -1);
    assert_int_equal(overlay_verify(b, a, &scan, &e), -1);
    assert_int_equal(e.code, ERR_FORMAT);
}

static void huge_and_empty_takes_no_time(void **state)
{
    AUTO(disk) *child = NULL;
    struct error e;

    (void)state;
    assert_int_equal(run("rm -f parent.raw child.raw; truncate -s 4T parent.raw child.raw && "
                         "printf x | dd of=child.raw bs=1 seek=3T conv=notrunc status=none && "
                         "printf x | dd of=parent.raw bs=1 seek=2T conv=notrunc status=none"),
                     0);
    child = open_disk("child.raw", "raw");
    assert_ok(write_overlay("overlay.qcow2", child, "parent.raw", "raw", &e), &e);
    check_overlay("overlay.qcow2", child, "child.raw");
}

static void a_full_disk_is_an_error_and_leaves_no_image(void **state)
{
    const struct rlimit limit = {300 << 10, RLIM_INFINITY};
    AUTO(disk) *child = NULL;
    struct rlimit old;
    struct error e;
    int result;

    (void)state;
    make_image("parent.raw", 1 << 20);
    make_image("child.raw", 4 << 20);
    child = open_disk("child.raw", "raw");
    signal(SIGXFSZ, SIG_IGN);
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &old), 0);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &limit), 0);
    result = write_overlay("overlay.qcow2", child, "parent.raw", "raw", &e);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &old), 0);
    assert_int_equal(result, -1);
    assert_int_equal(e.code, ERR_IO);
    assert_int_equal(e.sys, EFBIG);
    assert_int_not_equal(run("qemu-img info -f qcow2 overlay.qcow2 >/dev/null 2>&1"), 0);
}

static void a_request_to_stop_is_heard(void **state)
{
    struct cancel cancel = {};
    AUTO(disk) *child = NULL;
    struct scan_options o = scan;
    struct error e;

    (void)state;
    make_image("child.raw", 4 << 20);
    child = open_disk("child.raw", "raw");
    o.cancel = &cancel;
    atomic_store(&cancel.requested, true);
    assert_int_equal(overlay_verify(child, child, &o, &e), -1);
    assert_int_equal(e.code, ERR_CANCELLED);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(random_overlays_are_what_qemu_reads),
        cmocka_unit_test(chains_of_overlays_and_fresh_layers_read_as_the_original),
        cmocka_unit_test(without_a_parent_it_is_the_whole_disk),
        cmocka_unit_test(a_disk_that_changed_since_it_was_signed_is_told),
        cmocka_unit_test(the_first_difference_is_named),
        cmocka_unit_test(what_an_overlay_does_not_hold_is_compared_as_well),
        cmocka_unit_test(sizes_must_agree_but_for_the_last_sector),
        cmocka_unit_test(huge_and_empty_takes_no_time),
        cmocka_unit_test(a_full_disk_is_an_error_and_leaves_no_image),
        cmocka_unit_test(a_request_to_stop_is_heard),
    };
    AUTO(pool) *pool = NULL;
    struct error e;
    char folder[256];
    int failed;

    skip_without("qemu-img");
    seed = getenv("STEMMA_SEED") != NULL ? strtoull(getenv("STEMMA_SEED"), NULL, 0) : 20130501;
    printf("STEMMA_SEED=%ju\n", (uintmax_t)seed);
    hash_init();
    scan.pool = pool = pool_new(2, &e);
    if (pool == NULL || reader_init(&e) < 0 || test_env_init(&environment, &e) < 0)
        return 1;
    enter_test_folder(folder);
    failed = cmocka_run_group_tests(tests, NULL, NULL);
    leave_test_folder(folder);
    test_env_release(&environment);
    return failed;
}
