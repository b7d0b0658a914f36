/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Messages between the front and its worker: a SOCK_SEQPACKET socket carries one record per packet,
 * with descriptors beside it. The front treats every record as hostile: it is read with a cursor
 * and every count and index is checked.
 *
 *     u16 type | u16 reserved, 0 | u32 sequence | payload (at most RECORD_MAX bytes)
 */
#ifndef STEMMA_BASE_RECORD_H
#define STEMMA_BASE_RECORD_H

#include "base/buf.h"
#include "base/cursor.h"
#include "base/error.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define RECORD_MAX 65536u /* payload bytes */
#define RECORD_HEADER 8u
#define RECORD_FDS 4 /* descriptors in one record, at most */

struct record {
    uint16_t type;
    uint32_t sequence;     /* a reply repeats its request's */
    struct cursor payload; /* borrowed from the receiver's buffer */
    int fds[RECORD_FDS];   /* owned by the receiver; -1 where there is none */
};

/* Sends one record; `fds` (n_fds of them) stay the caller's. Blocks. ERR_PEER when the other side
 * is gone. Any thread may send; records are not interleaved. */
[[nodiscard]] int record_send(int socket, uint16_t type, uint32_t sequence, const void *payload,
                              size_t length, const int *fds, size_t n_fds, struct error *e);

/* Receives one record into `space` (RECORD_HEADER + RECORD_MAX bytes, which the payload borrows).
 * Returns 1, 0 at the end of the stream, or -1 (ERR_PEER for a packet that is not a record). */
[[nodiscard]] int record_receive(int socket, struct record *out, void *space, struct error *e);

/* Closes whatever descriptors the record still owns. */
void record_close_fds(struct record *r);

/* A string as buf_put_string() wrote it: a copy for free(), without NUL bytes inside; NULL (and the
 * cursor bad) when it is longer than `max`, holds a NUL, or memory is short. */
[[nodiscard]] char *cursor_string(struct cursor *c, size_t max);

/* The same as buf_put_optional() wrote it; NULL without the cursor being bad: there is none. */
[[nodiscard]] char *cursor_optional(struct cursor *c, size_t max);

#endif
