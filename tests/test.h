/* SPDX-License-Identifier: GPL-2.0-or-later */
/* cmocka with what it needs before it. A test's name is a sentence. */
#ifndef STEMMA_TESTS_TEST_H
#define STEMMA_TESTS_TEST_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

/* Fails the test with the error's message unless the call returned 0. */
#define assert_ok(call, e)                                                                         \
    do {                                                                                           \
        if ((call) != 0)                                                                           \
            fail_msg("%s: %s", #call, (e)->msg);                                                   \
    } while (0)

#endif
