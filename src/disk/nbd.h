/* SPDX-License-Identifier: GPL-2.0-or-later */
/* One connection to an NBD server (a captive qemu-nbd, or anybody's): its bytes and its map. What
 * the server says is hostile: sizes, extents and silence are checked. Uses libnbd, which is loaded
 * when it is first needed. */
#ifndef STEMMA_DISK_NBD_H
#define STEMMA_DISK_NBD_H

#include "base/auto.h"
#include "base/error.h"
#include "base/pool.h"
#include "disk/disk.h"

#include <stdint.h>

/* Loads libnbd (2.3 ms); a process that is to be sealed calls it before. ERR_UNSUPPORTED with a
 * word about the package when it is not there. Any thread. */
[[nodiscard]] int nbd_library_load(struct error *e);

struct nbd_link;

/* Shakes hands over a connected socket (taken, also when it fails). `server` is what messages call
 * it ("qemu-nbd", a URI); `cancel` may be NULL and must outlive the link. ERR_PEER when the server
 * dies, breaks the protocol, or does nothing for the time below; ERR_CANCELLED. */
[[nodiscard]] struct nbd_link *nbd_link_open(const char *server, const char *export_name,
                                             int socket, const struct cancel *cancel,
                                             struct error *e);
void nbd_link_close(struct nbd_link *l);
AUTO_DEFINE(nbd_link, nbd_link_close);

/* Any thread, one is served at a time. After an ERR_PEER the link stays dead: whatever
 * needs the server says the same again. */
uint64_t nbd_link_size(const struct nbd_link *l);
[[nodiscard]] int nbd_link_pread(struct nbd_link *l, void *bytes, size_t length, uint64_t offset,
                                 struct error *e);
/* The extent at `offset` (< size): ZERO, HOLE with it, or data. */
[[nodiscard]] int nbd_link_extent(struct nbd_link *l, uint64_t offset, struct extent *out,
                                  struct error *e);

/* How long a server may take for one answer, in milliseconds; 60,000 unless a test says less. */
void nbd_patience_set(unsigned milliseconds);

#endif
