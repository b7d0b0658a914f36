/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "../test.h"

#include "base/auto.h"
#include "base/log.h"

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>

/* What log_debug() writes to standard error. */
static void logged(char out[2048], const char *topic, const char *text)
{
    int pipes[2];
    AUTO_FD int before = dup(STDERR_FILENO);
    ssize_t n;

    assert_int_equal(pipe2(pipes, O_CLOEXEC), 0);
    dup2(pipes[1], STDERR_FILENO);
    log_debug(topic, "%s", text);
    dup2(before, STDERR_FILENO);
    close(pipes[1]);
    n = read(pipes[0], out, 2047);
    close(pipes[0]);
    out[n < 0 ? 0 : n] = 0;
}

static void only_the_topics_asked_for_are_logged(void **state)
{
    char out[2048];

    (void)state;
    setenv("STEMMA_DEBUG", "disk,sig", 1);
    log_init();
    assert_true(log_enabled("disk"));
    assert_true(log_enabled("sig"));
    assert_false(log_enabled("dis"));
    assert_false(log_enabled("disk,sig"));
    logged(out, "disk", "42");
    assert_string_equal(out, "stemma[disk]: 42\n");
    logged(out, "worker", "42");
    assert_string_equal(out, "");
    setenv("STEMMA_DEBUG", "all", 1);
    log_init();
    assert_true(log_enabled("worker"));
    unsetenv("STEMMA_DEBUG");
    log_init();
    assert_false(log_enabled("disk"));
}

static void a_message_is_one_line_whatever_it_quotes(void **state)
{
    char out[2048], text[3000];

    (void)state;
    setenv("STEMMA_DEBUG", "all", 1);
    log_init();
    logged(out, "disk", "a\nb\x1b[2Jc");
    assert_string_equal(out, "stemma[disk]: a?b?[2Jc\n");
    memset(text, 'a', sizeof text - 1);
    text[sizeof text - 1] = 0;
    logged(out, "disk", text);
    assert_true(strlen(out) > 900 && strlen(out) <= 1024);
    assert_int_equal(out[strlen(out) - 1], '\n');
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(only_the_topics_asked_for_are_logged),
        cmocka_unit_test(a_message_is_one_line_whatever_it_quotes),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
