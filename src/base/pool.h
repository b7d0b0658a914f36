/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Worker threads made once (a sealed process cannot make more) and used for one loop after another.
 */
#ifndef STEMMA_BASE_POOL_H
#define STEMMA_BASE_POOL_H

#include "base/auto.h"
#include "base/error.h"

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>

struct pool;

/* Set by anyone, from a signal handler too; long work asks it between pieces. */
struct cancel {
    atomic_bool requested;
};

static inline bool cancel_requested(const struct cancel *c)
{
    return c != NULL && atomic_load_explicit(&c->requested, memory_order_relaxed);
}

#define POOL_THREADS_MAX 1024

/* `threads` workers, 1 to POOL_THREADS_MAX. They block all signals that no fault of their own
 * raises. NULL on error. */
[[nodiscard]] struct pool *pool_new(size_t threads, struct error *e);
void pool_free(struct pool *p);
AUTO_DEFINE(pool, pool_free);

size_t pool_threads(const struct pool *p);

/* Calls run(arg, item, thread, e) once for each item in [0, n), in rising order of start, on at
 * most `threads` workers (0: all), and returns when all have ended. `thread` in [0, pool_threads())
 * is for per-worker state. The first error stops what has not started and is returned;
 * ERR_CANCELLED when `cancel` (may be NULL) was requested. Not reentrant: one pool_run at a time,
 * not from a worker. */
typedef int pool_function(void *arg, size_t item, size_t thread, struct error *e);
[[nodiscard]] int pool_run(struct pool *p, size_t threads, size_t n, pool_function *run, void *arg,
                           const struct cancel *cancel, struct error *e);

#endif
