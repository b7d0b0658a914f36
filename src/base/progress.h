/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Progress is two counters that libraries bump and the command line shows. */
#ifndef STEMMA_BASE_PROGRESS_H
#define STEMMA_BASE_PROGRESS_H

#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>

struct progress {
    _Atomic uint64_t done;  /* bytes (or whatever the caller counts) finished */
    _Atomic uint64_t total; /* how many there will be; grows as more becomes known */
};

/* p may be NULL in all of these; any thread may call. */
static inline void progress_expect(struct progress *p, uint64_t more)
{
    if (p != NULL)
        atomic_fetch_add_explicit(&p->total, more, memory_order_relaxed);
}

static inline void progress_add(struct progress *p, uint64_t done)
{
    if (p != NULL)
        atomic_fetch_add_explicit(&p->done, done, memory_order_relaxed);
}

#endif
