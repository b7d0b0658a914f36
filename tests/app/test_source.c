/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What an argument stands for: paths with odd characters, folders with links and extents, URIs. */
#include "app/source.h"

#include "../test.h"
#include "../tools.h"
#include "app/nbd_uri.h"

#include <fcntl.h>
#include <sys/stat.h>

static char top[256];
static size_t problems;
static char last_object[300];

static void count_problem(void *arg, const struct problem *p)
{
    (void)arg;
    problems++;
    snprintf(last_object, sizeof last_object, "%s", p->object);
}

static void make(const char *path, const void *bytes, size_t length)
{
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0600);

    assert_true(fd >= 0);
    assert_int_equal(write(fd, bytes, length), length);
    assert_int_equal(ftruncate(fd, 70000), 0);
    close(fd);
}

static int setup(void **state)
{
    struct source_set *s = calloc(1, sizeof *s);
    struct error e;

    enter_test_folder(top);
    s->opener = opener_new(&e);
    s->problems = (struct problem_sink){count_problem, NULL};
    problems = 0;
    *state = s;
    return s->opener == NULL ? -1 : 0;
}

static int teardown(void **state)
{
    struct source_set *s = *state;

    opener_free(s->opener);
    source_set_release(s);
    free(s);
    leave_test_folder(top);
    return 0;
}

static void add(struct source_set *s, const char *argument)
{
    struct error e;

    assert_ok(source_add(s, argument, &e), &e);
}

static enum err_code refused(struct source_set *s, const char *argument)
{
    struct error e;
    size_t before = s->n;

    assert_int_equal(source_add(s, argument, &e), -1);
    assert_int_equal(s->n, before);
    return e.code;
}

static void an_existing_path_is_taken_whole(void **state)
{
    static const char *const odd[] = {"a@b", "host:disk", "a@b:/c", "nbd:disk", "x@",
                                      "@",   ":",         "-a",     "a\nb",     "\xff"};
    struct source_set *s = *state;

    assert_int_equal(mkdir("a@b:", 0700), 0);
    for (size_t i = 0; i < sizeof odd / sizeof odd[0]; i++) {
        make(odd[i], "x", 1);
        add(s, odd[i]);
        assert_string_equal(s->items[i].path, odd[i]);
        assert_string_equal(s->items[i].name, odd[i]);
        assert_null(s->items[i].snapshot);
    }
}

static void a_snapshot_follows_the_longest_path_that_exists(void **state)
{
    struct source_set *s = *state;

    make("disk", "x", 1);
    make("disk@one", "x", 1);
    add(s, "disk@one@two");
    assert_string_equal(s->items[0].path, "disk@one");
    assert_string_equal(s->items[0].snapshot, "two");
    assert_string_equal(s->items[0].name, "disk@one@two");
    add(s, "disk@two@three");
    assert_string_equal(s->items[1].path, "disk");
    assert_string_equal(s->items[1].snapshot, "two@three");
    add(s, "disk@a/b");
    assert_string_equal(s->items[2].snapshot, "a/b");
    assert_int_equal(refused(s, "disk@"), ERR_USAGE);
    assert_int_equal(refused(s, "gone@one"), ERR_NOT_FOUND);
    assert_int_equal(refused(s, "@one"), ERR_NOT_FOUND);
    assert_int_equal(refused(s, "gone"), ERR_NOT_FOUND);
    assert_int_equal(refused(s, ""), ERR_USAGE);
    assert_int_equal(mkdir("folder", 0700), 0);
    assert_int_equal(refused(s, "folder@one"), ERR_NOT_FOUND);
}

static void a_folder_gives_its_images_in_name_order(void **state)
{
    struct source_set *s = *state;
    static const char *const expected[] = {"f/B.raw", "f/a/below.img", "f/a.qcow2", "f/b.vmdk"};

    assert_int_equal(mkdir("f", 0700) | mkdir("f/a", 0700) | mkdir("f/empty", 0700), 0);
    make("f/B.raw", "x", 1);
    make("f/a.qcow2", "QFI\xfb", 4);
    make("f/a/below.img", "x", 1);
    make("f/b.vmdk", "# Disk DescriptorFile\n", 22);
    make("f/b-flat.vmdk", "x", 1); /* an extent has no magic */
    make("f/notes.txt", "not an image", 12);
    make("f/c.raw.stemma-old", "QFI\xfb", 4);
    assert_int_equal(mkfifo("f/pipe.raw", 0600), 0);
    assert_int_equal(symlink("B.raw", "f/link.raw"), 0);
    assert_int_equal(symlink("/dev/zero", "f/zero.img"), 0);
    assert_int_equal(symlink("..", "f/up"), 0);
    add(s, "f");
    assert_int_equal(s->n, 4);
    for (size_t i = 0; i < 4; i++)
        assert_string_equal(s->items[i].path, expected[i]);
    assert_int_equal(problems, 0);
}

static void extents_of_a_vmdk_are_not_images(void **state)
{
    /* Virtual Disk Format 5.0: magic, version, flags, capacity, grain size, descriptor offset */
    uint8_t extent[512] = "KDMV\1\0\0\0\3\0\0\0";
    uint8_t whole[512] = "KDMV\1\0\0\0\3\0\0\0";
    struct source_set *s = *state;

    whole[28] = 1;
    make("split.vmdk", "# Disk DescriptorFile\n", 22);
    make("split-s001.vmdk", extent, sizeof extent);
    make("split-s002.vmdk", extent, sizeof extent);
    make("one.vmdk", whole, sizeof whole);
    add(s, ".");
    assert_int_equal(s->n, 2);
    assert_string_equal(s->items[0].path, "./one.vmdk");
    assert_string_equal(s->items[1].path, "./split.vmdk");
}

static void what_is_known_already_counts_once_in_a_folder(void **state)
{
    struct source_set *s = *state;

    assert_int_equal(mkdir("f", 0700), 0);
    make("f/a.raw", "x", 1);
    make("f/c.raw", "y", 1);
    assert_int_equal(link("f/a.raw", "outside.raw"), 0);
    add(s, "outside.raw");
    add(s, "f");
    assert_int_equal(s->n, 2);
    assert_string_equal(s->items[1].path, "f/c.raw");
    add(s, "f"); /* all known */
    assert_int_equal(s->n, 2);
    assert_int_equal(problems, 0);
    add(s, "f/a.raw"); /* but who names it again gets it again */
    assert_int_equal(s->n, 3);
}

static void two_names_in_one_folder_are_two_images(void **state)
{
    struct source_set *s = *state;

    make("a.raw", "x", 1);
    assert_int_equal(link("a.raw", "b.raw"), 0);
    add(s, ".");
    assert_int_equal(s->n, 2);
}

static void a_link_as_an_argument_is_followed(void **state)
{
    struct source_set *s = *state;

    assert_int_equal(mkdir("real", 0700), 0);
    make("real/a.raw", "x", 1);
    assert_int_equal(symlink("real", "link"), 0);
    assert_int_equal(symlink("real/a.raw", "file"), 0);
    add(s, "link");
    assert_int_equal(s->n, 1);
    assert_string_equal(s->items[0].path, "link/a.raw");
    add(s, "file");
    assert_int_equal(s->n, 2);
}

static void an_unreadable_folder_is_a_problem_and_the_rest_counts(void **state)
{
    struct source_set *s = *state;

    assert_int_equal(mkdir("f", 0700) | mkdir("f/closed", 0700), 0);
    make("f/a.raw", "x", 1);
    if (geteuid() == 0)
        skip(); /* root reads everything; tests/cli/evidence.py asks nobody */
    assert_int_equal(chmod("f/closed", 0), 0);
    add(s, "f");
    assert_int_equal(s->n, 1);
    assert_int_equal(problems, 1);
    assert_string_equal(last_object, "f/closed");
    assert_int_equal(chmod("f/closed", 0700), 0);
}

static void folders_without_end_are_left(void **state)
{
    struct source_set *s = *state;

    assert_int_equal(run("d=f; for i in $(seq 80); do d=$d/d; done; mkdir -p $d; "
                         "truncate -s 9 f/a.raw $d/z.raw"),
                     0);
    add(s, "f");
    assert_int_equal(s->n, 1);
    assert_int_equal(problems, 1);
}

static void an_empty_folder_is_told(void **state)
{
    struct source_set *s = *state;

    assert_int_equal(mkdir("empty", 0700), 0);
    add(s, "empty");
    assert_int_equal(s->n, 0);
    assert_int_equal(problems, 1);
    assert_string_equal(last_object, "empty");
}

/* ---- URIs ---- */

static void nbd_uris_are_read_as_the_nbd_project_writes_them(void **state)
{
    static const struct {
        const char *uri, *host, *port, *socket, *name;
    } cases[] = {
        {"nbd://host", "host", "10809", NULL, ""},
        {"nbd://host/", "host", "10809", NULL, ""},
        {"nbd://host:99/a/b", "host", "99", NULL, "a/b"},
        {"nbd://host/a%20b%2f%zz", "host", "10809", NULL, "a b/%zz"},
        {"nbd://[::1]:7/x", "::1", "7", NULL, "x"},
        {"nbd://[fe80::1]", "fe80::1", "10809", NULL, ""},
        {"nbd+unix:///?socket=/run/s", NULL, NULL, "/run/s", ""},
        {"nbd+unix:///name?socket=s%26t", NULL, NULL, "s&t", "name"},
        {"nbd+unix:///n?a=b&socket=/s&c=d", NULL, NULL, "/s", "n"},
    };
    struct source_set *s = *state;

    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        const struct source *got;

        add(s, cases[i].uri);
        got = &s->items[i];
        assert_string_equal(got->name, cases[i].uri);
        assert_null(got->path);
        assert_string_equal(got->export_name, cases[i].name);
        if (cases[i].host != NULL) {
            assert_string_equal(got->nbd_host, cases[i].host);
            assert_string_equal(got->nbd_port, cases[i].port);
            assert_null(got->nbd_socket);
        } else {
            assert_string_equal(got->nbd_socket, cases[i].socket);
            assert_null(got->nbd_host);
        }
    }
}

static void what_is_no_nbd_uri_is_refused(void **state)
{
    static const char *const wrong[] = {
        "nbd://",
        "nbd:///x",
        "nbd://:10809/x",
        "nbd://[::1/x",
        "nbd+unix://",
        "nbd+unix:///x",
        "nbd+unix:///x?s=/a",
        "nbd+unix://host/?socket=/a",
        "nbd://h/a%00b",
        "nbd://h%00i/x",
        "nbd+unix:///?socket=%00a",
        "nbd://[::1]x/y",
        "nbd+unix:///?socket=",
    };
    struct source_set *s = *state;

    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
        struct error e;

        if (source_add(s, wrong[i], &e) == 0)
            fail_msg("%s was accepted", wrong[i]);
        assert_int_equal(e.code, ERR_USAGE);
    }
    assert_int_equal(refused(s, "nbds://host/x"), ERR_UNSUPPORTED);
    assert_int_equal(refused(s, "nbd+vsock://2/x"), ERR_UNSUPPORTED);
    assert_int_equal(s->n, 0);
}

int main(void)
{
#define SOURCE_TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
    const struct CMUnitTest tests[] = {
        SOURCE_TEST(an_existing_path_is_taken_whole),
        SOURCE_TEST(a_snapshot_follows_the_longest_path_that_exists),
        SOURCE_TEST(a_folder_gives_its_images_in_name_order),
        SOURCE_TEST(extents_of_a_vmdk_are_not_images),
        SOURCE_TEST(what_is_known_already_counts_once_in_a_folder),
        SOURCE_TEST(two_names_in_one_folder_are_two_images),
        SOURCE_TEST(a_link_as_an_argument_is_followed),
        SOURCE_TEST(an_unreadable_folder_is_a_problem_and_the_rest_counts),
        SOURCE_TEST(folders_without_end_are_left),
        SOURCE_TEST(an_empty_folder_is_told),
        SOURCE_TEST(nbd_uris_are_read_as_the_nbd_project_writes_them),
        SOURCE_TEST(what_is_no_nbd_uri_is_refused),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
