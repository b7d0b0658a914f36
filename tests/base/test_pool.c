/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "../test.h"

#include "base/pool.h"

#include <pthread.h>
#include <signal.h>
#include <string.h>
#include <time.h>

#define ITEMS 500

struct job {
    atomic_size_t calls;
    atomic_size_t last; /* the highest item that started */
    atomic_uint busy[4];
    unsigned seen[ITEMS];
    size_t threads;
    size_t fails_at;
    struct cancel cancel;
    atomic_bool wrong;
};

static int run_item(void *arg, size_t item, size_t thread, struct error *e)
{
    struct job *job = arg;

    if (thread >= job->threads || atomic_fetch_add(&job->busy[thread], 1) != 0)
        job->wrong = true;
    job->seen[item]++;
    job->calls++;
    job->busy[thread]--;
    if (item == job->fails_at)
        return err_set(e, ERR_FORMAT, "item %zu", item);
    return 0;
}

static void every_item_runs_once_loop_after_loop(void **state)
{
    struct error e;
    AUTO(pool) *p = pool_new(4, &e);

    (void)state;
    assert_non_null(p);
    assert_int_equal(pool_threads(p), 4);
    for (size_t loop = 0; loop < 50; loop++) {
        struct job job = {.threads = loop % 5 == 0 ? 4 : loop % 5, .fails_at = ITEMS};
        size_t n = loop % 7 == 0 ? loop % 3 : ITEMS;

        assert_ok(pool_run(p, loop % 5, n, run_item, &job, NULL, &e), &e);
        assert_int_equal(job.calls, n);
        assert_false(job.wrong);
        for (size_t i = 0; i < ITEMS; i++)
            assert_int_equal(job.seen[i], i < n);
    }
}

static void the_first_error_stops_the_rest(void **state)
{
    struct error e = {};
    AUTO(pool) *p = pool_new(3, &e);
    struct job job = {.threads = 3, .fails_at = 10};

    (void)state;
    assert_int_equal(pool_run(p, 0, ITEMS, run_item, &job, NULL, &e), -1);
    assert_int_equal(e.code, ERR_FORMAT);
    assert_string_equal(e.msg, "item 10");
    for (size_t i = 0; i <= 10; i++)
        assert_int_equal(job.seen[i], 1);
    /* with one thread nothing at all runs after it */
    job = (struct job){.threads = 1, .fails_at = 10};
    assert_int_equal(pool_run(p, 1, ITEMS, run_item, &job, NULL, &e), -1);
    assert_int_equal(job.calls, 11);
    job = (struct job){.threads = 3, .fails_at = ITEMS};
    assert_ok(pool_run(p, 0, ITEMS, run_item, &job, NULL, &e), &e);
}

#define READERS 6 /* 2 threads and 4 spare */

struct waiting {
    struct pool *pool;
    atomic_uint computing, waiting, most_computing, most_waiting, calls;
    atomic_uint busy[READERS];
    atomic_bool wrong;
};

static void count_up(atomic_uint *now, atomic_uint *most)
{
    unsigned n = atomic_fetch_add(now, 1) + 1, before = *most;

    while (n > before && !atomic_compare_exchange_weak(most, &before, n))
        ;
}

/* Every other item waits, the device answers when four ask or some time has passed. */
static int wait_item(void *arg, size_t item, size_t thread, struct error *e)
{
    struct waiting *w = arg;

    if (thread >= READERS || atomic_fetch_add(&w->busy[thread], 1) != 0)
        w->wrong = true;
    count_up(&w->computing, &w->most_computing);
    w->calls++;
    if (item % 2 == 0) {
        w->computing--;
        pool_wait_begin(w->pool);
        count_up(&w->waiting, &w->most_waiting);
        for (int i = 0; i < 200 && w->most_waiting < 4; i++)
            nanosleep(&(struct timespec){.tv_nsec = 1000000}, NULL);
        w->waiting--;
        pool_wait_end(w->pool);
        count_up(&w->computing, &w->most_computing);
    }
    w->computing--;
    w->busy[thread]--;
    return item == 400 ? err_set(e, ERR_IO, "item 400") : 0;
}

static void while_items_wait_spare_workers_begin_others_and_no_more_compute(void **state)
{
    struct error e;
    AUTO(pool) *p = pool_new_spare(2, 4, &e);
    struct waiting w = {.pool = p};

    (void)state;
    assert_non_null(p);
    assert_int_equal(pool_threads(p), 2);
    assert_int_equal(pool_workers(p), READERS);
    for (unsigned loop = 0; loop < 20; loop++) {
        w.calls = 0;
        assert_ok(pool_run_waiting(p, 0, 3 + loop * 10, wait_item, &w, NULL, &e), &e);
        assert_int_equal(w.calls, 3 + loop * 10);
    }
    assert_true(w.most_waiting >= 4);
    assert_true(w.most_computing <= 2);
    assert_int_equal(pool_run_waiting(p, 1, ITEMS, wait_item, &w, NULL, &e), -1);
    assert_string_equal(e.msg, "item 400");
    /* where no others may begin, waiting changes nothing */
    w.most_waiting = w.most_computing = 0;
    assert_ok(pool_run(p, 0, 20, wait_item, &w, NULL, &e), &e);
    assert_true(w.most_waiting <= 2);
    assert_false(w.wrong);
}

static int cancel_at_five(void *arg, size_t item, size_t thread, struct error *e)
{
    struct job *job = arg;

    (void)thread;
    (void)e;
    job->calls++;
    if (item == 5)
        job->cancel.requested = true;
    return 0;
}

static void cancelling_stops_between_items(void **state)
{
    struct error e = {};
    AUTO(pool) *p = pool_new(1, &e);
    struct job job = {};

    (void)state;
    assert_int_equal(pool_run(p, 0, ITEMS, cancel_at_five, &job, &job.cancel, &e), -1);
    assert_int_equal(e.code, ERR_CANCELLED);
    assert_int_equal(job.calls, 6);
    /* also after the last item, which may have ended early */
    job = (struct job){};
    assert_int_equal(pool_run(p, 0, 6, cancel_at_five, &job, &job.cancel, &e), -1);
    assert_int_equal(e.code, ERR_CANCELLED);
    assert_int_equal(job.calls, 6);
}

struct order {
    pthread_mutex_t lock;
    pthread_cond_t arrived;
    size_t waiting;
};

/* Returns only when four items are running at once. */
static int meet(void *arg, size_t item, size_t thread, struct error *e)
{
    struct order *o = arg;

    (void)item;
    (void)thread;
    (void)e;
    pthread_mutex_lock(&o->lock);
    o->waiting++;
    pthread_cond_broadcast(&o->arrived);
    while (o->waiting < 4)
        pthread_cond_wait(&o->arrived, &o->lock);
    pthread_mutex_unlock(&o->lock);
    return 0;
}

static void all_threads_run_at_once(void **state)
{
    struct order o = {PTHREAD_MUTEX_INITIALIZER, PTHREAD_COND_INITIALIZER, 0};
    struct error e;
    AUTO(pool) *p = pool_new(4, &e);

    (void)state;
    assert_ok(pool_run(p, 0, 4, meet, &o, NULL, &e), &e);
    assert_int_equal(o.waiting, 4);
}

static int look_at_signals(void *arg, size_t item, size_t thread, struct error *e)
{
    sigset_t blocked;

    (void)arg;
    (void)item;
    (void)thread;
    pthread_sigmask(SIG_BLOCK, NULL, &blocked);
    if (!sigismember(&blocked, SIGINT) || !sigismember(&blocked, SIGTERM))
        return err_set(e, ERR_INTERNAL, "a worker takes the user's signals");
    if (sigismember(&blocked, SIGBUS) || sigismember(&blocked, SIGSYS))
        return err_set(e, ERR_INTERNAL, "a worker blocks its own faults");
    return 0;
}

static void workers_leave_signals_to_their_maker(void **state)
{
    struct error e;
    AUTO(pool) *p = pool_new(2, &e);
    sigset_t blocked;

    (void)state;
    assert_ok(pool_run(p, 0, 2, look_at_signals, NULL, NULL, &e), &e);
    pthread_sigmask(SIG_BLOCK, NULL, &blocked);
    assert_false(sigismember(&blocked, SIGINT));
}

static void absurd_numbers_of_threads_are_refused(void **state)
{
    struct error e;

    (void)state;
    assert_null(pool_new(0, &e));
    assert_int_equal(e.code, ERR_LIMIT);
    assert_null(pool_new(POOL_THREADS_MAX + 1, &e));
    pool_free(NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_item_runs_once_loop_after_loop),
        cmocka_unit_test(the_first_error_stops_the_rest),
        cmocka_unit_test(while_items_wait_spare_workers_begin_others_and_no_more_compute),
        cmocka_unit_test(cancelling_stops_between_items),
        cmocka_unit_test(all_threads_run_at_once),
        cmocka_unit_test(workers_leave_signals_to_their_maker),
        cmocka_unit_test(absurd_numbers_of_threads_are_refused),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
