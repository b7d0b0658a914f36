/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "../test.h"

#include "base/auto.h"
#include "base/record.h"

#include <fcntl.h>
#include <pthread.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>

static uint8_t space[RECORD_HEADER + RECORD_MAX];

struct pair {
    int ends[2];
};

static void pair_close(struct pair *p)
{
    close(p->ends[0]);
    close(p->ends[1]);
}

#define PAIR __attribute__((cleanup(pair_close))) struct pair

static struct pair pair_open(void)
{
    struct pair p;

    assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, p.ends), 0);
    return p;
}

static void close_end(struct pair *p, int end)
{
    close(p->ends[end]);
    p->ends[end] = open("/dev/null", O_RDONLY | O_CLOEXEC);
}

/* The lowest free descriptor: unchanged when nothing leaked. */
static int lowest_free(void)
{
    int fd = open("/dev/null", O_RDONLY | O_CLOEXEC);

    close(fd);
    return fd;
}

static void a_record_arrives_as_it_was_sent(void **state)
{
    PAIR p = pair_open();
    AUTO_BUF b = {};
    AUTO_FREE char *text = NULL;
    struct record r;
    struct error e;

    (void)state;
    buf_put_string(&b, "qcow2");
    buf_put_u64(&b, 1ull << 40);
    assert_ok(record_send(p.ends[0], 0x1234, 0xfedcba98, b.bytes, b.length, NULL, 0, &e), &e);
    assert_int_equal(record_receive(p.ends[1], &r, space, &e), 1);
    assert_memory_equal(space, "\x34\x12\0\0\x98\xba\xdc\xfe\5\0\0\0qcow2", 17);
    assert_int_equal(r.type, 0x1234);
    assert_int_equal(r.sequence, 0xfedcba98);
    text = cursor_string(&r.payload, 100);
    assert_string_equal(text, "qcow2");
    assert_int_equal(cursor_le64(&r.payload), 1ull << 40);
    assert_int_equal(cursor_left(&r.payload), 0);
    assert_false(r.payload.bad);
    for (size_t i = 0; i < RECORD_FDS; i++)
        assert_int_equal(r.fds[i], -1);
}

static void the_largest_record_fits_and_no_larger_one(void **state)
{
    static uint8_t payload[RECORD_MAX + 1];
    PAIR p = pair_open();
    struct record r;
    struct error e;

    (void)state;
    memset(payload, 0x5a, sizeof payload);
    assert_ok(record_send(p.ends[0], 1, 2, payload, RECORD_MAX, NULL, 0, &e), &e);
    assert_int_equal(record_receive(p.ends[1], &r, space, &e), 1);
    assert_int_equal(cursor_left(&r.payload), RECORD_MAX);
    assert_memory_equal(cursor_bytes(&r.payload, RECORD_MAX), payload, RECORD_MAX);
    assert_int_equal(record_send(p.ends[0], 1, 2, payload, RECORD_MAX + 1, NULL, 0, &e), -1);
    assert_int_equal(e.code, ERR_INTERNAL);
    assert_ok(record_send(p.ends[0], 1, 2, NULL, 0, NULL, 0, &e), &e);
    assert_int_equal(record_receive(p.ends[1], &r, space, &e), 1);
    assert_int_equal(cursor_left(&r.payload), 0);
}

static void descriptors_come_along_and_close_on_exec(void **state)
{
    PAIR p = pair_open();
    int before = lowest_free();
    int fds[RECORD_FDS + 1];
    struct stat sent, got;
    struct record r;
    struct error e;

    (void)state;
    for (size_t i = 0; i <= RECORD_FDS; i++)
        fds[i] = p.ends[i % 2];
    assert_ok(record_send(p.ends[0], 1, 2, "x", 1, fds, RECORD_FDS, &e), &e);
    assert_int_equal(record_receive(p.ends[1], &r, space, &e), 1);
    for (size_t i = 0; i < RECORD_FDS; i++) {
        assert_int_equal(fstat(fds[i], &sent), 0);
        assert_int_equal(fstat(r.fds[i], &got), 0);
        assert_int_equal(sent.st_ino, got.st_ino);
        assert_true(fcntl(r.fds[i], F_GETFD) & FD_CLOEXEC);
    }
    record_close_fds(&r);
    assert_int_equal(r.fds[0], -1);
    assert_int_equal(lowest_free(), before);
    assert_int_equal(record_send(p.ends[0], 1, 2, "x", 1, fds, RECORD_FDS + 1, &e), -1);
    assert_int_equal(e.code, ERR_INTERNAL);
}

/* What a hostile peer may do: any bytes, any number of descriptors. */
static void send_packet(int socket, const void *bytes, size_t length, int fd, size_t n_fds)
{
    struct iovec part = {(void *)bytes, length};
    union {
        struct cmsghdr header;
        char bytes[CMSG_SPACE(64 * sizeof(int))];
    } control = {};
    struct msghdr m = {.msg_iov = &part, .msg_iovlen = 1};

    if (n_fds > 0) {
        m.msg_control = control.bytes;
        m.msg_controllen = CMSG_SPACE(n_fds * sizeof fd);
        control.header.cmsg_level = SOL_SOCKET;
        control.header.cmsg_type = SCM_RIGHTS;
        control.header.cmsg_len = CMSG_LEN(n_fds * sizeof fd);
        for (size_t i = 0; i < n_fds; i++)
            memcpy(CMSG_DATA(&control.header) + i * sizeof fd, &fd, sizeof fd);
    }
    assert_int_equal(sendmsg(socket, &m, 0), length);
}

static void packets_that_are_no_records_are_refused_and_leak_nothing(void **state)
{
    static uint8_t big[RECORD_HEADER + RECORD_MAX + 1];
    PAIR p = pair_open();
    int before = lowest_free();
    struct error e;
    const struct {
        const void *bytes;
        size_t length, n_fds;
    } bad[] = {
        {"short", 5, 0},      {"shorter", 7, 3},         {"\1\0\1\0\0\0\0\0", 8, 1},
        {big, sizeof big, 0}, {big, RECORD_HEADER, 5},   {big, RECORD_HEADER, 64},
        {big, sizeof big, 4}, {"\1\0\0\200\0\0\0\0", 8}, {"", 1, 6},
    };

    (void)state;
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        struct record r = {.type = 77};

        send_packet(p.ends[0], bad[i].bytes, bad[i].length, p.ends[0], bad[i].n_fds);
        assert_int_equal(record_receive(p.ends[1], &r, space, &e), -1);
        assert_int_equal(e.code, ERR_PEER);
        assert_int_equal(r.type, 77);
        assert_int_equal(lowest_free(), before);
    }
    /* an empty packet cannot be told from the end, with descriptors or without */
    for (size_t n = 0; n < 8; n += 7) {
        struct record r;

        send_packet(p.ends[0], "", 0, p.ends[0], n);
        assert_int_equal(record_receive(p.ends[1], &r, space, &e), 0);
        assert_int_equal(lowest_free(), before);
    }
}

static void a_peer_that_is_gone_is_told(void **state)
{
    PAIR p = pair_open();
    PAIR q = pair_open();
    struct record r;
    struct error e;

    (void)state;
    close_end(&p, 1);
    assert_int_equal(record_send(p.ends[0], 1, 2, "x", 1, NULL, 0, &e), -1);
    assert_int_equal(e.code, ERR_PEER);
    assert_int_equal(record_receive(p.ends[0], &r, space, &e), 0);
    /* what it sent before still arrives */
    assert_ok(record_send(q.ends[0], 1, 2, "x", 1, NULL, 0, &e), &e);
    close_end(&q, 0);
    assert_int_equal(record_receive(q.ends[1], &r, space, &e), 1);
    assert_int_equal(record_receive(q.ends[1], &r, space, &e), 0);
    assert_int_equal(record_receive(-1, &r, space, &e), -1);
    assert_int_equal(e.code, ERR_IO);
}

struct sender {
    pthread_t thread;
    int socket;
    uint16_t type;
    bool failed;
};

static void *send_many(void *arg)
{
    struct sender *s = arg;
    uint8_t payload[3000];
    struct error e;

    memset(payload, s->type, sizeof payload);
    for (uint32_t i = 0; i < 300 && !s->failed; i++)
        s->failed = record_send(s->socket, s->type, i, payload, i * 10, NULL, 0, &e) != 0;
    return NULL;
}

static void threads_share_a_socket_and_records_stay_whole(void **state)
{
    PAIR p = pair_open();
    struct sender senders[3];
    uint32_t expected[3] = {};
    struct error e;

    (void)state;
    for (size_t i = 0; i < 3; i++) {
        senders[i] = (struct sender){.socket = p.ends[0], .type = (uint16_t)i};
        assert_int_equal(pthread_create(&senders[i].thread, NULL, send_many, &senders[i]), 0);
    }
    for (size_t i = 0; i < 900; i++) {
        struct record r;
        size_t left;

        assert_int_equal(record_receive(p.ends[1], &r, space, &e), 1);
        assert_true(r.type < 3);
        assert_int_equal(r.sequence, expected[r.type]++);
        assert_int_equal(cursor_left(&r.payload), r.sequence * 10);
        for (left = cursor_left(&r.payload); left > 0; left--)
            assert_int_equal(cursor_u8(&r.payload), r.type);
    }
    for (size_t i = 0; i < 3; i++) {
        pthread_join(senders[i].thread, NULL);
        assert_false(senders[i].failed);
    }
}

static void a_string_is_bounded_and_holds_no_nul(void **state)
{
    static const struct {
        const char *bytes;
        size_t length, max;
        const char *text; /* NULL: refused */
    } cases[] = {
        {"\3\0\0\0abc", 7, 3, "abc"},
        {"\3\0\0\0abc", 7, 2, NULL},
        {"\3\0\0\0ab", 6, 100, NULL},
        {"\3\0\0\0a\0c", 7, 100, NULL},
        {"\0\0\0\0", 4, 0, ""},
        {"\0\0\0", 3, 100, NULL},
        {"\377\377\377\377abc", 7, SIZE_MAX, NULL},
    };

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct cursor c = cursor_of(cases[i].bytes, cases[i].length);
        AUTO_FREE char *text = cursor_string(&c, cases[i].max);

        assert_int_equal(c.bad, cases[i].text == NULL);
        if (cases[i].text == NULL)
            assert_null(text);
        else
            assert_string_equal(text, cases[i].text);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_record_arrives_as_it_was_sent),
        cmocka_unit_test(the_largest_record_fits_and_no_larger_one),
        cmocka_unit_test(descriptors_come_along_and_close_on_exec),
        cmocka_unit_test(packets_that_are_no_records_are_refused_and_leak_nothing),
        cmocka_unit_test(a_peer_that_is_gone_is_told),
        cmocka_unit_test(threads_share_a_socket_and_records_stay_whole),
        cmocka_unit_test(a_string_is_bounded_and_holds_no_nul),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
