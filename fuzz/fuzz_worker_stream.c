/* SPDX-License-Identifier: GPL-2.0-or-later */
/* All that a worker which has been taken over may say to the front: u8 job, then records (u16 type,
 * u8 sequence, u16 length, payload), again and again. Each goes through the front's own code, which
 * answers on a socket; what comes back is held against the promise that no file outside of the
 * folder is ever given away. What the receivers accept is used as the commands would. */
#include "app/front.c" /* its entry for one record is its own business */

#include "cluster/kinship.h"
#include "sig/compare_record.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t length);

#define RECORDS_MAX 200 /* of one input */

/* ---- no qemu-nbd is started here ---- */

struct captive {
    int socket;
};

struct captive *captive_start(const struct captive_file *files, size_t n, const char *format,
                              const struct cancel *cancel, int *socket, struct error *e)
{
    struct captive *c = mem_array(1, sizeof *c, "a captive", e);
    size_t sum = strlen(format);

    (void)cancel;
    for (size_t i = 0; i < n; i++)
        sum += strlen(files[i].path) + files[i].identity.inode;
    if (c == NULL || sum == 0)
        return c;
    c->socket = memfd_create("captive", MFD_CLOEXEC);
    *socket = dup(c->socket);
    return c;
}

bool captive_ended(struct captive *c)
{
    return c->socket % 2 == 0;
}

void captive_stop(struct captive *c)
{
    if (c != NULL)
        close(c->socket);
    free(c);
}

/* ---- the world of one input ---- */

static char folder[64];

struct world {
    struct opener *opener;
    struct cache_folder *cache;
    struct front *front;
    int worker; /* the other end of the front's socket */
    struct job job;
    struct source sources[3];
    struct kinship_receiver *kinship;
    struct comparison_receiver *comparison;
    size_t told;
};

static int output_create(void *arg, uint32_t output, int *fd, struct error *e)
{
    (void)arg;
    (void)output;
    *fd = memfd_create("output", MFD_CLOEXEC);
    return *fd < 0 ? err_sys(e, "memfd") : 0;
}

static int output_commit(void *arg, uint32_t output, bool keep, struct error *e)
{
    (void)arg;
    (void)output;
    return keep ? 0 : err_set(e, ERR_IO, "not wanted");
}

static const struct front_outputs outputs = {output_create, output_commit, NULL};

static int take_result(void *arg, uint16_t type, struct cursor payload, struct error *e)
{
    struct world *w = arg;

    if (w->job.kind == JOB_COMPARE)
        return comparison_receive(w->comparison, type, payload, e);
    return kinship_receive(w->kinship, type, payload, e);
}

static void take_source_failure(void *arg, uint32_t source, const struct error *why)
{
    struct world *w = arg;

    if (source >= w->job.n_sources)
        __builtin_trap();
    w->told += strlen(why->msg);
}

static void take_told(void *arg, const struct problem *p)
{
    struct world *w = arg;

    w->told += strlen(p->object) + strlen(p->text) + strlen(err_code_name(p->code));
}

static void take_text(void *arg, const char *text)
{
    struct world *w = arg;

    w->told += strlen(text);
}

static void make_folder(void)
{
    char path[128];
    int fd;

    snprintf(folder, sizeof folder, "/tmp/fuzz-worker-stream-XXXXXX");
    if (mkdtemp(folder) == NULL)
        abort();
    snprintf(path, sizeof path, "%s/a.raw", folder);
    fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
    if (fd < 0 || write(fd, folder, sizeof folder) < 0)
        abort();
    close(fd);
    snprintf(path, sizeof path, "%s/out", folder); /* a way out, for who follows links */
    if (symlink("/etc/passwd", path) != 0)
        abort();
}

static void remove_folder(void)
{
    char command[128];

    snprintf(command, sizeof command, "rm -rf '%s'", folder);
    if (system(command) != 0)
        abort();
}

static void world_open(struct world *w, uint8_t kind)
{
    static char source_path[128], missing[128], cache_path[128];
    static const struct front_results no_results;
    struct front_options o = {.problems = {take_told, w}, .note = take_text, .note_arg = w};
    struct error e;
    int pair[2];

    *w = (struct world){.job.kind = kind & 1 ? JOB_COMPARE : JOB_TREE};
    if (folder[0] == 0) {
        make_folder();
        atexit(remove_folder);
    }
    snprintf(source_path, sizeof source_path, "%s/a.raw", folder);
    snprintf(missing, sizeof missing, "%s/gone.raw", folder);
    snprintf(cache_path, sizeof cache_path, "%s/cache", folder);
    w->sources[0] = (struct source){.name = source_path, .path = source_path};
    w->sources[1] = (struct source){.name = missing, .path = missing};
    w->sources[2] = (struct source){.name = missing, .nbd_socket = missing};
    o.opener = w->opener = opener_new(&e);
    o.cache = w->cache = kind & 2 ? cache_folder_new(cache_path, &e) : NULL;
    w->front = front_new(&o, &e);
    w->kinship = kinship_receiver_new(&e);
    w->comparison = comparison_receiver_new(&e);
    if (w->opener == NULL || w->front == NULL || w->kinship == NULL || w->comparison == NULL ||
        copy_sources(&w->job, w->sources, NULL, 3, &e) != 0 ||
        socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) != 0)
        abort();
    w->front->socket = pair[0];
    w->worker = pair[1];
    w->front->job = &w->job;
    w->front->sources = w->sources;
    w->front->outputs = kind & 4 ? &outputs : NULL;
    w->front->results = &no_results;
}

static void world_close(struct world *w)
{
    front_free(w->front);
    close(w->worker);
    job_release(&w->job);
    kinship_receiver_free(w->kinship);
    comparison_receiver_free(w->comparison);
    cache_folder_free(w->cache);
    opener_free(w->opener);
}

/* ---- what came back ---- */

static void check_descriptor(int fd)
{
    char link[32], path[4096];
    ssize_t n;

    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    n = readlink(link, path, sizeof path - 1);
    if (n < 0)
        __builtin_trap();
    path[n] = 0;
    if (strncmp(path, folder, strlen(folder)) != 0 && strncmp(path, "/memfd:", 7) != 0)
        __builtin_trap();
}

static void hear_answer(struct world *w, const struct record *request)
{
    static uint8_t space[RECORD_MAX + RECORD_HEADER];
    struct record reply;
    struct error e;

    if (record_receive(w->worker, &reply, space, &e) != 1 || reply.type != MSG_REPLY ||
        reply.sequence != request->sequence)
        __builtin_trap();
    for (size_t i = 0; i < RECORD_FDS; i++) {
        if (reply.fds[i] >= 0)
            check_descriptor(reply.fds[i]);
    }
    record_close_fds(&reply);
}

/* The whole, as the commands take it. */
static void use_results(struct world *w)
{
    struct comparison c;
    struct kinship k;
    struct error e;

    if (w->job.kind == JOB_COMPARE && comparison_receiver_take(w->comparison, &c, &e) == 0) {
        for (size_t i = 0; i < c.n_ranges; i++)
            w->told += c.ranges[i].length;
        comparison_release(&c);
    }
    if (w->job.kind == JOB_TREE && kinship_receiver_take(w->kinship, &k, &e) == 0) {
        for (size_t i = 0; i < k.n; i++)
            w->told += strlen(k.images[i].path);
        kinship_release(&k);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t length)
{
    struct cursor c = cursor_of(bytes, length);
    struct world w;
    struct front_results results = {take_result, take_source_failure, NULL, &w};
    struct error e, job_error;
    int ended = 0, rc = 0;

    world_open(&w, cursor_u8(&c));
    w.front->results = &results;
    for (int i = 0; i < RECORDS_MAX && rc == 0 && cursor_left(&c) > 0; i++) {
        struct record r = {.type = cursor_le16(&c), .sequence = cursor_u8(&c)};
        size_t n = cursor_le16(&c);
        const uint8_t *payload;

        if (c.bad)
            break;
        n = n < cursor_left(&c) ? n : cursor_left(&c); /* the last may be cut */
        payload = cursor_bytes(&c, n);
        r.payload = cursor_of(payload, n);
        memset(r.fds, -1, sizeof r.fds);
        rc = take_record(w.front, &r, &ended, &job_error, &e);
        if (rc == 0 && r.type >= MSG_OPEN_SOURCE && r.type <= MSG_OUTPUT_COMMIT)
            hear_answer(&w, &r);
    }
    if (rc == 1 && ended == 0)
        use_results(&w);
    else if (rc == 1)
        w.told += strlen(job_error.msg);
    else if (rc < 0)
        w.told += strlen(e.msg);
    world_close(&w);
    return 0;
}
