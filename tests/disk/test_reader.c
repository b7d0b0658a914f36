/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "../test.h"

#include "base/io.h"
#include "disk/reader.h"
#include "env_files.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>

#define FILE_BYTES ((3u << 20) + 1234)

static char *folder, *path;
static uint8_t content[FILE_BYTES];

static int setup(void **state)
{
    unsigned seed = 42;
    struct error e;

    (void)state;
    assert_ok(reader_init(&e), &e);
    folder = test_folder_new();
    path = test_path(folder, "file");
    for (size_t i = 0; i < sizeof content; i++)
        content[i] = (uint8_t)rand_r(&seed);
    AUTO_FD int fd = open(path, O_RDWR | O_CREAT, 0600);
    assert_ok(io_pwrite(fd, content, sizeof content, 0, &e), &e);
    assert_int_equal(fsync(fd), 0);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    free(path);
    test_folder_remove(folder);
    return 0;
}

static void drop_from_cache(int fd)
{
    assert_int_equal(posix_fadvise(fd, 0, 0, POSIX_FADV_DONTNEED), 0);
}

struct seen {
    uint8_t bytes[READER_MAX];
    const uint8_t *at;
    unsigned calls;
};

static void copy(void *arg, const uint8_t *bytes, size_t length)
{
    struct seen *s = arg;

    memcpy(s->bytes, bytes, length);
    s->at = bytes;
    s->calls++;
}

static void compare_random_pieces(struct host_file *f, unsigned seed)
{
    AUTO(reader) *r = NULL;
    AUTO_FREE struct seen *s = malloc(sizeof *s);
    struct error e;

    r = reader_new(NULL, &e);
    assert_non_null(r);
    for (int i = 0; i < 60; i++) {
        uint64_t offset = (uint64_t)rand_r(&seed) % (FILE_BYTES + 5000);
        size_t length = 1 + (size_t)rand_r(&seed) % (i % 3 == 0 ? READER_MAX : 9000);

        if (i == 0) {
            offset = FILE_BYTES - 100;
            length = READER_MAX;
        }
        s->calls = 0;
        assert_ok(reader_visit_file(r, f, offset, length, copy, s, &e), &e);
        assert_int_equal(s->calls, 1);
        for (size_t k = 0; k < length; k++) {
            uint8_t wanted = offset + k < FILE_BYTES ? content[offset + k] : 0;

            if (s->bytes[k] != wanted)
                fail_msg("byte %zu of [%ju, +%zu)", k, (uintmax_t)offset, length);
        }
    }
}

static void bytes_are_the_same_on_every_way(void **state)
{
    struct error e;

    (void)state;
    for (int way = 0; way < 4; way++) {
        AUTO(host_file) *f = host_file_open(path, &e);

        assert_non_null(f);
        if (way == 1)
            drop_from_cache(f->fd);
        if (way == 2 && f->direct_fd >= 0) {
            close(take_fd(&f->direct_fd));
            drop_from_cache(f->fd);
        }
        if (way == 3 && f->direct_fd >= 0) { /* not opened with O_DIRECT after all: still right */
            close(f->direct_fd);
            f->direct_fd = open(path, O_RDONLY | O_CLOEXEC);
            drop_from_cache(f->fd);
        }
        compare_random_pieces(f, 100u + (unsigned)way);
    }
}

static void what_is_cached_is_mapped_and_what_is_not_is_read(void **state)
{
    AUTO(host_file) *f = NULL;
    AUTO(reader) *r = NULL;
    AUTO_FREE struct seen *s = calloc(1, sizeof *s);
    struct error e;
    const uint8_t *map;

    (void)state;
    f = host_file_open(path, &e);
    r = reader_new(NULL, &e);
    assert_true(f != NULL && r != NULL);
    if (f->direct_fd < 0)
        skip(); /* a file system in memory */
    drop_from_cache(f->fd);
    assert_ok(reader_visit_file(r, f, 0, 65536, copy, s, &e), &e);
    assert_null(atomic_load(&f->map));
    assert_in_range(atomic_load(&f->read_bytes), 65536, 65536 + 8192);
    assert_int_equal(pread(f->fd, s->bytes, 65536, 0), 65536); /* brings it into the cache */
    assert_ok(reader_visit_file(r, f, 0, 65536, copy, s, &e), &e);
    map = atomic_load(&f->map);
    assert_ptr_equal(s->at, map);
    assert_in_range(atomic_load(&f->read_bytes), 2 * 65536, 2 * 65536 + 8192);
}

/* What the kernel says this process had the device read; -1 where it does not say. */
static int64_t device_bytes(void)
{
    FILE *f = fopen("/proc/self/io", "r");
    int64_t n = -1;
    char line[128];

    while (f != NULL && fgets(line, sizeof line, f) != NULL)
        (void)!sscanf(line, "read_bytes: %jd", &n);
    if (f != NULL)
        fclose(f);
    return n;
}

static void scattered_pieces_cost_what_they_hold_and_are_counted_right(void **state)
{
    int64_t before = device_bytes(), spent;

    (void)state;
    if (before < 0)
        skip();
    for (int direct = 0; direct < 2; direct++) {
        AUTO_FREE struct seen *s = calloc(1, sizeof *s);
        AUTO(host_file) *f = NULL;
        AUTO(reader) *r = NULL;
        struct error e;

        f = host_file_open(path, &e);
        r = reader_new(NULL, &e);
        assert_true(f != NULL && r != NULL);
        if (f->direct_fd < 0)
            skip();
        if (direct == 0)
            close(take_fd(&f->direct_fd));
        drop_from_cache(f->fd);
        before = device_bytes();
        for (uint64_t at = 0; at + 65536 <= FILE_BYTES; at += 4 * 65536)
            assert_ok(reader_visit_file(r, f, at, 65536, copy, s, &e), &e);
        spent = device_bytes() - before;
        if (spent == 0)
            skip(); /* a file system that does not account, or keeps its pages */
        assert_in_range(atomic_load(&f->read_bytes), spent - spent / 100, spent + spent / 100);
        assert_int_equal(spent, 12 * 65536);
    }
}

/* The first time the file is cut while it is looked at; the visitor then touches what is gone. */
static void cut_and_touch(void *arg, const uint8_t *bytes, size_t length)
{
    volatile uint8_t sum = 0;
    unsigned *calls = arg;

    if ((*calls)++ == 0)
        assert_int_equal(truncate(path, 4096), 0);
    for (size_t i = 0; i < length; i += 512)
        sum = (uint8_t)(sum + bytes[i]);
}

static void a_file_cut_while_it_is_visited_is_an_error_and_no_crash(void **state)
{
    AUTO(host_file) *f = NULL;
    AUTO(reader) *r = NULL;
    unsigned calls = 0;
    struct error e;

    (void)state;
    f = host_file_open(path, &e);
    r = reader_new(NULL, &e);
    assert_true(f != NULL && r != NULL);
    assert_ok(reader_init(&e), &e); /* again: cmocka has put its own handler before ours */
    for (uint64_t at = 0; at + 4096 <= FILE_BYTES; at += 4096) { /* all of it in the cache */
        uint8_t page[4096];

        assert_int_equal(pread(f->fd, page, sizeof page, (off_t)at), sizeof page);
    }
    assert_int_equal(reader_visit_file(r, f, 1 << 20, 1 << 20, cut_and_touch, &calls, &e), -1);
    assert_int_equal(calls, 1);
    assert_int_equal(e.code, ERR_CHANGED);
    /* and what is left is still read */
    assert_ok(reader_visit_file(r, f, 0, 4096, cut_and_touch, &calls, &e), &e);
}

static void a_bus_error_that_is_not_ours_ends_the_program_as_ever(void **state)
{
    int status;
    pid_t pid;

    (void)state;
    pid = fork();
    if (pid == 0) {
        AUTO_FD int fd = open(path, O_RDONLY);
        volatile uint8_t *map = mmap(NULL, FILE_BYTES, PROT_READ, MAP_SHARED, fd, 0);

        signal(SIGBUS, SIG_DFL);
        if (reader_init(&(struct error){}) != 0)
            _exit(3);
        if (truncate(path, 0) != 0)
            _exit(3);
        _exit(map[8192]);
    }
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(WIFSIGNALED(status));
    assert_int_equal(WTERMSIG(status), SIGBUS);
}

static void *reader_thread(void *arg)
{
    compare_random_pieces(arg, (unsigned)(uintptr_t)pthread_self());
    return NULL;
}

static void several_threads_share_a_file(void **state)
{
    AUTO(host_file) *f = NULL;
    pthread_t threads[4];
    struct error e;

    (void)state;
    f = host_file_open(path, &e);
    assert_non_null(f);
    for (int i = 0; i < 4; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, reader_thread, f), 0);
    for (int i = 0; i < 4; i++)
        pthread_join(threads[i], NULL);
}

/* As on kernels before 6.5, or in a sandbox. */
static void take_cachestat_away(void)
{
    struct sock_filter code[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, 451, 0, 1),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | ENOSYS),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
    };
    struct sock_fprog program = {sizeof code / sizeof *code, code};

    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0 ||
        prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program) != 0)
        skip();
}

/* The last test: there is no way back. */
static void without_cachestat_all_this_holds_too(void **state)
{
    int64_t before, spent;

    take_cachestat_away();
    bytes_are_the_same_on_every_way(state);
    what_is_cached_is_mapped_and_what_is_not_is_read(state);
    before = device_bytes();
    AUTO_FREE struct seen *s = calloc(1, sizeof *s);
    AUTO(host_file) *f = NULL;
    AUTO(reader) *r = NULL;
    struct error e;

    f = host_file_open(path, &e);
    r = reader_new(NULL, &e);
    assert_true(f != NULL && r != NULL && s != NULL);
    drop_from_cache(f->fd);
    before = device_bytes();
    for (uint64_t at = 0; at + 65536 <= FILE_BYTES; at += 4 * 65536)
        assert_ok(reader_visit_file(r, f, at, 65536, copy, s, &e), &e);
    spent = device_bytes() - before;
    if (spent <= 0)
        skip();
    /* the question itself may read a page */
    assert_in_range(atomic_load(&f->read_bytes), spent - spent / 100, spent + spent / 100);
    assert_in_range(spent, 12 * 65536, 12 * (65536 + 4096));
}

int main(void)
{
#define CASE(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
    const struct CMUnitTest tests[] = {
        CASE(bytes_are_the_same_on_every_way),
        CASE(what_is_cached_is_mapped_and_what_is_not_is_read),
        CASE(scattered_pieces_cost_what_they_hold_and_are_counted_right),
        CASE(a_file_cut_while_it_is_visited_is_an_error_and_no_crash),
        CASE(a_bus_error_that_is_not_ours_ends_the_program_as_ever),
        CASE(several_threads_share_a_file),
        CASE(without_cachestat_all_this_holds_too),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
