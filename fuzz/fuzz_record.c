/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A hostile worker's packet, through a real socket; then its payload is read as a sequence of
 * fields whose kinds the packet itself names. */
#include "base/auto.h"
#include "base/record.h"

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t length);

static void require(bool holds)
{
    if (!holds)
        abort();
}

static void read_fields(struct cursor *c)
{
    while (cursor_left(c) > 0) {
        uint8_t kind = cursor_u8(c);
        size_t left = cursor_left(c);
        AUTO_FREE char *text = NULL;
        const uint8_t *at;

        switch (kind % 4) {
        case 0:
            text = cursor_string(c, kind);
            require((text == NULL) == c->bad && (text == NULL || strlen(text) <= kind));
            break;
        case 1:
            at = cursor_bytes(c, kind);
            require(at == NULL ? c->bad : memcmp(at, at + kind - 1, 1) == 0 || kind > 1);
            break;
        case 2:
            cursor_skip(c, cursor_le32(c));
            break;
        default:
            require(cursor_le64(c) == 0 || !c->bad);
        }
        require(cursor_left(c) <= left);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t length)
{
    static uint8_t *space;
    static int ends[2];
    struct record r;
    struct error e;
    int result;

    if (space == NULL) {
        /* of exactly the size that is asked for, so that the sanitizer sees what is beyond */
        space = malloc(RECORD_HEADER + RECORD_MAX);
        require(space != NULL && socketpair(AF_UNIX, SOCK_SEQPACKET, 0, ends) == 0);
    }
    require(send(ends[0], bytes, length, 0) == (ssize_t)length);
    result = record_receive(ends[1], &r, space, &e);
    require(result == 0 ? length == 0 : result == 1 || e.code == ERR_PEER);
    if (result == 1) {
        require(cursor_left(&r.payload) == length - RECORD_HEADER);
        read_fields(&r.payload);
        record_close_fds(&r);
    }
    return 0;
}
