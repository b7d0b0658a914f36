/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "family.h"

#include "base/pool.h"

#include <sys/sysmacros.h>

static int setup(void **state)
{
    (void)state;
    make_family();
    return 0;
}

static struct replace *plan_of(const struct replace_item *items, size_t n, struct error *e)
{
    const struct replace_options o = {};

    return replace_plan(items, n, &o, e);
}

static void assert_refused(enum err_code code, const char *text)
{
    struct error e = {};

    assert_null(plan_of(family_items, FAMILY, &e));
    if (strstr(e.msg, text) == NULL)
        fail_msg("\"%s\" does not say \"%s\"", e.msg, text);
    assert_int_equal(e.code, code);
}

static void a_plan_lists_its_steps_and_touches_nothing(void **state)
{
    static const struct {
        enum replace_kind kind;
        const char *path, *to;
    } expected[] = {
        {REPLACE_STEP_KEEP_BASE, "R.img", "R.img.stemma-base"},
        {REPLACE_STEP_WRITE, "P.img", "P.img.stemma-new"},
        {REPLACE_STEP_KEEP_OLD, "P.img", "P.img.stemma-old"},
        {REPLACE_STEP_NAME_BASE, "P.img.stemma-new", "P.img.stemma-base"},
        {REPLACE_STEP_WRITE, "D.img", "D.img.stemma-new"},
        {REPLACE_STEP_WRITE, "C.img", "C.img.stemma-new"},
        {REPLACE_STEP_WRITE_FRESH, "R.img.stemma-base", "R.img.stemma-new"},
        {REPLACE_STEP_WRITE_FRESH, "P.img.stemma-base", "P.img.stemma-new"},
        {REPLACE_STEP_SWAP, "R.img.stemma-new", "R.img"},
        {REPLACE_STEP_FREEZE, "R.img", "R.img.stemma-base"},
        {REPLACE_STEP_SETTLE, "R.img", "R.img"},
        {REPLACE_STEP_SWAP, "P.img.stemma-new", "P.img"},
        {REPLACE_STEP_SETTLE, "P.img", "P.img"},
        {REPLACE_STEP_KEEP_OLD, "D.img", "D.img.stemma-old"},
        {REPLACE_STEP_SWAP, "D.img.stemma-new", "D.img"},
        {REPLACE_STEP_SETTLE, "D.img", "D.img"},
        {REPLACE_STEP_KEEP_OLD, "C.img", "C.img.stemma-old"},
        {REPLACE_STEP_SWAP, "C.img.stemma-new", "C.img"},
        {REPLACE_STEP_SETTLE, "C.img", "C.img"},
    };
    struct error e;
    AUTO(replace) *r = plan_of(family_items, FAMILY, &e);
    const struct replace_step *s;
    size_t n;

    (void)state;
    assert_non_null(r);
    s = replace_steps(r, &n);
    assert_int_equal(n, sizeof expected / sizeof *expected);
    for (size_t i = 0; i < n; i++) {
        AUTO_FREE char *text = replace_step_text(&s[i], &e);

        assert_int_equal(s[i].kind, expected[i].kind);
        assert_string_equal(strrchr(s[i].path, '/') + 1, expected[i].path);
        assert_string_equal(strrchr(s[i].to, '/') + 1, expected[i].to);
        assert_non_null(strstr(text, s[i].to));
    }
    assert_string_equal(s[1].backing_name, "R.img.stemma-base");
    assert_string_equal(s[1].backing_format, "raw");
    assert_string_equal(s[4].backing_name, s[4].backing_path); /* from another folder */
    assert_int_equal(s[4].backing_name[0], '/');
    assert_string_equal(s[5].backing_format, "qcow2");
    assert_int_equal(replace_bytes(r), family_sizes[P] + family_sizes[C] + family_sizes[D] +
                                           2 * qcow2_written_size(1 << 20, 0, 0));
    assert_family_restored();
}

static void a_replaced_family_reads_as_before_and_each_can_be_written_to(void **state)
{
    struct error e;

    (void)state;
    assert_ok(family_replace(&family_worker, NULL, &e), &e);
    assert_family_replaced();
    assert_int_equal(run("qemu-io -f qcow2 -c 'write -P 1 0 900k' R.img >/dev/null && "
                         "qemu-io -f qcow2 -c 'write -P 2 0 900k' P.img >/dev/null"),
                     0);
    assert_true(reads_as("C.img", family_saved[C]));
    assert_true(reads_as("sub/D.img", family_saved[D]));
    assert_false(reads_as("R.img", family_saved[R]));
    assert_int_equal(run("for i in *.img sub/*.img; do qemu-img check -q $i || exit 1; done"), 0);
}

static void undo_brings_everything_back(void **state)
{
    struct error e;

    (void)state;
    assert_ok(family_replace(&family_worker, NULL, &e), &e);
    assert_ok(family_undo(NULL, false, &e), &e);
    assert_family_restored();
    assert_ok(family_undo(NULL, false, &e), &e); /* nothing to undo is no error */
    assert_family_restored();
}

static void undo_does_not_throw_away_what_a_guest_wrote(void **state)
{
    struct timespec times[2] = {{0, UTIME_OMIT}};
    struct error e;

    (void)state;
    for (int i = 0; i < FAMILY; i++) {
        make_family();
        assert_int_equal(chmod(family_paths[D], 0644), 0);
        family_stats[D].st_mode = S_IFREG | 0644;
        assert_ok(family_replace(&family_quick_worker, NULL, &e), &e);
        assert_int_equal(run("qemu-io -f qcow2 -c 'write 0 512' %s >/dev/null", family_paths[i]),
                         0);
        assert_int_equal(family_undo(NULL, false, &e), -1);
        assert_int_equal(e.code, ERR_CHANGED);
        assert_non_null(strstr(e.msg, family_paths[i]));
        assert_original_exists(i);
        /* within the second of the original's time as well */
        times[1] = family_stats[i].st_mtim;
        times[1].tv_nsec = (times[1].tv_nsec + 1) % 1000000000;
        assert_int_equal(utimensat(AT_FDCWD, family_paths[i], times, 0), 0);
        assert_int_equal(family_undo(NULL, false, &e), -1);
        assert_int_equal(e.code, ERR_CHANGED);
        assert_ok(family_undo(NULL, true, &e), &e);
        assert_family_restored();
    }
}

static void a_root_is_not_undone_under_those_that_stand_on_it(void **state)
{
    const char *const only_root[] = {"R.img"}, *const middle[] = {"P.img"};
    const struct replace_options o = {};
    struct error e;
    AUTO(replace) *root = NULL, *p = NULL;

    (void)state;
    assert_ok(family_replace(&family_quick_worker, NULL, &e), &e);
    root = replace_plan_undo(only_root, 1, &o, &e);
    assert_non_null(root);
    assert_int_equal(replace_run(root, &family_worker, NULL, &e), -1);
    assert_int_equal(e.code, ERR_IN_USE);
    assert_family_replaced();
    /* a middle comes back, and what others stand on stays */
    p = replace_plan_undo(middle, 1, &o, &e);
    assert_non_null(p);
    assert_ok(replace_run(p, &family_worker, NULL, &e), &e);
    assert_family_reads();
    assert_true(same_bytes("P.img", family_saved[P]));
    assert_int_equal(access("P.img.stemma-base", F_OK), 0);
    assert_ok(family_undo(NULL, false, &e), &e);
    assert_family_restored();
}

static void commit_removes_the_originals_and_nothing_else(void **state)
{
    struct error e;

    (void)state;
    assert_ok(family_replace(&family_quick_worker, NULL, &e), &e);
    assert_ok(family_commit(NULL, &e), &e);
    assert_int_equal(access("P.img.stemma-old", F_OK), -1);
    assert_int_equal(access("C.img.stemma-old", F_OK), -1);
    assert_int_equal(access("sub/D.img.stemma-old", F_OK), -1);
    for (int i = 0; i < FAMILY; i++)
        assert_true(reads_as(family_paths[i], family_saved[i]));
    assert_ok(family_commit(NULL, &e), &e);
    /* nothing is left that undo could bring back without breaking those that stand on it */
    assert_int_equal(family_undo(NULL, false, &e), -1);
    assert_int_equal(e.code, ERR_IN_USE);
    for (int i = 0; i < FAMILY; i++)
        assert_true(reads_as(family_paths[i], family_saved[i]));
}

static void commit_wants_the_overlay_there(void **state)
{
    struct error e;

    (void)state;
    assert_ok(family_replace(&family_quick_worker, NULL, &e), &e);
    assert_int_equal(unlink("C.img"), 0);
    assert_int_equal(family_commit(NULL, &e), -1);
    assert_int_equal(e.code, ERR_NOT_FOUND);
    assert_non_null(strstr(e.msg, "C.img.stemma-old"));
    assert_int_equal(access("P.img.stemma-old", F_OK), 0);
    assert_ok(family_undo(NULL, false, &e), &e); /* but undo brings it back */
    assert_family_restored();
    assert_int_equal(link("C.img", "C.img.stemma-old"), 0);
    assert_int_equal(family_commit(NULL, &e), -1);
    assert_int_equal(e.code, ERR_DENIED);
    assert_int_equal(unlink("C.img.stemma-old"), 0);
}

static void names_that_are_taken_are_refused(void **state)
{
    const char *const names[] = {"R.img.stemma-base", "R.img.stemma-new", "P.img.stemma-base",
                                 "P.img.stemma-old",  "C.img.stemma-new", "C.img.stemma-old"};

    (void)state;
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        struct stat st;

        write_file(names[i], "mine", 4);
        assert_refused(ERR_DENIED, names[i]);
        assert_int_equal(stat(names[i], &st), 0);
        assert_int_equal(st.st_size, 4);
        assert_int_equal(unlink(names[i]), 0);
        assert_int_equal(symlink("elsewhere", names[i]), 0);
        assert_refused(ERR_DENIED, names[i]);
        assert_int_equal(unlink(names[i]), 0);
    }
    assert_family_restored();
}

static void a_committed_family_is_not_replaced_again_by_the_same_names(void **state)
{
    struct error e;

    (void)state;
    assert_ok(family_replace(&family_quick_worker, NULL, &e), &e);
    assert_ok(family_commit(NULL, &e), &e);
    assert_int_equal(run("qemu-io -f qcow2 -c 'write 0 512' R.img >/dev/null"), 0);
    assert_refused(ERR_DENIED, "R.img.stemma-base");
}

static void an_overlay_that_was_not_committed_is_not_moved_to_another_base(void **state)
{
    struct error e;
    AUTO(replace) *r = NULL;
    char base[PATH_MAX];
    size_t n;

    (void)state;
    assert_ok(family_replace(&family_quick_worker, NULL, &e), &e);
    assert_non_null(realpath("R.img.stemma-base", base));
    family_items[D].stands_on = base;
    r = plan_of(family_items, FAMILY, &e);
    assert_non_null(r);
    replace_steps(r, &n);
    assert_int_equal(n, 0); /* all was done */
    family_items[D].stands_on = "/elsewhere";
    assert_refused(ERR_DENIED, "D.img.stemma-old");
    family_items[D].stands_on = NULL;
}

static void other_hard_links_are_refused(void **state)
{
    (void)state;
    assert_int_equal(link("C.img", "other"), 0);
    assert_refused(ERR_DENIED, "hard links");
    assert_int_equal(unlink("other"), 0);
}

static void what_is_no_file_is_refused(void **state)
{
    (void)state;
    assert_int_equal(rename("C.img", "away"), 0);
    assert_refused(ERR_NOT_FOUND, "C.img");
    assert_int_equal(symlink("nowhere", "C.img"), 0);
    assert_refused(ERR_NOT_FOUND, "nowhere");
    assert_int_equal(unlink("C.img"), 0);
    assert_int_equal(symlink("C.img", "C.img"), 0);
    assert_refused(ERR_LIMIT, "symbolic links");
    assert_int_equal(unlink("C.img"), 0);
    assert_int_equal(mkdir("C.img", 0755), 0);
    assert_refused(ERR_DENIED, "not a regular file");
    assert_int_equal(rmdir("C.img"), 0);
    if (mknod("C.img", S_IFBLK | 0600, makedev(7, 255)) == 0) { /* root only */
        assert_refused(ERR_DENIED, "block device");
        assert_int_equal(unlink("C.img"), 0);
    }
    assert_int_equal(rename("away", "C.img"), 0);
}

static void a_symbolic_link_is_followed_and_stays(void **state)
{
    struct replace_item items[] = {family_items[R], family_items[D]};
    struct error e;
    AUTO(replace) *r = NULL;
    const struct replace_step *s;
    size_t n;

    (void)state;
    assert_int_equal(symlink("../link2", "sub/link"), 0);
    assert_int_equal(symlink("R.img", "link2"), 0);
    items[0].path = "sub/link";
    items[1].backing = 0;
    r = plan_of(items, 2, &e);
    assert_non_null(r);
    s = replace_steps(r, &n);
    assert_string_equal(strrchr(s[0].to, '/') + 1, "R.img.stemma-base");
    assert_null(strstr(s[0].to, "/sub/"));
    items[1] = family_items[R];
    replace_free(r);
    r = plan_of(items, 2, &e);
    assert_null(r);
    assert_int_equal(e.code, ERR_USAGE); /* one image, given twice */
    assert_int_equal(run("rm sub/link link2"), 0);
}

static void images_in_use_are_refused(void **state)
{
    int fd = open("D.tmp", O_RDWR | O_CREAT, 0600);
    struct flock lock = {.l_type = F_RDLCK, .l_start = 101, .l_len = 1};

    (void)state;
    close(fd);
    fd = open("C.img", O_RDWR);
    assert_refused(ERR_IN_USE, "C.img");
    close(fd);
    fd = open("R.img", O_RDONLY);
    assert_int_equal(fcntl(fd, F_OFD_SETLK, &lock), 0);
    assert_refused(ERR_IN_USE, "virtual machine");
    close(fd);
    fd = open("R.img", O_RDONLY); /* reading does no harm */
    assert_ok(family_replace(&family_quick_worker, NULL, &(struct error){}), &(struct error){});
    close(fd);
    unlink("D.tmp");
}

static void a_running_qemu_is_seen(void **state)
{
    FILE *qemu = popen("qemu-io -f raw C.img >/dev/null", "w");
    struct error e = {};

    (void)state;
    assert_non_null(qemu);
    for (int i = 0; i < 100 && e.code != ERR_IN_USE; i++) {
        AUTO(replace) *r = plan_of(family_items, FAMILY, &e);

        usleep(20000);
    }
    assert_int_equal(e.code, ERR_IN_USE);
    pclose(qemu);
}

static int try_to_write(void *arg, const struct replace_step *s, struct error *e)
{
    int *refused = arg;

    (void)s;
    (void)e;
    if (run("qemu-io -f raw -c 'write 0 512' R.img >/dev/null 2>&1") != 0)
        ++*refused;
    return 0;
}

static void qemu_cannot_write_to_images_that_are_being_replaced(void **state)
{
    struct replace_worker w = family_quick_worker;
    int refused = 0;
    struct error e;

    (void)state;
    w.verify = try_to_write;
    w.arg = &refused;
    assert_ok(family_replace(&w, NULL, &e), &e);
    assert_int_equal(refused, 5);
    assert_family_replaced();
}

static int change_the_root(void *arg, const struct replace_step *s, struct error *e)
{
    AUTO_FD int fd = open("R.img", O_WRONLY);

    (void)arg;
    (void)e;
    if (s->item == C)
        assert_int_equal(pwrite(fd, "x", 1, 0), 1);
    return 0;
}

static void an_image_that_changes_meanwhile_stops_it(void **state)
{
    struct replace_worker w = family_quick_worker;
    struct error e;
    struct stat st;

    (void)state;
    w.verify = change_the_root;
    assert_int_equal(family_replace(&w, NULL, &e), -1);
    assert_int_equal(e.code, ERR_CHANGED);
    for (int i = 0; i < FAMILY; i++) {
        assert_int_equal(stat(family_paths[i], &st), 0);
        assert_int_equal(st.st_ino, family_inodes[i]);
    }
    assert_ok(family_undo(NULL, false, &e), &e);
    assert_int_not_equal(run("ls *.stemma-* sub/*.stemma-* 2>/dev/null"), 0);
}

static int no_space(void *arg, const struct replace_step *s, int fd, struct error *e)
{
    if (s->item != C)
        return family_write(arg, s, fd, e);
    errno = ENOSPC;
    return err_sys(e, "%s", s->to);
}

/* C is written as if it were the same as P. */
static int nothing_of_c(void *arg, const struct replace_step *s, int fd, struct error *e)
{
    struct replace_step other = *s;

    if (s->item == C)
        other.kind = REPLACE_STEP_WRITE_FRESH;
    return family_write(arg, &other, fd, e);
}

static int nothing_fresh_is_right(void *arg, const struct replace_step *s, struct error *e)
{
    (void)arg;
    return s->kind == REPLACE_STEP_WRITE_FRESH ? err_set(e, ERR_FORMAT, "differs") : 0;
}

static void an_overlay_that_cannot_be_written_or_differs_stops_it(void **state)
{
    struct replace_worker w = family_quick_worker;
    struct error e;

    (void)state;
    w.write = no_space;
    assert_int_equal(family_replace(&w, NULL, &e), -1);
    assert_int_equal(e.sys, ENOSPC);
    assert_int_equal(access("C.img.stemma-new", F_OK), -1);
    assert_family_reads();
    assert_ok(family_undo(NULL, false, &e), &e);
    assert_family_restored();
    w.write = nothing_of_c;
    assert_int_equal(family_replace(&family_worker, NULL, &e), 0);
    assert_ok(family_undo(NULL, false, &e), &e);
    w.verify = family_verify;
    assert_int_equal(family_replace(&w, NULL, &e), -1);
    assert_int_equal(e.code, ERR_FORMAT);
    assert_non_null(strstr(e.msg, "C.img.stemma-new"));
    assert_int_equal(access("C.img.stemma-new", F_OK), -1);
    assert_family_reads();
    assert_ok(family_undo(NULL, false, &e), &e);
    assert_family_restored();
    /* the empty overlays that take the names of what others stand on */
    w = family_quick_worker;
    w.verify = nothing_fresh_is_right;
    assert_int_equal(family_replace(&w, NULL, &e), -1);
    assert_int_equal(e.code, ERR_FORMAT);
    assert_family_reads();
    assert_ok(family_undo(NULL, false, &e), &e);
    assert_family_restored();
}

static void too_little_space_is_told_before(void **state)
{
    (void)state;
    family_items[C].overlay_bytes = 1ull << 60;
    assert_refused(ERR_IO, "are free");
    family_items[C].overlay_bytes = UINT64_MAX;
    assert_refused(ERR_LIMIT, "16 EiB");
    assert_family_restored();
}

static void a_request_to_stop_is_heard(void **state)
{
    struct cancel cancel = {};
    struct error e;
    AUTO(replace) *r = plan_of(family_items, FAMILY, &e);

    (void)state;
    assert_non_null(r);
    atomic_store(&cancel.requested, true);
    assert_int_equal(replace_run(r, &family_quick_worker, &cancel, &e), -1);
    assert_int_equal(e.code, ERR_CANCELLED);
    assert_family_restored();
}

static void two_rebases_do_not_work_in_one_folder(void **state)
{
    struct error e;
    AUTO(replace) *r = plan_of(family_items, FAMILY, &e);
    FILE *other;
    char line[8];

    (void)state;
    assert_non_null(r);
    other = popen("flock sub sh -c 'echo on; sleep 0.3'", "r");
    assert_non_null(fgets(line, sizeof line, other));
    assert_int_equal(replace_run(r, &family_quick_worker, NULL, &e), -1);
    assert_int_equal(e.code, ERR_IN_USE);
    pclose(other);
    assert_family_restored();
}

static void plans_that_make_no_sense_are_refused(void **state)
{
    struct replace_item items[FAMILY];
    struct error e;

    (void)state;
    memcpy(items, family_items, sizeof items);
    items[R].backing = C;
    assert_null(plan_of(items, FAMILY, &e));
    assert_non_null(strstr(e.msg, "circle"));
    items[R].backing = 17;
    assert_null(plan_of(items, FAMILY, &e));
    items[R].backing = REPLACE_NONE;
    items[P].base = true;
    assert_null(plan_of(items, FAMILY, &e));
    assert_int_equal(e.code, ERR_USAGE);
}

static void an_image_that_carries_overlays_already_keeps_its_name(void **state)
{
    struct replace_item items[] = {family_items[R], family_items[D]};
    const struct replace_step *s;
    struct error e;
    AUTO(replace) *r = NULL;
    size_t n;

    (void)state;
    items[0].base = true;
    items[1].backing = 0;
    r = plan_of(items, 2, &e);
    assert_non_null(r);
    s = replace_steps(r, &n);
    assert_int_equal(n, 4);
    assert_int_equal(s[0].kind, REPLACE_STEP_WRITE);
    assert_string_equal(strrchr(s[0].backing_name, '/') + 1, "R.img");
}

static void backing_files_are_named_so_that_qemu_finds_them(void **state)
{
    static const char *const cases[][3] = {
        {"/a/b", "/a/b/c", "c"},
        {"/a/b", "/a/bb/c", "/a/bb/c"},
        {"/a/b", "/a/b/c/d", "/a/b/c/d"},
        {"/", "/c", "c"},
        {"/a", "/c", "/c"},
        {"/a", "/a/nbd:x", "./nbd:x"},
        {"/a", "/b/nbd:x", "/b/nbd:x"},
    };

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct error e;
        AUTO_FREE char *name = replace_backing_name(cases[i][0], cases[i][1], &e);

        assert_string_equal(name, cases[i][2]);
    }
}

static void owner_acl_and_attributes_are_kept(void **state)
{
    struct error e;
    struct stat st;
    char value[16] = {};

    (void)state;
    if (setxattr("C.img", "user.note", "precious", 8, 0) < 0)
        skip();
    assert_int_equal(setxattr("R.img", "user.note", "root", 4, 0), 0);
    if (geteuid() == 0)
        assert_int_equal(chown("C.img", 1234, 2345), 0);
    if (run("command -v setfacl >/dev/null && setfacl -m u:1235:rw,g:77:r C.img R.img && "
            "setfacl -d -m u:1236:rw sub") == 0)
        assert_int_equal(
            run("getfacl -n C.img sub/D.img >acl-before; getfacl -n R.img >root-before"), 0);
    assert_int_equal(stat("C.img", &family_stats[C]), 0);
    assert_int_equal(stat("R.img", &family_stats[R]), 0);
    assert_ok(family_replace(&family_worker, NULL, &e), &e);
    assert_family_replaced();
    assert_int_equal(getxattr("C.img", "user.note", value, sizeof value), 8);
    assert_string_equal(value, "precious");
    assert_int_equal(getxattr("R.img", "user.note", value, sizeof value), 4);
    assert_int_equal(stat("C.img", &st), 0);
    assert_int_equal(st.st_uid, family_stats[C].st_uid);
    assert_int_equal(st.st_gid, family_stats[C].st_gid);
    if (access("acl-before", F_OK) == 0)
        assert_int_equal(run("getfacl -n C.img sub/D.img | cmp - acl-before && "
                             "getfacl -n R.img | cmp - root-before"),
                         0);
    assert_ok(family_undo(NULL, false, &e), &e);
    assert_family_restored();
    if (access("acl-before", F_OK) == 0)
        assert_int_equal(run("getfacl -n C.img sub/D.img | cmp - acl-before && "
                             "getfacl -n R.img | cmp - root-before; r=$?; rm -f *-before; exit $r"),
                         0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(a_plan_lists_its_steps_and_touches_nothing, setup),
        cmocka_unit_test_setup(a_replaced_family_reads_as_before_and_each_can_be_written_to, setup),
        cmocka_unit_test_setup(undo_brings_everything_back, setup),
        cmocka_unit_test_setup(undo_does_not_throw_away_what_a_guest_wrote, setup),
        cmocka_unit_test_setup(a_root_is_not_undone_under_those_that_stand_on_it, setup),
        cmocka_unit_test_setup(commit_removes_the_originals_and_nothing_else, setup),
        cmocka_unit_test_setup(commit_wants_the_overlay_there, setup),
        cmocka_unit_test_setup(names_that_are_taken_are_refused, setup),
        cmocka_unit_test_setup(a_committed_family_is_not_replaced_again_by_the_same_names, setup),
        cmocka_unit_test_setup(an_overlay_that_was_not_committed_is_not_moved_to_another_base,
                               setup),
        cmocka_unit_test_setup(other_hard_links_are_refused, setup),
        cmocka_unit_test_setup(what_is_no_file_is_refused, setup),
        cmocka_unit_test_setup(a_symbolic_link_is_followed_and_stays, setup),
        cmocka_unit_test_setup(images_in_use_are_refused, setup),
        cmocka_unit_test_setup(a_running_qemu_is_seen, setup),
        cmocka_unit_test_setup(qemu_cannot_write_to_images_that_are_being_replaced, setup),
        cmocka_unit_test_setup(an_image_that_changes_meanwhile_stops_it, setup),
        cmocka_unit_test_setup(an_overlay_that_cannot_be_written_or_differs_stops_it, setup),
        cmocka_unit_test_setup(too_little_space_is_told_before, setup),
        cmocka_unit_test_setup(a_request_to_stop_is_heard, setup),
        cmocka_unit_test_setup(two_rebases_do_not_work_in_one_folder, setup),
        cmocka_unit_test_setup(plans_that_make_no_sense_are_refused, setup),
        cmocka_unit_test_setup(an_image_that_carries_overlays_already_keeps_its_name, setup),
        cmocka_unit_test_setup(backing_files_are_named_so_that_qemu_finds_them, setup),
        cmocka_unit_test_setup(owner_acl_and_attributes_are_kept, setup),
    };
    char folder[256];
    int failed;

    skip_without("qemu-img");
    skip_without("qemu-io");
    enter_test_folder(folder);
    make_saved();
    failed = cmocka_run_group_tests(tests, NULL, NULL);
    leave_test_folder(folder);
    return failed;
}
