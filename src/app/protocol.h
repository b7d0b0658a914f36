/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What front and worker say to each other, as records (base/record.h). The worker asks, the front
 * answers: a request's reply repeats its sequence number. The front treats all of it as hostile.
 * Results of jobs have record types of their own from 0x100 on (cluster/kinship.h, ...). */
#ifndef STEMMA_APP_PROTOCOL_H
#define STEMMA_APP_PROTOCOL_H

#include "base/progress.h"
#include "base/record.h"
#include "disk/file.h"

enum message {
    /* front to worker */
    MSG_JOB = 1, /* u16 kind, the job's own request */
    MSG_REPLY,   /* u8 0 and data, or u8 1 and an error */

    /* worker to front, no reply */
    MSG_READY = 0x10, /* u32 Landlock ABI, u8 sealed */
    MSG_DONE,         /* u8 0, or u8 1 and an error: the job has ended */
    MSG_PROBLEM,      /* u8 severity, u16 code, u64 offset, string object, string text */
    MSG_FAILED,       /* u32 source, error: this source has no result */

    /* worker to front, with a reply */
    MSG_OPEN_SOURCE =
        0x20,          /* u32 source: string name, u8 is NBD, then a file or (NBD) the socket */
    MSG_OPEN_NAMED,    /* u32 token, u8 reason, string name: a file */
    MSG_SERVE,         /* u32 token, string format, u32 n, n u32 tokens: a socket */
    MSG_CACHE_OPEN,    /* string key: a descriptor, or ERR_NOT_FOUND */
    MSG_CACHE_CREATE,  /* string key: a descriptor */
    MSG_CACHE_COMMIT,  /* string key, u8 keep */
    MSG_OUTPUT_CREATE, /* u32 output: a descriptor */
    MSG_OUTPUT_COMMIT, /* u32 output, u8 keep */

    /* results that have no module of their own */
    MSG_SIGNED = 0x40, /* u32 source, u64 size, u64 data bytes, u64 read bytes, u8 cached */
    MSG_GUEST,         /* disk/guest_config.h */
    MSG_IMAGE, /* u32 source, string format, u64 size, u32 snapshots, u8 in use, u8 has a backing
                * file, then its identity and string format */
    MSG_NOTE,  /* string text: what a probe found */
};

/* A page that both map: the worker counts, the front looks. Only ever shown, never trusted. */
struct shared_page {
    struct progress progress;
    _Atomic uint32_t source; /* that is being worked on; NO_SOURCE: none */
};
#define NO_SOURCE UINT32_MAX

/* A file in a reply: u32 token, string name, identity, u8 in use, string noted format; descriptors:
 * fd and, if there is one, the direct one. */
void put_identity(struct buf *b, const struct file_identity *id);
void get_identity(struct cursor *c, struct file_identity *id);
void put_error(struct buf *b, const struct error *e);
/* Always leaves a sensible error, whatever the bytes. */
void get_error(struct cursor *c, struct error *e);

/* Strings here are paths and messages. */
#define STRING_MAX 16384

#endif
