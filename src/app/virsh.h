/* SPDX-License-Identifier: GPL-2.0-or-later */
/* libvirt's guests, asked through its own client (virsh, read-only, libvirt's default connection:
 * see LIBVIRT_DEFAULT_URI). */
#ifndef STEMMA_APP_VIRSH_H
#define STEMMA_APP_VIRSH_H

#include "base/buf.h"
#include "base/error.h"

/* The names of all guests, each ended by a NUL. ERR_NOT_FOUND when there is no virsh; ERR_PEER with
 * its last words when it cannot reach libvirt. */
[[nodiscard]] int virsh_list(struct buf *names, struct error *e);

/* A guest's definition as an unnamed file (owned by the caller), by name or UUID. */
[[nodiscard]] int virsh_definition(const char *guest, int *fd, struct error *e);

#endif
