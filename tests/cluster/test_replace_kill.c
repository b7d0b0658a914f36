/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The replacement ends before each of its system calls in turn, and at any moment: the images are
 * there, open, and go on or back from where it ended. */
#include "family.h"

#include <signal.h>
#include <time.h>

struct ending {
    int at;        /* the call before which the process ends; 0: none */
    bool no_links; /* the file system has no hard links */
    bool error;    /* the call fails instead */
    int calls;
};

static int end_here(void *arg, const char *call, const char *name)
{
    struct ending *x = arg;

    (void)name;
    if (++x->calls == x->at && x->error)
        return EIO;
    if (x->calls == x->at)
        _exit(42);
    return x->no_links && strcmp(call, "link") == 0 ? EPERM : 0;
}

typedef int action(const struct fileops_hook *hook, struct error *e);

static int replace_quickly(const struct fileops_hook *hook, struct error *e)
{
    return family_replace(&family_quick_worker, hook, e);
}

static int undo(const struct fileops_hook *hook, struct error *e)
{
    return family_undo(hook, false, e);
}

/* True when the action came to its end before the call. */
static bool ends_before(action *act, int at, bool no_links)
{
    pid_t child = fork();
    int status;

    assert_true(child >= 0);
    if (child == 0) {
        struct ending x = {at, no_links, false, 0};
        const struct fileops_hook hook = {end_here, &x};
        struct error e;

        if (act(&hook, &e) < 0) {
            fprintf(stderr, "%s\n", e.msg);
            _exit(1);
        }
        _exit(0);
    }
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFEXITED(status));
    assert_true(WEXITSTATUS(status) == 0 || WEXITSTATUS(status) == 42);
    return WEXITSTATUS(status) == 0;
}

static void kill_at_every_step(bool no_links)
{
    struct ending x = {0, no_links, false, 0};
    const struct fileops_hook hook = {end_here, &x};
    struct error e;
    int at;

    for (at = 1; at < 1000; at++) {
        make_family();
        if (ends_before(replace_quickly, at, no_links))
            break;
        assert_family_reads();
        if (at % 2 == 0) { /* forward, then back */
            assert_ok(replace_quickly(&hook, &e), &e);
            if (at % 4 == 0)
                assert_family_replaced();
        }
        assert_ok(undo(&hook, &e), &e);
        assert_family_restored();
    }
    assert_in_range(at, 40, 200); /* it did something */
    assert_family_replaced();
}

static void ending_before_any_call_loses_nothing(void **state)
{
    (void)state;
    kill_at_every_step(false);
}

static void the_same_without_hard_links(void **state)
{
    (void)state;
    kill_at_every_step(true);
}

static bool marked(const char *path)
{
    struct stat st;

    assert_int_equal(lstat(path, &st), 0);
    return (st.st_mode & S_ISVTX) != 0;
}

/* A plan that is made anew sees overlays where the interrupted one had images. */
static void another_plan_finishes_what_was_swapped(void **state)
{
    struct error e;

    (void)state;
    for (int at = 1; at < 1000; at++) {
        struct replace_item items[FAMILY];
        const struct replace_options o = {};
        AUTO(replace) *r = NULL;
        struct stat st;

        make_family();
        if (ends_before(replace_quickly, at, false))
            break;
        memcpy(items, family_items, sizeof items);
        for (int i = 0; i < FAMILY; i++)
            items[i].backing = REPLACE_NONE;
        r = replace_plan(items, FAMILY, &o, &e);
        assert_non_null(r);
        assert_ok(replace_run(r, &family_quick_worker, NULL, &e), &e);
        for (int i = 0; i < FAMILY; i++)
            assert_false(marked(family_paths[i]));
        assert_int_equal(stat("R.img", &st), 0);
        if (st.st_ino != family_inodes[R]) {
            assert_int_equal(stat("R.img" REPLACE_BASE, &st), 0);
            assert_int_equal(st.st_mode & 0222, 0);
        }
        assert_int_not_equal(run("ls *.stemma-new sub/*.stemma-new 2>/dev/null"), 0);
        assert_ok(undo(NULL, &e), &e);
        assert_family_restored();
    }
}

static void undo_may_end_anywhere_too(void **state)
{
    struct error e;
    int at;

    (void)state;
    for (at = 1; at < 1000; at++) {
        make_family();
        assert_ok(replace_quickly(NULL, &e), &e);
        if (ends_before(undo, at, false))
            break;
        assert_family_reads();
        if (at % 2 == 0) {
            assert_ok(replace_quickly(NULL, &e), &e);
            assert_family_replaced();
        }
        assert_ok(undo(NULL, &e), &e);
        assert_family_restored();
    }
    assert_in_range(at, 8, 100);
    assert_family_restored();
}

static void an_error_at_any_call_loses_nothing(void **state)
{
    struct error e;
    int at;

    (void)state;
    for (at = 1; at < 1000; at++) {
        struct ending x = {at, false, true, 0};
        const struct fileops_hook hook = {end_here, &x};

        make_family();
        if (replace_quickly(&hook, &e) == 0)
            break;
        assert_family_reads();
        assert_ok(undo(NULL, &e), &e);
        assert_family_restored();
    }
    assert_in_range(at, 40, 200);
}

static void killed_at_random_moments(void **state)
{
    uint64_t seed = (uint64_t)time(NULL);
    struct error e;

    (void)state;
    printf("seed %ju\n", (uintmax_t)seed);
    for (int round = 0; round < 12; round++) {
        pid_t child;

        make_family();
        child = fork();
        assert_true(child >= 0);
        if (child == 0)
            _exit(replace_quickly(NULL, &e) < 0);
        usleep((useconds_t)(next_random(&seed) % 20000));
        assert_int_equal(kill(child, SIGKILL), 0);
        assert_int_equal(waitpid(child, NULL, 0), child);
        assert_family_reads();
        assert_ok(replace_quickly(NULL, &e), &e);
        assert_family_replaced();
        assert_ok(undo(NULL, &e), &e);
        assert_family_restored();
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(ending_before_any_call_loses_nothing),
        cmocka_unit_test(the_same_without_hard_links),
        cmocka_unit_test(another_plan_finishes_what_was_swapped),
        cmocka_unit_test(undo_may_end_anywhere_too),
        cmocka_unit_test(an_error_at_any_call_loses_nothing),
        cmocka_unit_test(killed_at_random_moments),
    };
    char folder[256];
    int failed;

    skip_without("qemu-img");
    /* hundreds of synced folders: in memory that is free */
    if (access("/dev/shm", W_OK) == 0)
        setenv("TMPDIR", "/dev/shm", 0);
    enter_test_folder(folder);
    make_saved();
    failed = cmocka_run_group_tests(tests, NULL, NULL);
    leave_test_folder(folder);
    return failed;
}
