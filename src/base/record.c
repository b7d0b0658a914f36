/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "base/record.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

/* Exactly RECORD_FDS descriptors fit: with a number that CMSG_SPACE rounds up, the kernel would
 * hand over one more than there is a place for. */
#define CONTROL_BYTES CMSG_SPACE(RECORD_FDS * sizeof(int))
static_assert(CMSG_SPACE(RECORD_FDS * sizeof(int)) == CMSG_LEN(RECORD_FDS * sizeof(int)));

union control {
    struct cmsghdr header; /* aligns the bytes */
    char bytes[CONTROL_BYTES];
};

static void put_header(uint8_t header[RECORD_HEADER], uint16_t type, uint32_t sequence)
{
    for (unsigned i = 0; i < 2; i++)
        header[i] = (uint8_t)(type >> 8 * i);
    header[2] = header[3] = 0;
    for (unsigned i = 0; i < 4; i++)
        header[4 + i] = (uint8_t)(sequence >> 8 * i);
}

static void put_fds(struct msghdr *message, union control *control, const int *fds, size_t n_fds)
{
    memset(control, 0, sizeof *control);
    control->header.cmsg_level = SOL_SOCKET;
    control->header.cmsg_type = SCM_RIGHTS;
    control->header.cmsg_len = CMSG_LEN(n_fds * sizeof *fds);
    memcpy(CMSG_DATA(&control->header), fds, n_fds * sizeof *fds);
    message->msg_control = control->bytes;
    message->msg_controllen = CMSG_SPACE(n_fds * sizeof *fds);
}

static int peer_error(struct error *e, const char *doing)
{
    int sys = errno;

    if (sys != EPIPE && sys != ECONNRESET && sys != ENOTCONN && sys != ECONNREFUSED)
        return err_sys(e, "%s", doing);
    err_set(e, ERR_PEER, "%s: the other process is gone", doing);
    e->sys = sys;
    return -1;
}

/* One packet is one sendmsg(), which the kernel keeps whole: no lock is needed. */
int record_send(int socket, uint16_t type, uint32_t sequence, const void *payload, size_t length,
                const int *fds, size_t n_fds, struct error *e)
{
    uint8_t header[RECORD_HEADER];
    struct iovec parts[] = {{header, sizeof header}, {(void *)payload, length}};
    struct msghdr message = {.msg_iov = parts, .msg_iovlen = length > 0 ? 2 : 1};
    union control control;
    ssize_t n;

    if (length > RECORD_MAX || n_fds > RECORD_FDS)
        return err_set(e, ERR_INTERNAL, "a record of %zu bytes and %zu descriptors", length, n_fds);
    put_header(header, type, sequence);
    if (n_fds > 0)
        put_fds(&message, &control, fds, n_fds);
    do {
        n = sendmsg(socket, &message, MSG_NOSIGNAL);
    } while (n < 0 && errno == EINTR);
    if (n < 0)
        return peer_error(e, "sending a record");
    if ((size_t)n != sizeof header + length)
        return err_set(e, ERR_INTERNAL, "the socket does not keep packets whole");
    return 0;
}

/* Moves the descriptors that came along into the record. */
static void take_fds(struct record *r, struct msghdr *message)
{
    size_t n = 0;

    for (struct cmsghdr *h = CMSG_FIRSTHDR(message); h != NULL; h = CMSG_NXTHDR(message, h)) {
        if (h->cmsg_level != SOL_SOCKET || h->cmsg_type != SCM_RIGHTS)
            continue;
        for (size_t at = 0; CMSG_LEN(at + sizeof(int)) <= h->cmsg_len; at += sizeof(int)) {
            int fd;

            memcpy(&fd, CMSG_DATA(h) + at, sizeof fd);
            if (n < RECORD_FDS)
                r->fds[n++] = fd;
            else
                close(fd);
        }
    }
}

static int parse_record(struct record *r, const void *bytes, size_t length, int flags,
                        struct error *e)
{
    struct cursor c = cursor_of(bytes, length);
    uint16_t reserved;

    if (flags & (MSG_TRUNC | MSG_CTRUNC))
        return err_set(e, ERR_PEER, "a record that is too large or has too many descriptors");
    r->type = cursor_le16(&c);
    reserved = cursor_le16(&c);
    r->sequence = cursor_le32(&c);
    if (c.bad)
        return err_set(e, ERR_PEER, "a packet of %zu bytes is not a record", length);
    if (reserved != 0)
        return err_set(e, ERR_PEER, "a record whose reserved field is %u", reserved);
    r->payload = c;
    return 1;
}

int record_receive(int socket, struct record *out, void *space, struct error *e)
{
    struct iovec part = {space, RECORD_HEADER + RECORD_MAX};
    union control control;
    struct msghdr message = {.msg_iov = &part,
                             .msg_iovlen = 1,
                             .msg_control = control.bytes,
                             .msg_controllen = sizeof control.bytes};
    struct record r = {.fds = {-1, -1, -1, -1}};
    ssize_t n;
    int result;

    static_assert(RECORD_FDS == 4);
    do {
        n = recvmsg(socket, &message, MSG_CMSG_CLOEXEC);
    } while (n < 0 && errno == EINTR);
    if (n < 0)
        return peer_error(e, "waiting for a record");
    take_fds(&r, &message);
    result = n == 0 ? 0 : parse_record(&r, space, (size_t)n, message.msg_flags, e);
    if (result == 1)
        *out = r;
    else
        record_close_fds(&r);
    return result;
}

void record_close_fds(struct record *r)
{
    for (size_t i = 0; i < RECORD_FDS; i++) {
        if (r->fds[i] >= 0)
            close(r->fds[i]);
        r->fds[i] = -1;
    }
}

char *cursor_string(struct cursor *c, size_t max)
{
    size_t length = cursor_le32(c);
    const uint8_t *bytes = length > max ? NULL : cursor_bytes(c, length);
    char *text = NULL;

    if (bytes != NULL && memchr(bytes, 0, length) == NULL)
        text = malloc(length + 1);
    if (text == NULL) {
        c->bad = true;
        return NULL;
    }
    memcpy(text, bytes, length);
    text[length] = 0;
    return text;
}

char *cursor_optional(struct cursor *c, size_t max)
{
    bool there = cursor_u8(c) != 0;
    char *text = cursor_string(c, max);

    if (there)
        return text;
    free(text);
    return NULL;
}
