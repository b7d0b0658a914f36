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

/* The same with `spare` workers more, which have something to do only while others wait in
 * pool_run_waiting(). threads + spare <= POOL_THREADS_MAX. */
[[nodiscard]] struct pool *pool_new_spare(size_t threads, size_t spare, struct error *e);

size_t pool_threads(const struct pool *p); /* without the spare ones */
size_t pool_workers(const struct pool *p); /* with them */

/* Calls run(arg, item, thread, e) once for each item in [0, n), in rising order of start, on at
 * most `threads` workers (0: all), and returns when all have ended. `thread` in [0, pool_threads())
 * is for per-worker state. The first error stops what has not started and is returned;
 * ERR_CANCELLED when `cancel` (may be NULL) was requested. Not reentrant: one pool_run at a time,
 * not from a worker. */
typedef int pool_function(void *arg, size_t item, size_t thread, struct error *e);
[[nodiscard]] int pool_run(struct pool *p, size_t threads, size_t n, pool_function *run, void *arg,
                           const struct cancel *cancel, struct error *e);

/* The same for items that wait for a device: between pool_wait_begin() and pool_wait_end() an item
 * only waits, and meanwhile a spare worker may begin another. So a disk is kept busy without more
 * than `threads` items computing at any time. `thread` is in [0, pool_workers()). */
[[nodiscard]] int pool_run_waiting(struct pool *p, size_t threads, size_t n, pool_function *run,
                                   void *arg, const struct cancel *cancel, struct error *e);

/* Only from within an item, in pairs. In pool_run() they change nothing. */
void pool_wait_begin(struct pool *p);
void pool_wait_end(struct pool *p);

#endif
