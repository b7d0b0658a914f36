/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "app/worker.h"

#include "app/drivers.h"
#include "base/log.h"
#include "base/mem.h"
#include "disk/nbd.h"
#include "disk/reader.h"

#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

/* Not in the headers of every system that we build on; the same on all architectures. */
#define NR_CLOSE_RANGE 436

/* Reads that a disk has to do while all threads hash. */
#define READS_AHEAD 2u

struct worker {
    int socket;
    struct shared_page *page;
    struct pool *pool;
    struct disk_registry *registry;
    struct disk_env env;
    struct scan_options scan;
    struct sig_cache cache;
    bool has_cache, has_nbd;

    pthread_mutex_t lock; /* one request at a time: sequence, space and the reply belong to it */
    uint32_t sequence;
    uint8_t *space; /* RECORD_MAX + 8 */
};

struct pool *worker_pool(struct worker *w)
{
    return w->pool;
}

struct shared_page *worker_page(struct worker *w)
{
    return w->page;
}

const struct disk_env *worker_env(struct worker *w)
{
    return &w->env;
}

const struct scan_options *worker_scan(struct worker *w)
{
    return &w->scan;
}

const struct sig_cache *worker_cache(struct worker *w)
{
    return w->has_cache ? &w->cache : NULL;
}

int worker_send(void *arg, uint16_t type, const void *payload, size_t length, struct error *e)
{
    struct worker *w = arg;

    return record_send(w->socket, type, 0, payload, length, NULL, 0, e);
}

/* Asks the front and waits for its answer. On success `reply` stands after the status byte, borrows
 * w->space until the next request, and owns its descriptors. */
static int ask(struct worker *w, uint16_t type, const struct buf *request, struct record *reply,
               struct error *e)
{
    int rc;

    if (buf_check(request, "a request", e) != 0)
        return -1;
    if (record_send(w->socket, type, ++w->sequence, request->bytes, request->length, NULL, 0, e) !=
        0)
        return -1;
    rc = record_receive(w->socket, reply, w->space, e);
    if (rc == 0)
        _exit(0); /* the front is gone: nobody wants the result */
    if (rc < 0)
        return -1;
    if (reply->type != MSG_REPLY || reply->sequence != w->sequence) {
        record_close_fds(reply);
        return err_set(e, ERR_INTERNAL, "the front answered another question");
    }
    if (cursor_u8(&reply->payload) != 0) {
        get_error(&reply->payload, e);
        record_close_fds(reply);
        return -1;
    }
    return 0;
}

/* A request whose only answer is one descriptor (or, with fd NULL, that it was done). */
static int ask_fd(struct worker *w, uint16_t type, const struct buf *request, int *fd,
                  struct error *e)
{
    struct record reply;
    int rc;

    pthread_mutex_lock(&w->lock);
    rc = ask(w, type, request, &reply, e);
    if (rc == 0 && fd != NULL && reply.fds[0] < 0)
        rc = err_set(e, ERR_INTERNAL, "the front sent no descriptor");
    if (rc == 0 && fd != NULL)
        *fd = take_fd(&reply.fds[0]);
    if (rc == 0)
        record_close_fds(&reply);
    pthread_mutex_unlock(&w->lock);
    return rc;
}

static void get_noted_format(struct cursor *c, struct host_file *f)
{
    AUTO_FREE char *format = cursor_string(c, sizeof f->noted_format - 1);

    if (format != NULL)
        strcpy(f->noted_format, format);
}

/* Reads a file out of a reply and takes its descriptors. */
static struct host_file *get_file(struct record *reply, struct error *e)
{
    struct cursor *c = &reply->payload;
    uint32_t token = cursor_le32(c);
    char *name = cursor_string(c, STRING_MAX);
    struct file_identity identity;
    struct host_file *f;

    get_identity(c, &identity);
    if (c->bad || name == NULL || reply->fds[0] < 0) {
        free(name);
        err_set(e, ERR_INTERNAL, "the front sent no file");
        return NULL;
    }
    f = host_file_new(name, take_fd(&reply->fds[0]), take_fd(&reply->fds[1]), &identity, e);
    if (f != NULL) {
        f->token = token;
        f->in_use = cursor_u8(c) != 0;
        get_noted_format(c, f);
    }
    return f;
}

static int env_open_file(void *arg, const struct host_file *from, const char *name,
                         enum file_reason reason, struct host_file **out, struct error *e)
{
    struct worker *w = arg;
    AUTO_BUF request = {};
    struct record reply;
    int rc;

    buf_put_u32(&request, from->token);
    buf_put_u8(&request, (uint8_t)reason);
    buf_put_string(&request, name);
    if (request.length > STRING_MAX)
        return err_set(e, ERR_LIMIT, "a file name of %zu bytes", strlen(name));
    pthread_mutex_lock(&w->lock);
    rc = ask(w, MSG_OPEN_NAMED, &request, &reply, e);
    if (rc == 0) {
        *out = get_file(&reply, e);
        rc = *out == NULL ? -1 : 0;
        record_close_fds(&reply);
    }
    pthread_mutex_unlock(&w->lock);
    return rc;
}

static int env_serve(void *arg, const struct host_file *file, const char *format,
                     struct host_file *const *parts, size_t n, int *socket, struct error *e)
{
    struct worker *w = arg;
    AUTO_BUF request = {};

    if (!w->has_nbd)
        _exit(WORKER_WANTS_NBD);
    buf_put_u32(&request, file->token);
    buf_put_string(&request, format);
    buf_put_u32(&request, (uint32_t)n);
    for (size_t i = 0; i < n; i++)
        buf_put_u32(&request, parts[i]->token);
    return ask_fd(arg, MSG_SERVE, &request, socket, e);
}

static void report_problem(void *arg, const struct problem *p)
{
    struct worker *w = arg;
    AUTO_BUF b = {};
    struct error e;

    buf_put_u8(&b, (uint8_t)p->severity);
    buf_put_u16(&b, (uint16_t)p->code);
    buf_put_u64(&b, p->offset);
    buf_put_string(&b, p->object);
    buf_put_string(&b, p->text);
    if (buf_check(&b, "a problem", &e) != 0 ||
        worker_send(w, MSG_PROBLEM, b.bytes, b.length, &e) != 0)
        log_debug("worker", "problem lost: %s", e.msg);
}

static int cache_open(void *arg, const char *key, int *fd, struct error *e)
{
    AUTO_BUF request = {};

    buf_put_string(&request, key);
    return ask_fd(arg, MSG_CACHE_OPEN, &request, fd, e);
}

static int cache_create(void *arg, const char *key, int *fd, struct error *e)
{
    AUTO_BUF request = {};

    buf_put_string(&request, key);
    return ask_fd(arg, MSG_CACHE_CREATE, &request, fd, e);
}

static int cache_commit(void *arg, const char *key, bool keep, struct error *e)
{
    AUTO_BUF request = {};

    buf_put_string(&request, key);
    buf_put_u8(&request, keep);
    return ask_fd(arg, MSG_CACHE_COMMIT, &request, NULL, e);
}

void worker_failed(struct worker *w, uint32_t source, const struct error *failure)
{
    AUTO_BUF b = {};
    struct error e;

    buf_put_u32(&b, source);
    put_error(&b, failure);
    if (buf_check(&b, "an error", &e) != 0 ||
        worker_send(w, MSG_FAILED, b.bytes, b.length, &e) != 0)
        _exit(3);
}

int worker_open_source(struct worker *w, uint32_t source, struct worker_source *out,
                       struct error *e)
{
    struct worker_source s = {.socket = -1};
    AUTO_BUF request = {};
    struct record reply;
    int rc;

    buf_put_u32(&request, source);
    pthread_mutex_lock(&w->lock);
    rc = ask(w, MSG_OPEN_SOURCE, &request, &reply, e);
    if (rc == 0) {
        s.name = cursor_string(&reply.payload, STRING_MAX);
        if (cursor_u8(&reply.payload) != 0)
            s.socket = take_fd(&reply.fds[0]);
        else
            s.file = get_file(&reply, e);
        record_close_fds(&reply);
        if (s.name == NULL || (s.file == NULL && s.socket < 0))
            rc = -1;
    }
    pthread_mutex_unlock(&w->lock);
    if (rc != 0)
        worker_source_release(&s);
    else
        *out = s;
    return rc;
}

void worker_source_release(struct worker_source *s)
{
    free(s->name);
    host_file_unref(s->file);
    if (s->socket >= 0)
        close(s->socket);
    *s = (struct worker_source){.socket = -1};
}

int worker_output_create(struct worker *w, uint32_t output, int *fd, struct error *e)
{
    AUTO_BUF request = {};

    buf_put_u32(&request, output);
    return ask_fd(w, MSG_OUTPUT_CREATE, &request, fd, e);
}

int worker_output_commit(struct worker *w, uint32_t output, bool keep, struct error *e)
{
    AUTO_BUF request = {};

    buf_put_u32(&request, output);
    buf_put_u8(&request, keep);
    return ask_fd(w, MSG_OUTPUT_COMMIT, &request, NULL, e);
}

/* Whatever else the front was born with is not the worker's: neither the terminal nor a file that
 * standard output goes to, nor what a careless parent left open. Standard error stays for those who
 * debug. */
static int close_others(struct error *e)
{
    int nothing = open("/dev/null", O_RDWR | O_CLOEXEC);
    bool speaks = SANITIZED || getenv("STEMMA_DEBUG") != NULL;

    if (nothing < 0 || dup2(nothing, STDIN_FILENO) < 0 || dup2(nothing, STDOUT_FILENO) < 0 ||
        (!speaks && dup2(nothing, STDERR_FILENO) < 0))
        return err_sys(e, "/dev/null");
    close(nothing);
    /* older C libraries have no name for it, kernels before 5.9 no such call */
    (void)syscall(NR_CLOSE_RANGE, WORKER_PAGE + 1, ~0u, 0);
    return 0;
}

/* The order matters: what needs files or threads first, then the walls, then the first foreign
 * byte. */
static int start(struct worker *w, enum sandbox_mode mode, size_t threads, struct error *e)
{
    size_t spare = threads < POOL_THREADS_MAX - READS_AHEAD ? READS_AHEAD : 0;

    prctl(PR_SET_PDEATHSIG, SIGKILL);
    signal(SIGPIPE, SIG_IGN);
    signal(SIGINT, SIG_IGN); /* the front decides */
    w->socket = WORKER_SOCKET;
    if (close_others(e) != 0)
        return -1;
    w->space = malloc(RECORD_MAX + 8);
    if (w->space == NULL)
        return err_memory(e, "messages");
    w->page = mmap(NULL, sizeof *w->page, PROT_READ | PROT_WRITE, MAP_SHARED, WORKER_PAGE, 0);
    if (w->page == MAP_FAILED)
        return err_sys(e, "the shared page");
    close(WORKER_PAGE);
    pthread_mutex_init(&w->lock, NULL);
    hash_init();
    if (w->has_nbd && nbd_library_load(e) != 0)
        log_debug("worker", "%s", e->msg); /* told by whoever needs it */
    if (reader_init(e) != 0 || sig_init(e) != 0 || seal_before_threads(mode, e) != 0)
        return -1;
    w->pool = pool_new_spare(threads, spare, e);
    w->registry = disk_registry_new(e);
    if (w->pool == NULL || w->registry == NULL)
        return -1;
    w->env = (struct disk_env){
        .drivers = app_drivers,
        .open_file = env_open_file,
        .serve = env_serve,
        .problems = {report_problem, w},
        .limits = &disk_limits_default,
        .registry = w->registry,
        .arg = w,
    };
    w->scan = (struct scan_options){.pool = w->pool, .progress = &w->page->progress};
    w->cache = (struct sig_cache){cache_open, cache_create, cache_commit, w};
    return seal_after_threads(mode, e);
}

static int run(struct worker *w, const struct job *job, struct error *e)
{
    const char *probe = getenv("STEMMA_PROBE");
    char found[128];

    if (probe != NULL) {
        if (seal_probe(probe, found, e) != 0 ||
            worker_send(w, MSG_NOTE, found, strlen(found), e) != 0)
            return -1;
    }
    switch (job->kind) {
    case JOB_TREE:
        return job_run_tree(w, job, e);
    case JOB_SIGN:
        return job_run_sign(w, job, e);
    case JOB_COMPARE:
        return job_run_compare(w, job, e);
    case JOB_OVERLAY:
        return job_run_overlay(w, job, e);
    case JOB_VERIFY:
        return job_run_verify(w, job, e);
    case JOB_GUESTS:
        return job_run_guests(w, job, e);
    case JOB_INSPECT:
        return job_run_inspect(w, job, e);
    }
    return err_set(e, ERR_INTERNAL, "no job has number %d", (int)job->kind);
}

/* A job's request comes in as many records as it needs; one shorter than RECORD_MAX is the last. */
static int receive_job(struct worker *w, struct job *job, struct error *e)
{
    AUTO_BUF request = {};
    struct record r;
    struct cursor c;

    do {
        int rc = record_receive(w->socket, &r, w->space, e);

        if (rc <= 0)
            return rc;
        record_close_fds(&r);
        if (r.type != MSG_JOB)
            return err_set(e, ERR_INTERNAL, "the front sent no job");
        buf_put(&request, r.payload.at, cursor_left(&r.payload));
    } while (cursor_left(&r.payload) == RECORD_MAX);
    if (buf_check(&request, "a job", e) != 0)
        return -1;
    c = cursor_of(request.bytes, request.length);
    return job_decode(&c, job, e) == 0 ? 1 : -1;
}

static int send_status(struct worker *w, uint16_t type, int rc, const struct error *failure,
                       struct error *e)
{
    AUTO_BUF b = {};

    buf_put_u8(&b, rc != 0);
    if (rc != 0)
        put_error(&b, failure);
    if (buf_check(&b, "a message", e) != 0)
        return -1;
    return worker_send(w, type, b.bytes, b.length, e);
}

int worker_main(int argc, char **argv)
{
    static struct worker w; /* one process, one worker */
    struct error e;
    int rc;

    log_init();
    if (argc < 6)
        return 3;
    w.has_cache = strcmp(argv[4], "cache") == 0;
    w.has_nbd = strcmp(argv[5], "nbd") == 0;
    rc = start(&w, (enum sandbox_mode)atoi(argv[2]), strtoul(argv[3], NULL, 10), &e);
    if (send_status(&w, MSG_READY, rc, &e, &e) != 0 || rc != 0)
        _exit(3);
    for (;;) {
        struct job job = {};

        rc = receive_job(&w, &job, &e);
        if (rc == 0)
            _exit(0); /* at once: the threads wait, and nothing is to be tidied */
        atomic_store(&w.page->source, NO_SOURCE);
        rc = rc < 0 ? -1 : run(&w, &job, &e);
        atomic_store(&w.page->source, NO_SOURCE);
        job_release(&job);
        if (send_status(&w, MSG_DONE, rc, &e, &e) != 0)
            _exit(3);
    }
}
