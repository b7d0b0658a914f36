/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The one place that decides how bytes of a host file are brought to memory: mapped when the page
 * cache has them (no copy), O_DIRECT when it has not (no readahead of neighbours, no eviction), a
 * buffered read where neither fits (tails, tmpfs, small pieces). */
#ifndef STEMMA_DISK_READER_H
#define STEMMA_DISK_READER_H

#include "base/pool.h"
#include "disk/file.h"

#define READER_MAX (1u << 20) /* bytes in one visit, at most */

/* One for each thread. While it waits for the disk, others of `pool`, whose item it is used in, may
 * compute; NULL: it is used outside of a pool. */
struct reader;
[[nodiscard]] struct reader *reader_new(struct pool *pool, struct error *e);
void reader_free(struct reader *r);
AUTO_DEFINE(reader, reader_free);

/* Calls visit(arg, bytes, length) once with the bytes [offset, offset + length) of the file, as far
 * as it reaches: what lies beyond its end (as it was when opened) reads as zeros, as qemu has it.
 * The bytes may be mapped: `visit` only hashes or copies them, and may be broken off and called
 * again (a SIGBUS in it falls back to reading). length <= READER_MAX. ERR_CHANGED when the file
 * shrank, ERR_IO. One reader, one thread. */
typedef void reader_visit(void *arg, const uint8_t *bytes, size_t length);
[[nodiscard]] int reader_visit_file(struct reader *r, struct host_file *f, uint64_t offset,
                                    size_t length, reader_visit *visit, void *arg, struct error *e);

/* Installs the SIGBUS handler that reader_visit_file() relies on, before threads start; without it
 * nothing is mapped. A SIGBUS that is not its own goes where it went before. */
[[nodiscard]] int reader_init(struct error *e);

#endif
