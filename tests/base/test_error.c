/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "../test.h"

#include "base/error.h"

#include <errno.h>
#include <string.h>

static void context_reads_from_the_outside_in(void **state)
{
    struct error e;

    (void)state;
    assert_int_equal(err_set(&e, ERR_FORMAT, "L1 table of %u entries", 7u), -1);
    assert_int_equal(err_wrap(&e, "%s", "a.qcow2"), -1);
    assert_string_equal(e.msg, "a.qcow2: L1 table of 7 entries");
    assert_int_equal(e.code, ERR_FORMAT);
}

static void errno_decides_the_code(void **state)
{
    struct error e;

    (void)state;
    errno = ENOENT;
    err_sys(&e, "x");
    assert_int_equal(e.code, ERR_NOT_FOUND);
    assert_string_equal(e.msg, "x: No such file or directory");
    errno = EACCES;
    err_sys(&e, "x");
    assert_int_equal(e.code, ERR_DENIED);
    errno = EIO;
    err_sys(&e, "x");
    assert_int_equal(e.code, ERR_IO);
    assert_int_equal(e.sys, EIO);
}

static void a_long_message_is_cut_and_ends(void **state)
{
    struct error e;
    char text[2000];

    (void)state;
    memset(text, 'a', sizeof text - 1);
    text[sizeof text - 1] = 0;
    err_set(&e, ERR_IO, "%s", text);
    err_wrap(&e, "%s", text);
    assert_int_equal(strlen(e.msg), sizeof e.msg - 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(context_reads_from_the_outside_in),
        cmocka_unit_test(errno_decides_the_code),
        cmocka_unit_test(a_long_message_is_cut_and_ends),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
