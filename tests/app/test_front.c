/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The front against workers that an image has taken over. This program is its own worker: the front
 * starts /proc/self/exe, and STEMMA_PROBE says which of the bad ones it is. */
#include "../test.h"

#include "app/front.h"
#include "app/worker.h"
#include "base/mem.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

/* ---- the workers ---- */

static uint8_t space[RECORD_MAX + 8];

static void say(uint16_t type, const struct buf *b)
{
    struct error e;

    if (record_send(WORKER_SOCKET, type, 7, b->bytes, b->length, NULL, 0, &e) != 0)
        _exit(9);
}

static struct record hear(void)
{
    struct record r;
    struct error e;

    if (record_receive(WORKER_SOCKET, &r, space, &e) != 1)
        _exit(8);
    return r;
}

/* The front's answer to a request: 0, or what it said against it, which is told as a problem. */
static int ask(uint16_t type, const struct buf *request)
{
    AUTO_BUF told = {};
    struct record r;
    struct error e;

    say(type, request);
    r = hear();
    if (cursor_u8(&r.payload) == 0)
        return 0;
    get_error(&r.payload, &e);
    buf_put_u8(&told, SEVERITY_ERROR);
    buf_put_u16(&told, (uint16_t)e.code);
    buf_put_u64(&told, PROBLEM_NO_OFFSET);
    buf_put_string(&told, "");
    buf_put_string(&told, e.msg);
    say(MSG_PROBLEM, &told);
    return -1;
}

static int open_source(uint32_t index)
{
    AUTO_BUF b = {};

    buf_put_u32(&b, index);
    return ask(MSG_OPEN_SOURCE, &b);
}

static int open_named(const char *name)
{
    AUTO_BUF b = {};

    buf_put_u32(&b, 0);
    buf_put_u8(&b, FILE_BACKING);
    buf_put_string(&b, name);
    return ask(MSG_OPEN_NAMED, &b);
}

static int serve(uint32_t token, const char *format)
{
    AUTO_BUF b = {};

    buf_put_u32(&b, token);
    buf_put_string(&b, format);
    buf_put_u32(&b, 0);
    return ask(MSG_SERVE, &b);
}

static int cache(uint16_t type, char digit)
{
    AUTO_BUF b = {};
    char key[65] = {};

    memset(key, digit, 64);
    buf_put_string(&b, key);
    buf_put_u8(&b, 1);
    return ask(type, &b);
}

static void floods(uint16_t type)
{
    static uint8_t long_text[RECORD_MAX / 2];
    AUTO_BUF b = {};

    if (type == MSG_OPEN_SOURCE) {
        buf_put_u32(&b, 0);
    } else {
        memset(long_text, 'x', sizeof long_text);
        buf_put_u8(&b, SEVERITY_WARNING);
        buf_put_u16(&b, ERR_IO);
        buf_put_u64(&b, 0);
        buf_put_string(&b, "object");
        buf_put_u32(&b, 16000);
        buf_put(&b, long_text, 16000);
    }
    for (;;)
        say(type, &b);
}

static void behave(const char *how)
{
    AUTO_BUF none = {};

    if (strcmp(how, "stays") == 0) {
        shutdown(WORKER_SOCKET, SHUT_RDWR);
        for (;;)
            pause();
    } else if (strcmp(how, "never-reads") == 0) {
        floods(MSG_OPEN_SOURCE);
    } else if (strcmp(how, "talks") == 0) {
        floods(MSG_PROBLEM);
    } else if (strcmp(how, "serve") == 0) {
        (void)open_source(0);
        (void)serve(0, "raw,file.filename=/etc/passwd,x");
        (void)serve(0, "raw");
        (void)serve(0, "nbd");
        (void)serve(77, "vmdk");
        (void)serve(UINT32_MAX, "vmdk");
    } else if (strcmp(how, "names") == 0) {
        (void)open_source(0);
        (void)open_source(1);
        (void)open_named("/etc/passwd");
        (void)open_named("link");
        (void)open_named("../beside");
        (void)open_named("/proc/self/fd/0");
        (void)open_named("fifo");
        (void)open_named(".");
        (void)open_named("sub/file");
        (void)open_named("/dev/zero");
    } else if (strcmp(how, "caches") == 0) {
        (void)cache(MSG_CACHE_COMMIT, 'a');
        (void)cache(MSG_CACHE_CREATE, '.');
        (void)cache(MSG_CACHE_CREATE, 'a'); /* without any file */
        (void)open_source(0);
        (void)cache(MSG_CACHE_CREATE, 'b');
        (void)cache(MSG_CACHE_CREATE, 'c');
    } else if (strcmp(how, "outputs") == 0) {
        AUTO_BUF b = {};

        buf_put_u32(&b, 0);
        (void)ask(MSG_OUTPUT_CREATE, &b);
    } else if (strcmp(how, "fails-beside") == 0) {
        AUTO_BUF b = {};
        const struct error why = {.code = ERR_IO};

        buf_put_u32(&b, 1); /* of one */
        put_error(&b, &why);
        say(MSG_FAILED, &b);
    }
    buf_put_u8(&none, 0);
    say(MSG_DONE, &none);
}

static int bad_worker(void)
{
    AUTO_BUF ready = {};

    buf_put_u8(&ready, 0);
    say(MSG_READY, &ready);
    (void)hear(); /* the job */
    behave(getenv("STEMMA_PROBE"));
    pause();
    return 0;
}

/* ---- the front ---- */

struct world {
    char folder[32], image[64];
    struct opener *opener;
    struct cache_folder *cache;
    struct cancel cancel;
    char said[4096]; /* problems, a line each */
    size_t n_said;
};

static void take_problem(void *arg, const struct problem *p)
{
    struct world *w = arg;
    size_t length = strlen(w->said);

    w->n_said++;
    snprintf(w->said + length, sizeof w->said - length, "%s\n", p->text);
}

static int no_record(void *arg, uint16_t type, struct cursor payload, struct error *e)
{
    (void)arg;
    (void)payload;
    return err_set(e, ERR_PEER, "record %u", type);
}

static void no_failed(void *arg, uint32_t source, const struct error *why)
{
    (void)arg;
    (void)source;
    (void)why;
}

static void again(void *arg)
{
    (void)arg;
}

static void *interrupt_soon(void *arg)
{
    struct world *w = arg;

    usleep(500000);
    atomic_store(&w->cancel.requested, true);
    return NULL;
}

static void make_file(const char *folder, const char *name)
{
    char path[128];
    int fd;

    snprintf(path, sizeof path, "%s/%s", folder, name);
    fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
    assert_true(fd >= 0);
    assert_int_equal(write(fd, "KDMV", 4), 4);
    close(fd);
}

static void world_make(struct world *w)
{
    char path[64];
    struct error e;

    *w = (struct world){.folder = "/tmp/stemma-front-XXXXXX"};
    assert_non_null(mkdtemp(w->folder));
    make_file(w->folder, "beside");
    snprintf(path, sizeof path, "%s/in", w->folder);
    assert_int_equal(mkdir(path, 0700), 0);
    make_file(path, "image");
    snprintf(w->image, sizeof w->image, "%s/in/image", w->folder);
    snprintf(path, sizeof path, "%s/in/link", w->folder);
    assert_int_equal(symlink("/etc/passwd", path), 0);
    snprintf(path, sizeof path, "%s/in/fifo", w->folder);
    assert_int_equal(mkfifo(path, 0600), 0);
    snprintf(path, sizeof path, "%s/in/sub", w->folder);
    assert_int_equal(mkdir(path, 0700), 0);
    make_file(path, "file");
    w->opener = opener_new(&e);
    assert_non_null(w->opener);
    snprintf(path, sizeof path, "%s/cache", w->folder);
    w->cache = cache_folder_new(path, &e);
    assert_non_null(w->cache);
}

static void world_end(struct world *w)
{
    char command[64];

    opener_free(w->opener);
    cache_folder_free(w->cache);
    snprintf(command, sizeof command, "rm -rf %s", w->folder);
    assert_int_equal(system(command), 0);
}

/* Seconds that the run took. */
static double run_bad(struct world *w, const char *how, int *status, struct error *e)
{
    struct front_options options = {.threads = 1,
                                    .opener = w->opener,
                                    .cache = w->cache,
                                    .problems = {take_problem, w},
                                    .cancel = &w->cancel};
    struct front_results results = {no_record, no_failed, again, NULL};
    struct source source = {.name = w->image, .path = w->image};
    struct job job = {.kind = JOB_INSPECT};
    struct timespec from, to;
    AUTO(front) *f = NULL;

    assert_int_equal(setenv("STEMMA_PROBE", how, 1), 0);
    clock_gettime(CLOCK_MONOTONIC, &from);
    f = front_new(&options, e);
    assert_non_null(f);
    *status = front_run(f, &job, &source, NULL, 1, NULL, &results, e);
    job_release(&job);
    front_free(take(f));
    clock_gettime(CLOCK_MONOTONIC, &to);
    return (double)(to.tv_sec - from.tv_sec) + (double)(to.tv_nsec - from.tv_nsec) / 1e9;
}

static void a_worker_that_hangs_up_and_stays_is_ended(void **state)
{
    struct world w;
    struct error e;
    int status;

    (void)state;
    world_make(&w);
    assert_true(run_bad(&w, "stays", &status, &e) < 20);
    assert_int_equal(status, -1);
    assert_int_equal(e.code, ERR_PEER);
    world_end(&w);
}

static void the_user_can_interrupt_while_a_worker_takes_no_answers(void **state)
{
    struct world w;
    pthread_t thread;
    struct error e;
    int status;

    (void)state;
    world_make(&w);
    assert_int_equal(pthread_create(&thread, NULL, interrupt_soon, &w), 0);
    assert_true(run_bad(&w, "never-reads", &status, &e) < 20);
    pthread_join(thread, NULL);
    assert_int_equal(status, -1);
    assert_int_equal(e.code, ERR_CANCELLED);
    world_end(&w);
}

static void a_worker_that_talks_without_end_is_ended(void **state)
{
    struct world w;
    struct error e;
    int status;

    (void)state;
    world_make(&w);
    assert_true(run_bad(&w, "talks", &status, &e) < 60);
    assert_int_equal(status, -1);
    assert_int_equal(e.code, ERR_PEER);
    assert_true(w.n_said < 10000);
    world_end(&w);
}

/* Runs one whose requests are all refused but `granted` of them. */
static void all_refused(const char *how, size_t refused)
{
    struct world w;
    struct error e;
    int status;

    world_make(&w);
    run_bad(&w, how, &status, &e);
    assert_int_equal(status, 0);
    if (w.n_said != refused)
        fail_msg("%s: %zu of %zu were refused:\n%s", how, w.n_said, refused, w.said);
    world_end(&w);
}

static void only_known_formats_of_known_files_are_served(void **state)
{
    (void)state;
    all_refused("serve", 5);
}

static void names_lead_out_of_the_folder_nowhere(void **state)
{
    (void)state;
    all_refused("names", 9);
}

static void cache_entries_are_bounded_by_the_files(void **state)
{
    (void)state;
    all_refused("caches", 4);
}

static void nobody_writes_what_was_not_asked_for(void **state)
{
    (void)state;
    all_refused("outputs", 1);
}

static void a_source_that_does_not_exist_cannot_fail(void **state)
{
    struct world w;
    struct error e;
    int status;

    (void)state;
    world_make(&w);
    run_bad(&w, "fails-beside", &status, &e);
    assert_int_equal(status, -1);
    assert_int_equal(e.code, ERR_PEER);
    world_end(&w);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_worker_that_hangs_up_and_stays_is_ended),
        cmocka_unit_test(the_user_can_interrupt_while_a_worker_takes_no_answers),
        cmocka_unit_test(a_worker_that_talks_without_end_is_ended),
        cmocka_unit_test(only_known_formats_of_known_files_are_served),
        cmocka_unit_test(names_lead_out_of_the_folder_nowhere),
        cmocka_unit_test(cache_entries_are_bounded_by_the_files),
        cmocka_unit_test(nobody_writes_what_was_not_asked_for),
        cmocka_unit_test(a_source_that_does_not_exist_cannot_fail),
    };

    if (argc > 1 && strcmp(argv[1], "--worker") == 0)
        return bad_worker();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
