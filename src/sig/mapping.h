/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Signature files in memory without a copy. A thousand of them are open in one run, and copying
 * costs five times what hashing them does (fresh pages are cleared, then filled) and all their
 * memory, where mapped pages are the page cache's. The price is that the file may shrink under the
 * mapping; then the pages that are gone read as zeros, and the mapping says so. */
#ifndef STEMMA_SIG_MAPPING_H
#define STEMMA_SIG_MAPPING_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct sig_mapping;

/* The first `length` bytes of the file, read-only. NULL when they cannot be mapped here: then they
 * are to be read. Any thread. */
struct sig_mapping *sig_mapping_new(int fd, size_t length);
void sig_mapping_free(struct sig_mapping *m);
const uint8_t *sig_mapping_bytes(const struct sig_mapping *m);

/* True when bytes of it went away after it was made. */
bool sig_mapping_lost(const struct sig_mapping *m);

#endif
