/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "app/front.h"

#include "app/captive.h"
#include "app/worker.h"
#include "base/log.h"
#include "base/mem.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>

#define TICK_MS 100
#define SILENCE_MS 60000     /* a worker that takes no answer for so long is ended */
#define FAREWELL_MS 5000     /* from its last word to its end */
#define TOLD_MAX (64u << 20) /* bytes of problems that one worker may tell */
#define TOKENS_MAX 1000000u  /* files one worker may have asked for */
#define CAPTIVES_MAX 4096u
#define PARTS_MAX 4096u

extern char **environ;

/* A file that the worker was given: where it really lies, and which it is. */
struct token {
    char *path;
    struct file_identity identity;
};

struct front {
    struct front_options o;
    pid_t worker;  /* 0: none */
    bool with_nbd; /* workers are started with libnbd loaded */
    int socket;
    struct shared_page *page;
    uint8_t *space;

    struct token *tokens; /* what this worker was given */
    size_t n_tokens, tokens_capacity;
    struct captive **captives;
    size_t n_captives, captives_capacity;
    size_t n_cached; /* entries that this worker made */
    size_t told;     /* bytes of its problems */

    /* of the job that runs */
    struct job *job;
    const struct source *sources;
    const struct front_outputs *outputs;
    const struct front_results *results;
};

struct front *front_new(const struct front_options *o, struct error *e)
{
    struct front *f = mem_array(1, sizeof *f, "the front", e);

    if (f == NULL)
        return NULL;
    f->o = *o;
    f->socket = -1;
    f->page = MAP_FAILED;
    f->space = malloc(RECORD_MAX + 8);
    if (f->space == NULL) {
        err_memory(e, "messages");
        front_free(f);
        return NULL;
    }
    return f;
}

/* Waits for the worker's end, but not for ever: it may have closed its socket and stayed. */
static int wait_worker(pid_t worker)
{
    const struct timespec pause = {.tv_nsec = 1000000};
    int status = 0;

    for (int waited = 0; waited < FAREWELL_MS; waited++) {
        if (waitpid(worker, &status, WNOHANG) == worker)
            return status;
        nanosleep(&pause, NULL);
    }
    kill(worker, SIGKILL);
    while (waitpid(worker, &status, 0) < 0 && errno == EINTR)
        ;
    return status;
}

/* Ends the worker and all that belongs to it. Returns its wait status, 0 when there was none. */
static int end_worker(struct front *f, bool force)
{
    int status = 0;

    if (f->socket >= 0)
        close(f->socket);
    f->socket = -1;
    if (f->worker > 0) {
        if (force)
            kill(f->worker, SIGKILL);
        status = wait_worker(f->worker);
        f->worker = 0;
    }
    if (f->page != MAP_FAILED)
        munmap(f->page, sizeof *f->page);
    f->page = MAP_FAILED;
    for (size_t i = 0; i < f->n_captives; i++)
        captive_stop(f->captives[i]);
    f->n_captives = 0;
    for (size_t i = 0; i < f->n_tokens; i++)
        free(f->tokens[i].path);
    f->n_tokens = f->n_cached = f->told = 0;
    return status;
}

void front_free(struct front *f)
{
    if (f == NULL)
        return;
    end_worker(f, true);
    free(f->tokens);
    free(f->captives);
    free(f->space);
    free(f);
}

/* Only what debugging and sanitizers need of our environment goes to the worker. */
static size_t worker_environment(char **out, size_t max)
{
    static const char *const wanted[] = {"STEMMA_DEBUG=",  "STEMMA_PROBE=", "ASAN_OPTIONS=",
                                         "UBSAN_OPTIONS=", "TSAN_OPTIONS=", "LSAN_OPTIONS="};
    size_t n = 0;

    for (char **v = environ; *v != NULL; v++) {
        for (size_t i = 0; i < sizeof wanted / sizeof wanted[0] && n < max; i++) {
            if (strncmp(*v, wanted[i], strlen(wanted[i])) == 0)
                out[n++] = *v;
        }
    }
    out[n] = NULL;
    return n;
}

static int spawn(struct front *f, int theirs, int page, struct error *e)
{
    char mode[12], threads[24];
    char *argv[] = {(char *)"stemma-worker",
                    (char *)"--worker",
                    mode,
                    threads,
                    f->o.cache != NULL ? (char *)"cache" : (char *)"none",
                    f->with_nbd ? (char *)"nbd" : (char *)"none",
                    NULL};
    char *env[9];
    posix_spawn_file_actions_t actions;
    posix_spawnattr_t attributes;
    sigset_t blocked;
    int rc;

    snprintf(mode, sizeof mode, "%d", (int)f->o.sandbox);
    snprintf(threads, sizeof threads, "%zu", f->o.threads);
    worker_environment(env, 8);
    rc = posix_spawn_file_actions_init(&actions);
    /* high numbers first, so that neither can be in the other's place */
    if (rc == 0)
        rc = posix_spawn_file_actions_adddup2(&actions, theirs, WORKER_SOCKET);
    if (rc == 0)
        rc = posix_spawn_file_actions_adddup2(&actions, page, WORKER_PAGE);
    /* a terminal interrupts both: the front decides, from the worker's first moment on */
    sigemptyset(&blocked);
    sigaddset(&blocked, SIGINT);
    sigaddset(&blocked, SIGHUP);
    posix_spawnattr_init(&attributes);
    posix_spawnattr_setsigmask(&attributes, &blocked);
    posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETSIGMASK);
    if (rc == 0)
        rc = posix_spawn(&f->worker, "/proc/self/exe", &actions, &attributes, argv, env);
    posix_spawnattr_destroy(&attributes);
    posix_spawn_file_actions_destroy(&actions);
    if (rc != 0) {
        f->worker = 0;
        errno = rc;
        return err_sys(e, "cannot start the worker (/proc/self/exe)");
    }
    return 0;
}

/* A copy of the descriptor above those that the worker is born with. */
static int move_high(int *fd)
{
    int high = fcntl(*fd, F_DUPFD_CLOEXEC, 16);

    if (high >= 0) {
        close(*fd);
        *fd = high;
    }
    return high;
}

static int wait_ready(struct front *f, struct error *e)
{
    struct record r;
    int rc = record_receive(f->socket, &r, f->space, e);

    if (rc == 0)
        return err_set(e, ERR_PEER, "the worker ended before it was ready");
    if (rc < 0)
        return err_wrap(e, "worker");
    record_close_fds(&r);
    if (r.type != MSG_READY)
        return err_set(e, ERR_PEER, "the worker said something else than ready");
    if (cursor_u8(&r.payload) != 0) {
        get_error(&r.payload, e);
        return -1;
    }
    return 0;
}

/* Sends as record_send() does, to a worker that may not care to read: until it does, the user may
 * interrupt. */
static int send_record(struct front *f, uint16_t type, uint32_t sequence, const void *payload,
                       size_t length, const int *fds, size_t n_fds, struct error *e)
{
    for (int waited = 0; waited < SILENCE_MS; waited += TICK_MS) {
        if (record_send(f->socket, type, sequence, payload, length, fds, n_fds, e) == 0)
            return 0;
        if (e->sys != EAGAIN)
            return -1;
        if (cancel_requested(f->o.cancel))
            return err_set(e, ERR_CANCELLED, "interrupted");
    }
    return err_set(e, ERR_PEER, "the worker takes no answers");
}

static int start_worker(struct front *f, struct error *e)
{
    const struct timeval patience = {.tv_usec = TICK_MS * 1000};
    int pair[2] = {-1, -1};
    int page = memfd_create("stemma-page", MFD_CLOEXEC);
    int rc = -1;

    if (page < 0 || ftruncate(page, sizeof *f->page) != 0 || move_high(&page) < 0 ||
        socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) != 0 ||
        move_high(&pair[0]) < 0 || move_high(&pair[1]) < 0 ||
        setsockopt(pair[0], SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof patience) != 0) {
        err_sys(e, "cannot start the worker");
    } else {
        f->page = mmap(NULL, sizeof *f->page, PROT_READ | PROT_WRITE, MAP_SHARED, page, 0);
        if (f->page == MAP_FAILED) {
            err_sys(e, "cannot map the worker's page");
        } else {
            atomic_store(&f->page->source, NO_SOURCE);
            f->socket = take_fd(&pair[0]);
            rc = spawn(f, pair[1], page, e);
        }
    }
    for (int i = 0; i < 2; i++) {
        if (pair[i] >= 0)
            close(pair[i]);
    }
    if (page >= 0)
        close(page);
    if (rc == 0)
        rc = wait_ready(f, e);
    if (rc != 0)
        end_worker(f, true);
    return rc;
}

/* ---- what the worker may ask for ---- */

/* Remembers the file behind a token; takes the path. */
static int new_token(struct front *f, char *resolved, const struct file_identity *identity,
                     uint32_t *token, struct error *e)
{
    if (f->n_tokens >= TOKENS_MAX) {
        free(resolved);
        return err_set(e, ERR_LIMIT, "the worker asks for too many files");
    }
    if (mem_grow(&f->tokens, &f->tokens_capacity, f->n_tokens + 1, sizeof *f->tokens,
                 "opened files", e) != 0) {
        free(resolved);
        return -1;
    }
    *token = (uint32_t)f->n_tokens;
    f->tokens[f->n_tokens++] = (struct token){resolved, *identity};
    return 0;
}

static const struct token *find_token(const struct front *f, uint32_t token, struct error *e)
{
    if (token >= f->n_tokens) {
        err_set(e, ERR_PEER, "the worker names a file it was never given");
        return NULL;
    }
    return &f->tokens[token];
}

/* An answer: data and descriptors, which are closed once sent. */
struct reply {
    struct buf data;
    int fds[RECORD_FDS];
    size_t n_fds;
};

/* Puts a file into the answer and takes what `opened` owns. */
static int put_file(struct front *f, struct reply *r, struct opened *opened, const char *name,
                    struct error *e)
{
    uint32_t token = 0;

    if (new_token(f, take(opened->resolved), &opened->identity, &token, e) != 0)
        return -1;
    buf_put_u32(&r->data, token);
    buf_put_string(&r->data, name);
    put_identity(&r->data, &opened->identity);
    buf_put_u8(&r->data, opened->in_use);
    buf_put_string(&r->data, opened->noted_format);
    r->fds[r->n_fds++] = take_fd(&opened->fd);
    if (opened->direct_fd >= 0)
        r->fds[r->n_fds++] = take_fd(&opened->direct_fd);
    return 0;
}

static int answer_open_source(struct front *f, struct cursor *c, struct reply *r, struct error *e)
{
    uint32_t index = cursor_le32(c);
    const struct source *s;
    struct opened opened;
    int rc;

    if (c->bad || index >= f->job->n_sources)
        return err_set(e, ERR_PEER, "the worker asks for a source that does not exist");
    s = &f->sources[index];
    buf_put_string(&r->data, s->name);
    buf_put_u8(&r->data, s->path == NULL);
    if (s->path == NULL) {
        if (source_connect(s, &r->fds[0], e) != 0)
            return -1;
        r->n_fds = 1;
        return 0;
    }
    if (opener_open(f->o.opener, s->path, &opened, e) != 0)
        return -1;
    rc = put_file(f, r, &opened, s->path, e); /* the file's own name, without a snapshot's */
    opened_release(&opened);
    return rc;
}

static int answer_open_named(struct front *f, struct cursor *c, struct reply *r, struct error *e)
{
    uint32_t token = cursor_le32(c);
    uint8_t reason = cursor_u8(c);
    AUTO_FREE char *name = cursor_string(c, STRING_MAX);
    const struct token *from;
    struct opened opened;
    int rc;

    if (name == NULL || reason < FILE_BACKING || reason > FILE_PART)
        return err_set(e, ERR_PEER, "the worker asks for a file without a name");
    from = find_token(f, token, e);
    if (from == NULL || opener_open_named(f->o.opener, from->path, name, &opened, e) != 0)
        return -1;
    rc = put_file(f, r, &opened, opened.path, e);
    opened_release(&opened);
    return rc;
}

/* Those whose image the worker has closed. */
static void reap_captives(struct front *f)
{
    size_t left = 0;

    for (size_t i = 0; i < f->n_captives; i++) {
        if (captive_ended(f->captives[i]))
            captive_stop(f->captives[i]);
        else
            f->captives[left++] = f->captives[i];
    }
    f->n_captives = left;
}

static int answer_serve(struct front *f, struct cursor *c, struct reply *r, struct error *e)
{
    uint32_t token = cursor_le32(c);
    AUTO_FREE char *format = cursor_string(c, 64);
    uint32_t n = cursor_le32(c);
    AUTO_FREE struct captive_file *files = NULL;
    struct captive *captive;

    reap_captives(f);
    if (format == NULL || c->bad || n > PARTS_MAX || f->n_captives >= CAPTIVES_MAX)
        return err_set(e, ERR_PEER, "the worker asks for too much to be served");
    files = mem_array(n + 1, sizeof *files, "parts of an image", e);
    if (files == NULL || mem_grow(&f->captives, &f->captives_capacity, f->n_captives + 1,
                                  sizeof(struct captive *), "qemu-nbd", e) != 0)
        return -1;
    for (uint32_t i = 0; i <= n; i++) {
        const struct token *t = find_token(f, i == 0 ? token : cursor_le32(c), e);

        if (t == NULL)
            return -1;
        files[i] = (struct captive_file){t->path, t->identity};
    }
    captive = captive_start(files, n + 1, format, f->o.cancel, &r->fds[0], e);
    if (captive == NULL)
        return -1;
    r->n_fds = 1;
    f->captives[f->n_captives++] = captive;
    return 0;
}

static int answer_cache(struct front *f, uint16_t type, struct cursor *c, struct reply *r,
                        struct error *e)
{
    AUTO_FREE char *key = cursor_string(c, 64);
    bool keep = type == MSG_CACHE_COMMIT && cursor_u8(c) != 0;
    int fd = -1;

    if (key == NULL || c->bad)
        return err_set(e, ERR_PEER, "the worker names no cache entry");
    if (f->o.cache == NULL)
        return err_set(e, ERR_NOT_FOUND, "there is no cache");
    if (type == MSG_CACHE_COMMIT)
        return cache_folder_commit(f->o.cache, key, keep, e);
    /* one entry a layer at most, and each layer lies in a file */
    if (type == MSG_CACHE_CREATE && f->n_cached >= f->n_tokens)
        return err_set(e, ERR_PEER, "the worker makes more cache entries than it has files");
    if ((type == MSG_CACHE_OPEN ? cache_folder_open : cache_folder_create)(f->o.cache, key, &fd,
                                                                           e) != 0)
        return -1;
    f->n_cached += type == MSG_CACHE_CREATE;
    r->fds[r->n_fds++] = fd;
    return 0;
}

static int answer_output(struct front *f, uint16_t type, struct cursor *c, struct reply *r,
                         struct error *e)
{
    uint32_t output = cursor_le32(c);
    bool keep = type == MSG_OUTPUT_COMMIT && cursor_u8(c) != 0;

    if (c->bad || f->outputs == NULL || output >= f->job->n_sources)
        return err_set(e, ERR_PEER, "the worker asks for an output that does not exist");
    if (type == MSG_OUTPUT_COMMIT)
        return f->outputs->commit(f->outputs->arg, output, keep, e);
    if (f->outputs->create(f->outputs->arg, output, &r->fds[0], e) != 0)
        return -1;
    r->n_fds = 1;
    return 0;
}

static int answer(struct front *f, uint16_t type, struct cursor *c, struct reply *r,
                  struct error *e)
{
    switch (type) {
    case MSG_OPEN_SOURCE:
        return answer_open_source(f, c, r, e);
    case MSG_OPEN_NAMED:
        return answer_open_named(f, c, r, e);
    case MSG_SERVE:
        return answer_serve(f, c, r, e);
    case MSG_CACHE_OPEN:
    case MSG_CACHE_CREATE:
    case MSG_CACHE_COMMIT:
        return answer_cache(f, type, c, r, e);
    default:
        return answer_output(f, type, c, r, e);
    }
}

/* Answers one request. -1 only when the worker cannot be reached any more. */
static int serve_request(struct front *f, struct record *request, struct error *e)
{
    struct reply r = {.fds = {-1, -1, -1, -1}};
    struct buf message = {};
    struct error why;
    int rc = answer(f, request->type, &request->payload, &r, &why);

    if (rc == 0)
        rc = buf_check(&r.data, "an answer", &why);
    buf_put_u8(&message, rc != 0);
    if (rc != 0)
        put_error(&message, &why);
    else
        buf_put(&message, r.data.bytes, r.data.length);
    rc = buf_check(&message, "an answer", e);
    if (rc == 0)
        rc = send_record(f, MSG_REPLY, request->sequence, message.bytes, message.length, r.fds,
                         r.n_fds, e);
    for (size_t i = 0; i < RECORD_FDS; i++) {
        if (r.fds[i] >= 0)
            close(r.fds[i]);
    }
    buf_release(&r.data);
    buf_release(&message);
    return rc;
}

/* ---- what the worker tells ---- */

static int take_problem(struct front *f, struct cursor *c, struct error *e)
{
    uint8_t severity = cursor_u8(c);
    uint16_t code = cursor_le16(c);
    uint64_t offset = cursor_le64(c);
    AUTO_FREE char *object = cursor_string(c, STRING_MAX);
    AUTO_FREE char *text = cursor_string(c, STRING_MAX);

    if (object == NULL || text == NULL || severity > SEVERITY_ERROR || code >= ERR_CODES)
        return err_set(e, ERR_PEER, "the worker told a problem that makes no sense");
    f->told += strlen(object) + strlen(text) + 64;
    if (f->told > TOLD_MAX)
        return err_set(e, ERR_PEER, "the worker tells problems without end");
    problem_report(&f->o.problems, (enum severity)severity, (enum err_code)code, object, offset,
                   "%s", text);
    return 0;
}

static int take_failed(struct front *f, struct cursor *c, struct error *e)
{
    uint32_t source = cursor_le32(c);
    struct error why;

    get_error(c, &why);
    if (source >= f->job->n_sources)
        return err_set(e, ERR_PEER, "the worker failed at a source that does not exist");
    if (f->job->sources[source].skip)
        return 0; /* told once */
    f->job->sources[source].skip = true;
    f->results->failed(f->results->arg, source, &why);
    return 0;
}

static int take_note(struct front *f, struct cursor *c)
{
    size_t length = cursor_left(c);
    const uint8_t *bytes = cursor_bytes(c, length);

    if (f->o.note != NULL && bytes != NULL && length < 1024) {
        char text[1024] = {};

        memcpy(text, bytes, length);
        f->o.note(f->o.note_arg, text);
    }
    return 0;
}

/* One record. Returns 1 when the job has ended (then *ended is its status), else 0 or -1. */
static int take_record(struct front *f, struct record *r, int *ended, struct error *job_error,
                       struct error *e)
{
    if (r->type >= MSG_OPEN_SOURCE && r->type <= MSG_OUTPUT_COMMIT)
        return serve_request(f, r, e);
    switch (r->type) {
    case MSG_PROBLEM:
        return take_problem(f, &r->payload, e);
    case MSG_FAILED:
        return take_failed(f, &r->payload, e);
    case MSG_NOTE:
        return take_note(f, &r->payload);
    case MSG_DONE:
        *ended = cursor_u8(&r->payload) != 0 ? -1 : 0;
        if (*ended != 0)
            get_error(&r->payload, job_error);
        return 1;
    default:
        return f->results->record(f->results->arg, r->type, r->payload, e);
    }
}

static int send_job(struct front *f, struct error *e)
{
    AUTO_BUF request = {};
    size_t sent = 0, length;

    job_encode(&request, f->job);
    if (buf_check(&request, "a job", e) != 0)
        return -1;
    do { /* one record shorter than RECORD_MAX ends it */
        length = request.length - sent < RECORD_MAX ? request.length - sent : RECORD_MAX;
        if (send_record(f, MSG_JOB, 0, request.bytes + sent, length, NULL, 0, e) != 0)
            return -1;
        sent += length;
    } while (length == RECORD_MAX);
    return 0;
}

static void tick(struct front *f)
{
    if (f->o.tick == NULL || f->page == MAP_FAILED)
        return;
    f->o.tick(f->o.tick_arg, atomic_load_explicit(&f->page->progress.done, memory_order_relaxed),
              atomic_load_explicit(&f->page->progress.total, memory_order_relaxed),
              atomic_load_explicit(&f->page->source, memory_order_relaxed));
}

/* Serves the worker until the job ends. 1: *ended is its status; 0: the worker is gone; -1: error.
 */
static int converse(struct front *f, int *ended, struct error *job_error, struct error *e)
{
    for (;;) {
        struct pollfd p = {.fd = f->socket, .events = POLLIN};
        struct record r;
        int rc = poll(&p, 1, TICK_MS);

        if (cancel_requested(f->o.cancel))
            return err_set(e, ERR_CANCELLED, "interrupted");
        tick(f);
        if (rc <= 0)
            continue;
        rc = record_receive(f->socket, &r, f->space, e);
        if (rc == 0)
            return 0;
        if (rc < 0)
            return -1;
        rc = take_record(f, &r, ended, job_error, e);
        record_close_fds(&r);
        if (rc != 0) {
            tick(f); /* where it ended */
            return rc;
        }
    }
}

/* The worker died: says why, and gives up the source it was at. */
static int bury(struct front *f, struct error *e)
{
    uint32_t source = atomic_load(&f->page->source);
    int status = end_worker(f, false);
    struct error why;
    bool at_work;

    if (WIFEXITED(status) && WEXITSTATUS(status) == WORKER_WANTS_NBD && !f->with_nbd) {
        f->with_nbd = true;
        return 0;
    }

    at_work = source < f->job->n_sources && !f->job->sources[source].skip;
    if (WIFSIGNALED(status))
        err_set(&why, ERR_PEER,
                "the sealed worker%s was killed by SIG%s (%s); nothing else was touched; please "
                "report this%s",
                at_work ? " that read it" : "", sigabbrev_np(WTERMSIG(status)),
                sigdescr_np(WTERMSIG(status)), at_work ? " with the image" : "");
    else
        err_set(&why, ERR_PEER, "the sealed worker%s ended with status %d",
                at_work ? " that read it" : "", WEXITSTATUS(status));
    if (!at_work) {
        *e = why;
        return -1;
    }
    f->job->sources[source].skip = true;
    f->results->failed(f->results->arg, source, &why);
    return 0;
}

static int copy_string(char **to, const char *from, struct error *e)
{
    if (from == NULL)
        return 0;
    *to = mem_string(from, e);
    return *to == NULL ? -1 : 0;
}

static int copy_sources(struct job *job, const struct source *sources, const bool *in_use, size_t n,
                        struct error *e)
{
    job->sources = mem_array(n, sizeof *job->sources, "the sources of a job", e);
    if (job->sources == NULL)
        return -1;
    job->n_sources = n;
    for (size_t i = 0; i < n; i++) {
        struct job_source *to = &job->sources[i];
        const struct source *from = &sources[i];

        to->in_use = in_use != NULL && in_use[i];
        if (copy_string(&to->name, from->name, e) != 0 ||
            copy_string(&to->guest, from->guest, e) != 0 ||
            copy_string(&to->fixed, from->fixed, e) != 0 ||
            copy_string(&to->format, from->format, e) != 0 ||
            copy_string(&to->snapshot, from->snapshot, e) != 0 ||
            copy_string(&to->export_name, from->export_name, e) != 0)
            return -1;
    }
    return 0;
}

/* Names that promise an image which is read through libnbd. A wrong promise costs a few
 * milliseconds, a missing one a second worker. */
static bool wants_nbd(const struct source *sources, size_t n)
{
    static const char *const ends[] = {".vmdk", ".vhdx", ".vhd", ".vpc",   ".vdi", ".qed",
                                       ".hdd",  ".qcow", ".dmg", ".cloop", NULL};

    for (size_t i = 0; i < n; i++) {
        size_t length = strlen(sources[i].name);

        if (sources[i].path == NULL)
            return true;
        for (const char *const *end = ends; *end != NULL; end++) {
            if (length > strlen(*end) &&
                strcasecmp(sources[i].name + length - strlen(*end), *end) == 0)
                return true;
        }
    }
    return false;
}

int front_run(struct front *f, struct job *job, const struct source *sources, const bool *in_use,
              size_t n, const struct front_outputs *outputs, const struct front_results *results,
              struct error *e)
{
    if (copy_sources(job, sources, in_use, n, e) != 0)
        return -1;
    f->with_nbd = f->with_nbd || wants_nbd(sources, n);
    f->job = job;
    f->sources = sources;
    f->outputs = outputs;
    f->results = results;
    for (;;) {
        struct error job_error = {};
        int ended = 0, rc;

        if (f->worker == 0 && start_worker(f, e) != 0)
            return -1;
        rc = send_job(f, e);
        if (rc == 0)
            rc = converse(f, &ended, &job_error, e);
        else if (e->code == ERR_PEER)
            rc = 0; /* it died before it read the job */
        if (rc == 1) {
            if (ended != 0)
                *e = job_error;
            return ended;
        }
        if (rc < 0) {
            end_worker(f, true);
            return -1;
        }
        if (bury(f, e) != 0)
            return -1;
        results->again(results->arg);
    }
}
