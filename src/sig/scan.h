/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Signs a disk: every extent is read once; zeros and holes are free; what comes from the backing
 * disk is taken from its signature. */
#ifndef STEMMA_SIG_SCAN_H
#define STEMMA_SIG_SCAN_H

#include "base/pool.h"
#include "base/progress.h"
#include "disk/disk.h"
#include "sig/sig.h"

struct scan_options {
    struct pool *pool;
    size_t threads; /* 0: all of the pool's */
    const struct cancel *cancel;
    struct progress *progress; /* bytes of the disk's own data; may be NULL */
};

/* `base` is the signature of disk_backing(d); NULL when there is none. Called by one thread at a
 * time. */
[[nodiscard]] int scan_disk(struct disk *d, const struct sig *base, const struct scan_options *o,
                            struct sig **out, struct error *e);

#endif
