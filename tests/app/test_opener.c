/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Which files an image may name. */
#include "../test.h"

#include "app/opener.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* FOLDER/images/image, and beside it what it may or may not name. */
struct place {
    char folder[64], from[96];
    struct opener *opener;
};

static void make_file(const struct place *p, const char *name)
{
    char path[160];
    int fd;

    snprintf(path, sizeof path, "%s/%s", p->folder, name);
    fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
    assert_true(fd >= 0);
    close(fd);
}

static void make_folder(const struct place *p, const char *name)
{
    char path[160];

    snprintf(path, sizeof path, "%s/%s", p->folder, name);
    assert_int_equal(mkdir(path, 0700), 0);
}

static void make_link(const struct place *p, const char *name, const char *target)
{
    char path[160];

    snprintf(path, sizeof path, "%s/%s", p->folder, name);
    assert_int_equal(symlink(target, path), 0);
}

static int set_up(void **state)
{
    struct place *p = calloc(1, sizeof *p);
    char made[] = "/tmp/stemma-opener-XXXXXX";
    char *real;
    struct error e;

    assert_non_null(mkdtemp(made));
    real = realpath(made, NULL);
    snprintf(p->folder, sizeof p->folder, "%s", real);
    free(real);
    snprintf(p->from, sizeof p->from, "%s/images/image", p->folder);
    make_folder(p, "images");
    make_folder(p, "images/below");
    make_folder(p, "images-old");
    make_folder(p, "bases");
    make_folder(p, "bases/deep");
    make_folder(p, "bases-old");
    make_file(p, "images/image");
    make_file(p, "images/beside");
    make_file(p, "images/below/base");
    make_file(p, "images-old/base");
    make_file(p, "above");
    make_file(p, "bases/base");
    make_file(p, "bases/deep/base");
    make_file(p, "bases-old/base");
    make_file(p, "base");
    make_link(p, "images/to-beside", "beside");
    make_link(p, "images/to-above", "../above");
    make_link(p, "images/to-bases", "../bases");
    make_link(p, "bases/to-above", "../above");
    p->opener = opener_new(&e);
    assert_non_null(p->opener);
    *state = p;
    return 0;
}

static int tear_down(void **state)
{
    struct place *p = *state;
    char command[96];

    opener_free(p->opener);
    snprintf(command, sizeof command, "rm -rf %s", p->folder);
    free(p);
    return system(command);
}

static void allow(struct place *p, const char *name, bool folder)
{
    char path[160];
    struct error e;

    snprintf(path, sizeof path, "%s/%s", p->folder, name);
    if (folder)
        assert_ok(opener_allow_folder(p->opener, path, &e), &e);
    else
        assert_ok(opener_allow_file(p->opener, path, &e), &e);
}

/* ERR_NONE when the image may open the file that it calls `name`. */
static enum err_code named(struct place *p, const char *name)
{
    struct opened o;
    struct error e = {};

    if (opener_open_named(p->opener, p->from, name, &o, &e) != 0)
        return e.code;
    opened_release(&o);
    return ERR_NONE;
}

static void an_image_may_name_what_lies_in_its_own_folder(void **state)
{
    struct place *p = *state;

    assert_int_equal(named(p, "beside"), ERR_NONE);
    assert_int_equal(named(p, "../images/beside"), ERR_NONE);
    assert_int_equal(named(p, "to-beside"), ERR_NONE);
    assert_int_equal(named(p, "below/base"), ERR_DENIED);
    assert_int_equal(named(p, "../above"), ERR_DENIED);
    assert_int_equal(named(p, "../images-old/base"), ERR_DENIED);
    assert_int_equal(named(p, "nothing"), ERR_NOT_FOUND);
}

static void a_link_is_what_it_leads_to(void **state)
{
    struct place *p = *state;

    assert_int_equal(named(p, "to-above"), ERR_DENIED);
    assert_int_equal(named(p, "to-bases/base"), ERR_DENIED);
    allow(p, "bases", true);
    assert_int_equal(named(p, "to-bases/base"), ERR_NONE);
    assert_int_equal(named(p, "../bases/to-above"), ERR_DENIED);
    allow(p, "images/to-above", false); /* what it stands for, by any name */
    assert_int_equal(named(p, "../above"), ERR_NONE);
}

static void a_folder_allows_what_is_below_it_and_no_namesake(void **state)
{
    struct place *p = *state;

    assert_int_equal(named(p, "../bases/base"), ERR_DENIED);
    allow(p, "bases/", true);
    assert_int_equal(named(p, "../bases/base"), ERR_NONE);
    assert_int_equal(named(p, "../bases/deep/base"), ERR_NONE);
    assert_int_equal(named(p, "../bases-old/base"), ERR_DENIED);
    assert_int_equal(named(p, "../base"), ERR_DENIED);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
#define T(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
        T(an_image_may_name_what_lies_in_its_own_folder),
        T(a_link_is_what_it_leads_to),
        T(a_folder_allows_what_is_below_it_and_no_namesake),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
