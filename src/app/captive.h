/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A captive qemu-nbd: reads one foreign image for us, sees only the files it needs (Landlock, where
 * the kernel has it), and dies with us. */
#ifndef STEMMA_APP_CAPTIVE_H
#define STEMMA_APP_CAPTIVE_H

#include "base/auto.h"
#include "base/error.h"

#include <stddef.h>

struct captive;

/* Starts qemu-nbd read-only on `path` (resolved) as `format`, allowed to read it and the n files of
 * `parts` (resolved paths) and nothing else of the user's. *socket is a connected socket for the
 * caller. ERR_NOT_FOUND with a word about the package when there is no qemu-nbd; ERR_PEER with what
 * it said when it ended at once. */
[[nodiscard]] struct captive *captive_start(const char *path, const char *format,
                                            const char *const *parts, size_t n, int *socket,
                                            struct error *e);
/* Ends it and collects it; NULL is fine. */
void captive_stop(struct captive *c);
AUTO_DEFINE(captive, captive_stop);

#endif
