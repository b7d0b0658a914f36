/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The signatures of one run: each layer of each chain is signed once, whatever the number of disks
 * on it, and comes from the cache when the files it was made of are unchanged. */
#ifndef STEMMA_SIG_LIBRARY_H
#define STEMMA_SIG_LIBRARY_H

#include "disk/disk.h"
#include "sig/scan.h"
#include "sig/sig.h"

/* Where signatures are kept between runs; the front has the files. Keys are 64 hex digits. Errors
 * of the cache never fail a run: they are problems, told once. */
struct sig_cache {
    /* A descriptor of the entry (owned by the caller), or -1 with ERR_NOT_FOUND. */
    int (*open)(void *arg, const char *key, int *fd, struct error *e);
    /* An empty file to write the entry to (owned by the caller). */
    int (*create)(void *arg, const char *key, int *fd, struct error *e);
    /* The file that create() gave is whole (or, with !keep, is not wanted). */
    int (*commit)(void *arg, const char *key, bool keep, struct error *e);
    void *arg;
};

struct sig_library;
[[nodiscard]] struct sig_library *sig_library_new(const struct sig_cache *cache, /* NULL: none */
                                                  const struct scan_options *scan,
                                                  const struct problem_sink *problems,
                                                  struct error *e);
void sig_library_free(struct sig_library *l);
AUTO_DEFINE(sig_library, sig_library_free);

struct sig_origin {
    bool cached;         /* this layer came from the cache */
    uint64_t read_bytes; /* of the layer's own files in this run, metadata included */
};

/* The signature of d, as seen through its whole chain; the caller gets a reference. A layer whose
 * files change during the scan (or changed within 2 seconds of its end), or that lies on a block
 * device or comes over NBD, is never cached; a file that changed during the scan gives a warning.
 */
[[nodiscard]] int sig_library_get(struct sig_library *l, struct disk *d, struct sig **out,
                                  struct sig_origin *origin, struct error *e);

/* The cache key of a disk: of every file of every layer its device, inode, size, mtime and ctime,
 * and of every layer format and snapshot. False when it has none (block devices, NBD). */
bool sig_cache_key(const struct disk *d, char key[65]);

#endif
