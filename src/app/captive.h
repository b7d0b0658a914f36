/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A captive qemu-nbd: reads one foreign image for us, sees only the files it needs (Landlock, where
 * the kernel has it), and dies with us. */
#ifndef STEMMA_APP_CAPTIVE_H
#define STEMMA_APP_CAPTIVE_H

#include "base/auto.h"
#include "base/error.h"
#include "base/pool.h"
#include "disk/file.h"

#include <stdbool.h>
#include <stddef.h>

struct captive;

/* A file that qemu-nbd will open by its name: only while that is still the file that was checked.
 */
struct captive_file {
    const char *path; /* resolved */
    struct file_identity identity;
};

/* Starts qemu-nbd read-only on files[0] as `format` (one of foreign_formats, else ERR_PEER),
 * allowed to read the n files and nothing else of the user's. *socket is a connected socket for the
 * caller. ERR_NOT_FOUND with a word about the package when there is no qemu-nbd; ERR_PEER with what
 * it said when it ended at once; ERR_CHANGED when another file has taken a name; ERR_CANCELLED. */
[[nodiscard]] struct captive *captive_start(const struct captive_file *files, size_t n,
                                            const char *format, const struct cancel *cancel,
                                            int *socket, struct error *e);
/* True when it has ended, as it does once nobody is connected: only captive_stop() is left to do.
 */
bool captive_ended(struct captive *c);
/* Ends it and collects it; NULL is fine. */
void captive_stop(struct captive *c);
AUTO_DEFINE(captive, captive_stop);

#endif
