/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "disk/nbd.h"

#include "base/ckd.h"
#include "base/mem.h"
#include "disk/layer.h"
#include "disk/nbd_library.h"

#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#define REQUEST_MAX (256u << 10) /* bytes: qemu-nbd is fastest with these (measured) */
#define IN_FLIGHT 8
#define ALIGNMENT_MAX 65536u
#define POLL_SLICE 200          /* ms, then the user is asked whether to go on */
#define WINDOW_BYTES (1u << 30) /* one question about extents */
#define WINDOW_RUNS 65536u      /* what is kept of one answer */
#define WINDOWS 4

static atomic_uint patience = 60'000;

void nbd_patience_set(unsigned milliseconds)
{
    atomic_store(&patience, milliseconds);
}

/* Merged neighbours with the same flags; `end` rises. */
struct run {
    uint64_t end;
    unsigned flags;
};

struct window {
    uint64_t start, end; /* end == start: empty */
    struct run *runs;
    size_t n, capacity;
    uint64_t used; /* counts up: the smallest was not used for longest */
};

struct nbd_link {
    char *server;
    const struct cancel *cancel;
    const struct nbd_library *nbd;
    uint64_t size;
    uint32_t alignment; /* of requests; a power of 2 */
    bool has_map;

    pthread_mutex_t map_lock; /* guards windows; taken before `lock` */
    struct window windows[WINDOWS];
    uint64_t uses;

    pthread_mutex_t lock; /* guards the rest */
    struct nbd_handle *handle;
    bool dead;
    struct error death; /* what it died of */
};

/* ---- talking, with `lock` held or before anybody else knows the link ---- */

/* The link is of no use any more. The handle is closed at once: buffers of commands that still fly
 * belong to callers who are about to go. */
static int die(struct nbd_link *l, const struct error *why, struct error *e)
{
    l->nbd->close(take(l->handle));
    l->dead = true;
    l->death = *why;
    *e = *why;
    return -1;
}

static int die_of_peer(struct nbd_link *l, const char *what, struct error *e)
{
    struct error why;

    err_set(&why, ERR_PEER, "%s %s", l->server, what);
    return die(l, &why, e);
}

/* The same after a call of libnbd's that failed and says why. */
static int die_of_failure(struct nbd_link *l, const char *what, struct error *e)
{
    const char *said = l->nbd->get_error();
    struct error why;

    if (l->nbd->aio_is_dead(l->handle) == 1 || l->nbd->aio_is_closed(l->handle) == 1)
        what = "died or broke the protocol";
    err_set(&why, ERR_PEER, "%s %s: %s", l->server, what, said != NULL ? said : "no reason given");
    return die(l, &why, e);
}

static int check_alive(const struct nbd_link *l, struct error *e)
{
    if (!l->dead)
        return 0;
    *e = l->death;
    return -1;
}

static int64_t now_ms(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1'000'000;
}

/* Lets the link work for a moment; `since` is when the server last did what it was asked for. */
static int wait_a_moment(struct nbd_link *l, int64_t since, struct error *e)
{
    unsigned limit = atomic_load(&patience);
    int64_t left = since + limit - now_ms();
    struct error why;

    if (cancel_requested(l->cancel)) {
        err_set(&why, ERR_CANCELLED, "interrupted");
        return die(l, &why, e);
    }
    if (left <= 0) {
        err_set(&why, ERR_PEER, "%s hung: it gave no answer for %g seconds", l->server,
                limit / 1000.0);
        return die(l, &why, e);
    }
    if (l->nbd->poll(l->handle, left < POLL_SLICE ? (int)left : POLL_SLICE) < 0)
        return die_of_failure(l, "died or broke the protocol", e);
    if (l->nbd->aio_is_dead(l->handle) == 1 || l->nbd->aio_is_closed(l->handle) == 1)
        return die_of_peer(l, "closed the connection", e);
    return 0;
}

/* Until one command is done. 1 when the server refused it with an error of its own, which does not
 * end the link. */
static int finish(struct nbd_link *l, int64_t cookie, struct error *e)
{
    int64_t since = now_ms();

    for (;;) {
        int done = l->nbd->aio_command_completed(l->handle, (uint64_t)cookie);

        if (done > 0)
            return 0;
        if (done < 0) {
            const char *said = l->nbd->get_error();

            if (l->nbd->aio_is_dead(l->handle) == 1 || l->nbd->aio_is_closed(l->handle) == 1)
                return die_of_failure(l, "died or broke the protocol", e);
            return err_set(e, ERR_IO, "%s could not do it: %s", l->server,
                           said != NULL ? said : "no reason given");
        }
        if (wait_a_moment(l, since, e) != 0)
            return -1;
    }
}

/* A piece that is aligned as the server wants it, in requests that fly together. */
static int read_aligned(struct nbd_link *l, uint8_t *bytes, size_t length, uint64_t offset,
                        struct error *e)
{
    int64_t cookies[IN_FLIGHT];
    struct error first = {};
    size_t asked = 0;
    unsigned begun = 0, ended = 0;

    while (asked < length || ended < begun) {
        if (asked < length && begun - ended < IN_FLIGHT && first.code == ERR_NONE) {
            size_t n = (size_t)min_u64(length - asked, REQUEST_MAX);
            int64_t cookie = l->nbd->aio_pread(l->handle, bytes + asked, n, offset + asked,
                                               NBD_NULL_COMPLETION, 0);

            if (cookie < 0)
                return die_of_failure(l, "takes no more requests", e);
            cookies[begun++ % IN_FLIGHT] = cookie;
            asked += n;
            continue;
        }
        if (first.code != ERR_NONE && ended == begun)
            break;
        /* All that fly end before the caller's buffer is let go. */
        if (finish(l, cookies[ended++ % IN_FLIGHT], e) != 0) {
            if (l->dead)
                return -1;
            if (first.code == ERR_NONE)
                first = *e;
        }
    }
    if (first.code == ERR_NONE)
        return 0;
    *e = first;
    return -1;
}

/* A piece in between goes through a buffer of its own. */
static int read_unaligned(struct nbd_link *l, uint8_t *bytes, size_t length, uint64_t offset,
                          struct error *e)
{
    AUTO_FREE uint8_t *buffer = mem_array(1, REQUEST_MAX + 2 * ALIGNMENT_MAX, "a buffer", e);

    if (buffer == NULL)
        return -1;
    while (length > 0) {
        size_t before = offset % l->alignment;
        size_t n = (size_t)min_u64(length, REQUEST_MAX);
        uint64_t from = offset - before;
        uint64_t to = div_up(offset + n, l->alignment) * l->alignment;

        if (read_aligned(l, buffer, (size_t)(min_u64(to, l->size) - from), from, e) != 0)
            return -1;
        memcpy(bytes, buffer + before, n);
        bytes += n;
        offset += n;
        length -= n;
    }
    return 0;
}

int nbd_link_pread(struct nbd_link *l, void *bytes, size_t length, uint64_t offset, struct error *e)
{
    int result;

    if (range_outside(offset, length, l->size))
        return err_set(e, ERR_INTERNAL, "%zu bytes at %ju of %ju", length, (uintmax_t)offset,
                       (uintmax_t)l->size);
    pthread_mutex_lock(&l->lock);
    result = check_alive(l, e);
    if (result == 0)
        result = ((offset | length) & (l->alignment - 1)) == 0
                     ? read_aligned(l, bytes, length, offset, e)
                     : read_unaligned(l, bytes, length, offset, e);
    pthread_mutex_unlock(&l->lock);
    return result;
}

/* ---- the map ---- */

struct answer {
    struct window *window;
    uint64_t limit; /* the disk's end */
    bool bad, no_memory;
};

/* libnbd's callback: entries of {length, flags}. They may go on beyond what was asked for. */
static int take_extents(void *arg, const char *context, uint64_t offset, uint32_t *entries,
                        size_t n, int *error)
{
    struct answer *a = arg;
    struct window *w = a->window;
    struct error ignored;

    (void)error;
    if (strcmp(context, LIBNBD_CONTEXT_BASE_ALLOCATION) != 0)
        return 0;
    if (offset != w->end || n % 2 != 0)
        a->bad = true;
    for (size_t i = 0; !a->bad && i + 1 < n && w->end < a->limit; i += 2) {
        unsigned flags = 0;

        if (entries[i] == 0) {
            a->bad = true;
            break;
        }
        /* A hole that does not say it reads as zeros is data to us. */
        if ((entries[i + 1] & LIBNBD_STATE_ZERO) != 0)
            flags = EXTENT_ZERO | ((entries[i + 1] & LIBNBD_STATE_HOLE) != 0 ? EXTENT_HOLE : 0);
        if (w->n == 0 || w->runs[w->n - 1].flags != flags) {
            if (w->n == WINDOW_RUNS) /* the rest is asked for again when its turn comes */
                break;
            if (mem_grow(&w->runs, &w->capacity, w->n + 1, sizeof *w->runs, "extents", &ignored)) {
                a->no_memory = true;
                break;
            }
            w->runs[w->n++].flags = flags;
        }
        w->end = min_u64(w->end + entries[i], a->limit);
        w->runs[w->n - 1].end = w->end;
    }
    return 0;
}

static int ask_extents(struct nbd_link *l, struct window *w, uint64_t offset, struct error *e)
{
    uint64_t start = offset - offset % l->alignment;
    uint64_t length = min_u64(WINDOW_BYTES, l->size - start);
    struct answer a = {.window = w, .limit = l->size};
    int64_t cookie;

    w->start = w->end = start;
    w->n = 0;
    if (check_alive(l, e) != 0)
        return -1;
    cookie = l->nbd->aio_block_status(
        l->handle, length, start, (nbd_extent_callback){.callback = take_extents, .user_data = &a},
        NBD_NULL_COMPLETION, 0);
    if (cookie < 0)
        return die_of_failure(l, "takes no more requests", e);
    if (finish(l, cookie, e) != 0)
        return -1;
    if (a.no_memory)
        return err_memory(e, "extents");
    if (a.bad || w->end <= offset) {
        struct error why;

        err_set(&why, ERR_PEER, "%s gave a senseless map of the disk at %ju", l->server,
                (uintmax_t)start);
        return die(l, &why, e);
    }
    return 0;
}

static struct window *window_at(struct nbd_link *l, uint64_t offset)
{
    for (size_t i = 0; i < WINDOWS; i++) {
        if (offset >= l->windows[i].start && offset < l->windows[i].end)
            return &l->windows[i];
    }
    return NULL;
}

static struct window *oldest_window(struct nbd_link *l)
{
    struct window *oldest = &l->windows[0];

    for (size_t i = 1; i < WINDOWS; i++) {
        if (l->windows[i].used < oldest->used)
            oldest = &l->windows[i];
    }
    return oldest;
}

static int find_window(struct nbd_link *l, uint64_t offset, struct window **out, struct error *e)
{
    struct window *w = window_at(l, offset);
    int result = 0;

    if (w == NULL) {
        w = oldest_window(l);
        pthread_mutex_lock(&l->lock);
        result = ask_extents(l, w, offset, e);
        pthread_mutex_unlock(&l->lock);
        if (result != 0)
            w->end = w->start; /* what came before the error is not kept */
    }
    w->used = ++l->uses;
    *out = w;
    return result;
}

/* The first run that ends beyond `offset`. */
static const struct run *run_at(const struct window *w, uint64_t offset)
{
    size_t low = 0, high = w->n;

    while (low < high) {
        size_t middle = low + (high - low) / 2;

        if (w->runs[middle].end <= offset)
            low = middle + 1;
        else
            high = middle;
    }
    return &w->runs[low];
}

int nbd_link_extent(struct nbd_link *l, uint64_t offset, struct extent *out, struct error *e)
{
    const struct run *run;
    struct window *w;
    int result;

    if (!l->has_map) {
        *out = (struct extent){.offset = offset, .length = l->size - offset};
        return 0;
    }
    pthread_mutex_lock(&l->map_lock);
    result = find_window(l, offset, &w, e);
    if (result == 0) {
        run = run_at(w, offset);
        *out = (struct extent){.offset = offset, .length = run->end - offset, .flags = run->flags};
    }
    pthread_mutex_unlock(&l->map_lock);
    return result;
}

uint64_t nbd_link_size(const struct nbd_link *l)
{
    return l->size;
}

/* ---- opening ---- */

static int shake_hands(struct nbd_link *l, const char *export_name, int *socket, struct error *e)
{
    const struct nbd_library *nbd = l->nbd;
    int64_t since = now_ms();

    l->handle = nbd->create();
    if (l->handle == NULL)
        return err_set(e, ERR_MEMORY, "libnbd: %s", nbd->get_error());
    if (nbd->set_debug(l->handle, false) != 0 ||
        nbd->set_export_name(l->handle, export_name != NULL ? export_name : "") != 0 ||
        nbd->add_meta_context(l->handle, LIBNBD_CONTEXT_BASE_ALLOCATION) != 0)
        return err_set(e, ERR_INTERNAL, "libnbd: %s", nbd->get_error());
    /* libnbd closes the socket with its handle, also when this fails half way. */
    if (nbd->aio_connect_socket(l->handle, take_fd(socket)) != 0)
        return die_of_failure(l, "did not shake hands", e);
    while (nbd->aio_is_ready(l->handle) != 1) {
        if (wait_a_moment(l, since, e) != 0)
            return -1;
    }
    return 0;
}

static int learn(struct nbd_link *l, struct error *e)
{
    int64_t size = l->nbd->get_size(l->handle);
    int64_t minimum = l->nbd->get_block_size(l->handle, LIBNBD_SIZE_MINIMUM);

    if (size < 0)
        return die_of_peer(l, "claims a disk of an impossible size", e);
    l->size = (uint64_t)size;
    l->alignment = minimum > 0 ? (uint32_t)min_u64((uint64_t)minimum, UINT32_MAX) : 1;
    if (!is_power_of_2(l->alignment) || l->alignment > ALIGNMENT_MAX)
        return err_set(e, ERR_PEER, "%s wants requests aligned to %jd bytes", l->server,
                       (intmax_t)minimum);
    l->has_map = l->nbd->can_meta_context(l->handle, LIBNBD_CONTEXT_BASE_ALLOCATION) == 1;
    return 0;
}

struct nbd_link *nbd_link_open(const char *server, const char *export_name, int socket,
                               const struct cancel *cancel, struct error *e)
{
    AUTO_FD int own_socket = socket;
    AUTO(nbd_link) *l = NULL;
    const char *why;

    if (nbd_library_load(e) != 0)
        return NULL;
    l = mem_array(1, sizeof *l, "an NBD connection", e);
    if (l == NULL)
        return NULL;
    pthread_mutex_init(&l->map_lock, NULL);
    pthread_mutex_init(&l->lock, NULL);
    l->nbd = nbd_library(&why);
    l->cancel = cancel;
    l->server = mem_string(server, e);
    if (l->server == NULL || shake_hands(l, export_name, &own_socket, e) != 0 || learn(l, e) != 0)
        return NULL;
    return take(l);
}

void nbd_link_close(struct nbd_link *l)
{
    if (l == NULL)
        return;
    if (l->handle != NULL)
        l->nbd->close(l->handle);
    for (size_t i = 0; i < WINDOWS; i++)
        free(l->windows[i].runs);
    pthread_mutex_destroy(&l->lock);
    pthread_mutex_destroy(&l->map_lock);
    free(l->server);
    free(l);
}

/* ---- the driver of NBD exports ---- */

static int export_open(struct disk *d, const struct disk_env *env,
                       const struct disk_options *options, int socket, struct error *e)
{
    struct nbd_link *l =
        nbd_link_open("the NBD server", options->export_name, socket, env->cancel, e);

    if (l == NULL)
        return -1;
    d->state = l;
    d->size = nbd_link_size(l);
    return 0;
}

static void export_close(struct disk *d)
{
    nbd_link_close(d->state);
}

static int export_extent(struct disk *d, uint64_t offset, struct extent *out, struct error *e)
{
    return nbd_link_extent(d->state, offset, out, e);
}

static int export_pread(struct disk *d, void *bytes, size_t length, uint64_t offset,
                        struct error *e)
{
    return nbd_link_pread(d->state, bytes, length, offset, e);
}

const struct disk_driver disk_driver_nbd = {
    .name = "nbd",
    .open = export_open,
    .close = export_close,
    .extent = export_extent,
    .pread = export_pread,
};

int disk_open_nbd(const struct disk_env *env, const char *name, const char *export_name, int socket,
                  struct disk **out, struct error *e)
{
    struct disk_options options = {.format = disk_driver_nbd.name, .export_name = export_name};
    AUTO_FD int own_socket = socket;
    AUTO(disk) *d = layer_new(&disk_driver_nbd, disk_driver_nbd.name, name, e);

    if (d == NULL || layer_open(d, env, &options, take_fd(&own_socket), e) != 0)
        return -1;
    *out = take(d);
    return 0;
}
