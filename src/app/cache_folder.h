/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The folder of the signature cache: $XDG_CACHE_HOME/stemma (or ~/.cache/stemma), or what
 * --cache=DIR says. Entries are v1/KEY.sig, written under another name and renamed when whole; KEY
 * is 64 hex digits and says nothing about names. Safe with many processes at once. Only file
 * operations here: the worker reads and writes the entries. */
#ifndef STEMMA_APP_CACHE_FOLDER_H
#define STEMMA_APP_CACHE_FOLDER_H

#include "base/auto.h"
#include "base/error.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct cache_folder;

/* `path` NULL: the default place. The folder is made (mode 0700) when the first entry is written,
 * not before. */
[[nodiscard]] struct cache_folder *cache_folder_new(const char *path, struct error *e);
void cache_folder_free(struct cache_folder *c); /* unfinished entries are removed */
AUTO_DEFINE(cache_folder, cache_folder_free);

const char *cache_folder_path(const struct cache_folder *c);

/* As struct sig_cache (sig/library.h) has it; a used entry's access is noted (its mtime) for prune.
 * ERR_FORMAT for a key that is not 64 hex digits. */
[[nodiscard]] int cache_folder_open(struct cache_folder *c, const char *key, int *fd,
                                    struct error *e);
[[nodiscard]] int cache_folder_create(struct cache_folder *c, const char *key, int *fd,
                                      struct error *e);
[[nodiscard]] int cache_folder_commit(struct cache_folder *c, const char *key, bool keep,
                                      struct error *e);

struct cache_entry {
    char key[65];
    uint64_t bytes;    /* on the host */
    int64_t used_time; /* seconds since the epoch: when it was last used */
};
/* All whole entries, oldest use first; array for free(). */
[[nodiscard]] int cache_folder_list(struct cache_folder *c, struct cache_entry **out, size_t *n,
                                    struct error *e);
/* Removes entries not used for `max_age` seconds, then the oldest until at most `max_bytes` are
 * left; also what crashed runs left behind. Returns counts of what went. */
[[nodiscard]] int cache_folder_prune(struct cache_folder *c, int64_t max_age, uint64_t max_bytes,
                                     size_t *removed, uint64_t *freed, struct error *e);
[[nodiscard]] int cache_folder_clear(struct cache_folder *c, size_t *removed, uint64_t *freed,
                                     struct error *e);

#endif
