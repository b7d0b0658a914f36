/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "base/pool.h"

#include "base/mem.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdint.h>

/* The same whatever `ulimit -s` says, which is where the default comes from. */
#define STACK_BYTES ((size_t)2 << 20)

struct worker {
    struct pool *pool;
    size_t index;
    pthread_t thread;
};

struct pool {
    /* Guards all below it up to `workers`. It is never held while an item runs. */
    pthread_mutex_t lock;
    pthread_cond_t start; /* a loop begins, or the pool ends */
    pthread_cond_t end;   /* the last worker left the loop */
    pthread_cond_t room;  /* `computing` fell, or nothing is left to begin */
    bool quit;
    bool stop;                         /* no further item starts */
    uint64_t loop;                     /* counts loops, so that a worker joins each once */
    size_t next, n;                    /* items [next, n) have not started */
    size_t limit;                      /* workers [0, limit) take part */
    size_t active;                     /* of them, those that have not left the loop */
    size_t computing, computing_limit; /* of them, those that have an item and do not wait */
    pool_function *run;
    void *arg;
    const struct cancel *cancel;
    struct error *e; /* of pool_run()'s caller; written when `stop` becomes true */

    size_t threads; /* constant: without the spare ones */
    size_t started; /* workers; constant once all are there */
    struct worker workers[];
};

/* The next item to run, or false when none is to start. Call with the lock held. */
static bool take_item(struct pool *p, size_t *item)
{
    if (p->stop || p->next == p->n)
        return false;
    if (cancel_requested(p->cancel)) {
        p->stop = true;
        err_set(p->e, ERR_CANCELLED, "interrupted");
        return false;
    }
    *item = p->next++;
    return true;
}

/* True when there is something to begin and this worker may compute. Call with the lock held. */
static bool join_computing(struct pool *p)
{
    while (!p->stop && p->next < p->n && p->computing >= p->computing_limit)
        pthread_cond_wait(&p->room, &p->lock);
    if (p->stop || p->next == p->n)
        return false;
    p->computing++;
    return true;
}

/* Call with the lock held; it is released while items run. A worker goes from item to item without
 * asking for room again: as long as nobody waits, the spare ones sleep. */
static void run_items(struct pool *p, size_t thread)
{
    bool computing = join_computing(p);
    size_t item;

    while (computing && take_item(p, &item)) {
        struct error e = {};
        int result;

        pthread_mutex_unlock(&p->lock);
        result = p->run(p->arg, item, thread, &e);
        pthread_mutex_lock(&p->lock);
        if (result != 0 && !p->stop) {
            p->stop = true;
            *p->e = e;
        }
    }
    p->computing -= computing;
    /* All: those that wait for their turn to go on, and those that wait for an item in vain. */
    if (p->limit > p->computing_limit)
        pthread_cond_broadcast(&p->room);
}

static void *worker_main(void *arg)
{
    struct worker *w = arg;
    struct pool *p = w->pool;
    uint64_t seen = 0;

    pthread_mutex_lock(&p->lock);
    for (;;) {
        while (!p->quit && p->loop == seen)
            pthread_cond_wait(&p->start, &p->lock);
        if (p->quit)
            break;
        seen = p->loop;
        if (w->index >= p->limit)
            continue;
        run_items(p, w->index);
        if (--p->active == 0)
            pthread_cond_signal(&p->end);
    }
    pthread_mutex_unlock(&p->lock);
    return NULL;
}

/* Signals are for the thread that made the pool, except those that a fault raises: blocked, they
 * would end the process before their handler could (a mapped file that shrinks gives SIGBUS). */
static void signals_of_workers(sigset_t *set)
{
    static const int faults[] = {SIGBUS, SIGSEGV, SIGFPE, SIGILL, SIGSYS, SIGTRAP, SIGABRT};

    sigfillset(set);
    for (size_t i = 0; i < sizeof faults / sizeof *faults; i++)
        sigdelset(set, faults[i]);
}

static int start_workers(struct pool *p, size_t workers, struct error *e)
{
    sigset_t blocked, before;
    pthread_attr_t attr;
    int sys = pthread_attr_init(&attr);

    if (sys == 0) {
        signals_of_workers(&blocked);
        pthread_sigmask(SIG_BLOCK, &blocked, &before);
        sys = pthread_attr_setstacksize(&attr, STACK_BYTES);
        while (sys == 0 && p->started < workers) {
            struct worker *w = &p->workers[p->started];

            *w = (struct worker){.pool = p, .index = p->started};
            sys = pthread_create(&w->thread, &attr, worker_main, w);
            if (sys == 0)
                p->started++;
        }
        pthread_sigmask(SIG_SETMASK, &before, NULL);
        pthread_attr_destroy(&attr);
    }
    if (sys == 0)
        return 0;
    errno = sys;
    return err_sys(e, "starting %zu threads", workers);
}

struct pool *pool_new(size_t threads, struct error *e)
{
    return pool_new_spare(threads, 0, e);
}

struct pool *pool_new_spare(size_t threads, size_t spare, struct error *e)
{
    AUTO(pool) *p = NULL;

    if (threads == 0 || threads > POOL_THREADS_MAX || spare > POOL_THREADS_MAX - threads) {
        err_set(e, ERR_LIMIT, "%zu threads: between 1 and %d are possible", threads,
                POOL_THREADS_MAX);
        return NULL;
    }
    p = mem_array(1, sizeof *p + (threads + spare) * sizeof *p->workers, "threads", e);
    if (p == NULL)
        return NULL;
    p->threads = threads;
    pthread_mutex_init(&p->lock, NULL);
    pthread_cond_init(&p->start, NULL);
    pthread_cond_init(&p->end, NULL);
    pthread_cond_init(&p->room, NULL);
    if (start_workers(p, threads + spare, e) != 0)
        return NULL;
    return take(p);
}

void pool_free(struct pool *p)
{
    if (p == NULL)
        return;
    pthread_mutex_lock(&p->lock);
    p->quit = true;
    pthread_cond_broadcast(&p->start);
    pthread_mutex_unlock(&p->lock);
    for (size_t i = 0; i < p->started; i++)
        pthread_join(p->workers[i].thread, NULL);
    pthread_cond_destroy(&p->end);
    pthread_cond_destroy(&p->room);
    pthread_cond_destroy(&p->start);
    pthread_mutex_destroy(&p->lock);
    free(p);
}

size_t pool_threads(const struct pool *p)
{
    return p->threads;
}

size_t pool_workers(const struct pool *p)
{
    return p->started;
}

void pool_wait_begin(struct pool *p)
{
    pthread_mutex_lock(&p->lock);
    p->computing--;
    if (p->limit > p->computing_limit)
        pthread_cond_signal(&p->room);
    pthread_mutex_unlock(&p->lock);
}

void pool_wait_end(struct pool *p)
{
    pthread_mutex_lock(&p->lock);
    while (p->computing >= p->computing_limit)
        pthread_cond_wait(&p->room, &p->lock);
    p->computing++;
    pthread_mutex_unlock(&p->lock);
}

/* One loop on workers [0, limit), of which at most `computing` compute. */
static int run_loop(struct pool *p, size_t computing, size_t limit, size_t n, pool_function *run,
                    void *arg, const struct cancel *cancel, struct error *e)
{
    bool stopped;

    pthread_mutex_lock(&p->lock);
    p->stop = false;
    p->next = 0;
    p->n = n;
    p->run = run;
    p->arg = arg;
    p->cancel = cancel;
    p->e = e;
    p->limit = limit < n ? limit : n;
    p->active = p->limit;
    p->computing = 0;
    p->computing_limit = computing;
    p->loop++;
    if (p->active > 0)
        pthread_cond_broadcast(&p->start);
    while (p->active > 0)
        pthread_cond_wait(&p->end, &p->lock);
    stopped = p->stop;
    pthread_mutex_unlock(&p->lock);
    if (stopped)
        return -1;
    /* an item that noticed may have ended early without an error */
    return cancel_requested(cancel) ? err_set(e, ERR_CANCELLED, "interrupted") : 0;
}

static size_t threads_wanted(const struct pool *p, size_t threads)
{
    return threads == 0 || threads > p->threads ? p->threads : threads;
}

int pool_run(struct pool *p, size_t threads, size_t n, pool_function *run, void *arg,
             const struct cancel *cancel, struct error *e)
{
    size_t wanted = threads_wanted(p, threads);

    return run_loop(p, wanted, wanted, n, run, arg, cancel, e);
}

int pool_run_waiting(struct pool *p, size_t threads, size_t n, pool_function *run, void *arg,
                     const struct cancel *cancel, struct error *e)
{
    size_t wanted = threads_wanted(p, threads);

    return run_loop(p, wanted, wanted + (p->started - p->threads), n, run, arg, cancel, e);
}
