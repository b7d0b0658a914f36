/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "../test.h"

#include "base/auto.h"
#include "base/io.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <string.h>
#include <sys/mman.h>

static void a_read_is_short_only_at_the_end(void **state)
{
    AUTO_FD int fd = memfd_create("test", MFD_CLOEXEC);
    struct error e;
    char bytes[16];

    (void)state;
    assert_ok(io_pwrite(fd, "0123456789", 10, 0, &e), &e);
    assert_int_equal(io_pread(fd, bytes, 4, 3), 4);
    assert_memory_equal(bytes, "3456", 4);
    assert_int_equal(io_pread(fd, bytes, sizeof bytes, 7), 3);
    assert_memory_equal(bytes, "789", 3);
    assert_int_equal(io_pread(fd, bytes, 4, 10), 0);
    assert_int_equal(io_pread(fd, bytes, 4, UINT64_MAX - 2), -1);
    assert_int_equal(errno, EOVERFLOW);
    assert_int_equal(io_pread(-1, bytes, 4, 0), -1);
    assert_int_equal(errno, EBADF);
}

static void an_exact_read_tells_where_the_file_ends(void **state)
{
    AUTO_FD int fd = memfd_create("test", MFD_CLOEXEC);
    struct error e;
    char bytes[16];

    (void)state;
    assert_ok(io_pwrite(fd, "abc", 3, 5, &e), &e);
    assert_ok(io_pread_exact(fd, bytes, 8, 0, &e), &e);
    assert_memory_equal(bytes, "\0\0\0\0\0abc", 8);
    assert_int_equal(io_pread_exact(fd, bytes, 6, 4, &e), -1);
    assert_int_equal(e.code, ERR_FORMAT);
    assert_string_equal(e.msg, "the file ends at 8, 6 bytes needed at 4");
    assert_int_equal(io_pread_exact(-1, bytes, 6, 4, &e), -1);
    assert_int_equal(e.code, ERR_IO);
}

static void a_full_device_is_an_error(void **state)
{
    AUTO_FD int fd = open("/dev/full", O_WRONLY | O_CLOEXEC);
    struct error e;

    (void)state;
    assert_true(fd >= 0);
    assert_int_equal(io_pwrite(fd, "x", 1, 0, &e), -1);
    assert_int_equal(e.code, ERR_IO);
    assert_int_equal(e.sys, ENOSPC);
    assert_int_equal(io_write(fd, "x", 1, &e), -1);
    assert_int_equal(e.sys, ENOSPC);
    assert_int_equal(io_pwrite(fd, "x", 1, UINT64_MAX, &e), -1);
}

static void *drain(void *arg)
{
    char bytes[5000];
    size_t sum = 0;
    ssize_t n;

    while ((n = read(*(int *)arg, bytes, sizeof bytes)) > 0)
        sum += (size_t)n;
    return (void *)sum;
}

static void a_pipe_that_does_not_block_gets_all_bytes(void **state)
{
    static char bytes[300000];
    struct error e;
    pthread_t reader;
    void *sum;
    int fds[2];

    (void)state;
    assert_int_equal(pipe2(fds, O_CLOEXEC), 0);
    assert_int_equal(fcntl(fds[1], F_SETFL, O_NONBLOCK), 0);
    assert_int_equal(pthread_create(&reader, NULL, drain, &fds[0]), 0);
    assert_ok(io_write(fds[1], bytes, sizeof bytes, &e), &e);
    close(fds[1]);
    pthread_join(reader, &sum);
    close(fds[0]);
    assert_int_equal((size_t)sum, sizeof bytes);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_read_is_short_only_at_the_end),
        cmocka_unit_test(an_exact_read_tells_where_the_file_ends),
        cmocka_unit_test(a_full_device_is_an_error),
        cmocka_unit_test(a_pipe_that_does_not_block_gets_all_bytes),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
