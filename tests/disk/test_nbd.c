/* SPDX-License-Identifier: GPL-2.0-or-later */
/* NBD servers that are right, lie, die and hang. usage: test-disk-nbd NBD-SERVER.PY */
#include "../test.h"

#include "disk/nbd.h"
#include "env_files.h"

#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>

static const char *script;
static struct test_env t;
static pid_t server;
static char *folder;

static int setup(void **state)
{
    struct error e;

    (void)state;
    assert_ok(test_env_init(&t, &e), &e);
    nbd_patience_set(60'000);
    folder = test_folder_new();
    server = -1;
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    if (server > 0) {
        kill(server, SIGKILL);
        waitpid(server, NULL, 0);
    }
    test_env_release(&t);
    test_folder_remove(folder);
    return 0;
}

/* Starts the server and connects to it. */
static int start(const char *mode, uint64_t size, unsigned minimum)
{
    char size_text[32], minimum_text[32];
    int pair[2];

    snprintf(size_text, sizeof size_text, "%ju", (uintmax_t)size);
    snprintf(minimum_text, sizeof minimum_text, "%u", minimum);
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair), 0);
    server = fork();
    assert_true(server >= 0);
    if (server == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        dup2(pair[1], 0);
        execlp("python3", "python3", "-IS", script, mode, size_text, minimum_text, (char *)NULL);
        _exit(127);
    }
    close(pair[1]);
    return pair[0];
}

static void stop(void)
{
    kill(server, SIGKILL);
    waitpid(server, NULL, 0);
    server = -1;
}

static uint8_t wanted(uint64_t offset)
{
    return (offset >> 20 & 1) != 0 ? 0 : (uint8_t)(offset / 4096 % 251);
}

static void check_bytes(struct disk *d, uint64_t offset, size_t length)
{
    AUTO_FREE uint8_t *bytes = malloc(length);
    struct error e;

    assert_ok(disk_pread(d, bytes, length, offset, &e), &e);
    for (size_t i = 0; i < length; i++) {
        if (bytes[i] != wanted(offset + i))
            fail_msg("byte %ju is %u", (uintmax_t)(offset + i), bytes[i]);
    }
}

static void an_export_is_read_with_its_map_whatever_alignment_it_wants(void **state)
{
    static const struct {
        const char *mode;
        unsigned minimum;
    } cases[] = {{"good", 1}, {"good", 512}, {"good", 4096}, {"simple", 1}};

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        bool map = strcmp(cases[i].mode, "good") == 0;
        AUTO(disk) *d = NULL;
        struct extent x;
        struct error e;

        assert_ok(disk_open_nbd(&t.env, "nbd://test", "",
                                start(cases[i].mode, 8 << 20, cases[i].minimum), &d, &e),
                  &e);
        assert_int_equal(disk_size(d), 8 << 20);
        assert_string_equal(disk_format(d), "nbd");
        assert_ok(disk_extent(d, 4097, &x, &e), &e);
        assert_int_equal(x.length, map ? (1 << 20) - 4097 : (8 << 20) - 4097);
        assert_int_equal(x.flags, 0);
        assert_ok(disk_extent(d, (1 << 20) + 5, &x, &e), &e);
        assert_int_equal(x.flags, map ? EXTENT_ZERO | EXTENT_HOLE : 0);
        check_bytes(d, 0, 8 << 20);
        check_bytes(d, 4095, 3);
        check_bytes(d, 100, 700000);
        check_bytes(d, (8 << 20) - 1, 1);
        disk_close(take(d));
        stop();
    }
}

static void a_server_that_lies_is_one_clear_error(void **state)
{
    static const struct {
        const char *mode;
        enum { OPENING, MAPPING, READING } fails;
        enum err_code code;
    } cases[] = {
        {"garbage", OPENING, ERR_PEER},   {"negative-size", OPENING, ERR_PEER},
        {"no-export", OPENING, ERR_PEER}, {"map-empty", MAPPING, ERR_PEER},
        {"map-odd", MAPPING, ERR_PEER},   {"map-zero-length", MAPPING, ERR_PEER},
        {"map-none", MAPPING, ERR_PEER},  {"wrong-handle", READING, ERR_PEER},
        {"too-long", READING, ERR_PEER},  {"elsewhere", READING, ERR_PEER},
        {"half", READING, ERR_PEER},      {"error", READING, ERR_IO},
    };

    (void)state;
    nbd_patience_set(10'000);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        static uint8_t bytes[1 << 20];
        AUTO(disk) *d = NULL;
        struct extent x;
        struct error e = {};
        int result =
            disk_open_nbd(&t.env, "nbd://test", "", start(cases[i].mode, 8 << 20, 1), &d, &e);

        if (cases[i].fails != OPENING) {
            assert_ok(result, &e);
            result = cases[i].fails == MAPPING ? disk_extent(d, 8192, &x, &e)
                                               : disk_pread(d, bytes, sizeof bytes, 0, &e);
        }
        print_message("%s: %s\n", cases[i].mode, e.msg);
        if (result == 0 || e.code != cases[i].code)
            fail_msg("%s: %s (%s)", cases[i].mode, e.msg, err_code_name(e.code));
        if (d != NULL && e.code == ERR_PEER) { /* and it stays dead */
            assert_int_equal(disk_pread(d, bytes, 1, 0, &e), -1);
            assert_int_equal(e.code, ERR_PEER);
        }
        disk_close(take(d));
        stop();
    }
}

static void odd_but_lawful_maps_are_understood(void **state)
{
    AUTO(disk) *d = NULL;
    struct extent x;
    struct error e;

    (void)state;
    assert_ok(disk_open_nbd(&t.env, "a", "", start("map-endless", 8 << 20, 1), &d, &e), &e);
    assert_ok(disk_extent(d, 0, &x, &e), &e);
    assert_int_equal(x.length, 8 << 20);
    disk_close(take(d));
    stop();
    assert_ok(disk_open_nbd(&t.env, "a", "", start("map-flags", 8 << 20, 1), &d, &e), &e);
    assert_ok(disk_extent(d, 0, &x, &e), &e);
    assert_int_equal(x.flags, 0); /* unknown: data */
    disk_close(take(d));
    stop();
    assert_ok(disk_open_nbd(&t.env, "a", "", start("map-fragments", 48 << 20, 1), &d, &e), &e);
    for (uint64_t at = 0; at < disk_size(d); at += x.length) {
        assert_ok(disk_extent(d, at, &x, &e), &e);
        assert_int_equal(x.length, 512);
        /* each answer begins with data; what is kept of one is an even number of runs */
        assert_int_equal(x.flags, at / 512 % 2 == 0 ? 0 : EXTENT_ZERO | EXTENT_HOLE);
    }
}

static void a_server_that_is_silent_is_given_up(void **state)
{
    static const char *const modes[] = {"silent-handshake", "silent"};

    (void)state;
    for (size_t i = 0; i < 2; i++) {
        AUTO(disk) *d = NULL;
        struct error e;
        uint8_t byte;
        int result, socket;

        nbd_patience_set(i == 0 ? 500 : 60'000);
        socket = start(modes[i], 4096, 1);
        result = disk_open_nbd(&t.env, "a", "", socket, &d, &e);
        if (i == 1) {
            assert_ok(result, &e);
            nbd_patience_set(500);
            result = disk_pread(d, &byte, 1, 0, &e);
        }
        assert_int_equal(result, -1);
        assert_int_equal(e.code, ERR_PEER);
        assert_non_null(strstr(e.msg, "hung"));
        stop();
    }
}

static void an_interrupted_wait_ends(void **state)
{
    struct cancel cancel = {};
    AUTO(disk) *d = NULL;
    struct error e;
    uint8_t byte;

    (void)state;
    t.env.cancel = &cancel;
    assert_ok(disk_open_nbd(&t.env, "a", "", start("silent", 4096, 1), &d, &e), &e);
    atomic_store(&cancel.requested, true);
    assert_int_equal(disk_pread(d, &byte, 1, 0, &e), -1);
    assert_int_equal(e.code, ERR_CANCELLED);
}

/* A VMDK and its qemu-nbd. */
static void open_vmdk(struct disk **d)
{
    AUTO_FREE char *path = test_path(folder, "a.vmdk");
    struct error e;

    assert_int_equal(test_run("cd '%s' && qemu-img create -q -f vmdk a.vmdk 64M && "
                              "qemu-io -f vmdk -c 'write -P 5 0 16M' a.vmdk >/dev/null",
                              folder),
                     0);
    assert_ok(test_env_open(&t, path, NULL, NULL, d, &e), &e);
    assert_string_equal(disk_format(*d), "vmdk");
    assert_int_equal(t.n_servers, 1);
}

static void a_qemu_nbd_that_is_killed_or_stopped_is_one_clear_error(void **state)
{
    static const int signals[] = {SIGKILL, SIGSTOP};

    (void)state;
    if (!test_have("qemu-nbd") || !test_have("qemu-img") || !test_have("qemu-io"))
        skip();
    for (size_t i = 0; i < 2; i++) {
        AUTO_FREE uint8_t *bytes = malloc(16 << 20);
        AUTO(disk) *d = NULL;
        struct error e;

        t.n_servers = 0;
        open_vmdk(&d);
        assert_ok(disk_pread(d, bytes, 1 << 20, 0, &e), &e);
        assert_int_equal(bytes[77], 5);
        nbd_patience_set(700);
        kill(t.servers[0], signals[i]);
        assert_int_equal(disk_pread(d, bytes, 16 << 20, 0, &e), -1);
        print_message("%s\n", e.msg);
        assert_int_equal(e.code, ERR_PEER);
        nbd_patience_set(60'000);
        disk_close(take(d));
        kill(t.servers[0], SIGKILL);
        waitpid(t.servers[0], NULL, 0);
        t.n_servers = 0;
    }
}

static void *kill_soon(void *arg)
{
    nanosleep(&(struct timespec){.tv_nsec = 15'000'000}, NULL);
    kill(*(pid_t *)arg, SIGKILL);
    return NULL;
}

static void a_qemu_nbd_killed_while_threads_read_is_an_error_for_each(void **state)
{
    AUTO_FREE uint8_t *bytes = malloc(16 << 20);
    AUTO(disk) *d = NULL;
    pthread_t killer;
    struct error e = {};
    int result = 0;

    (void)state;
    if (!test_have("qemu-nbd") || !test_have("qemu-img") || !test_have("qemu-io"))
        skip();
    open_vmdk(&d);
    assert_int_equal(pthread_create(&killer, NULL, kill_soon, &t.servers[0]), 0);
    for (int i = 0; i < 1000 && result == 0; i++)
        result = disk_pread(d, bytes, 16 << 20, 0, &e);
    pthread_join(killer, NULL);
    assert_int_equal(result, -1);
    assert_int_equal(e.code, ERR_PEER);
}

int main(int argc, char **argv)
{
#define CASE(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
    const struct CMUnitTest tests[] = {
        CASE(an_export_is_read_with_its_map_whatever_alignment_it_wants),
        CASE(a_server_that_lies_is_one_clear_error),
        CASE(odd_but_lawful_maps_are_understood),
        CASE(a_server_that_is_silent_is_given_up),
        CASE(an_interrupted_wait_ends),
        CASE(a_qemu_nbd_that_is_killed_or_stopped_is_one_clear_error),
        CASE(a_qemu_nbd_killed_while_threads_read_is_an_error_for_each),
    };
    struct error e;

    if (argc != 2 || !test_have("python3"))
        return 77;
    if (nbd_library_load(&e) != 0) {
        fprintf(stderr, "%s\n", e.msg);
        return 77;
    }
    script = argv[1];
    return cmocka_run_group_tests(tests, NULL, NULL);
}
