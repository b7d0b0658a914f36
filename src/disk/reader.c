/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "disk/reader.h"

#include "base/ckd.h"
#include "base/mem.h"

#include <errno.h>
#include <setjmp.h>
#include <signal.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

#define PAGE 4096u
#define SAMPLE_DISTANCE (256u << 10)
#define CREDIT_MAX (256u << 10)

struct reader {
    struct pool *pool; /* or NULL */
    uint8_t *buffer;   /* READER_MAX bytes and what O_DIRECT's alignment adds, page aligned */

    /* To ask costs a system call or two, 7% of hashing a cluster. So after two pieces of a file
     * that were in the page cache, this many bytes of it are taken to be there too. */
    const struct host_file *warm; /* only compared */
    size_t credit;
};

struct reader *reader_new(struct pool *pool, struct error *e)
{
    AUTO(reader) *r = mem_array(1, sizeof *r, "a reader", e);

    if (r == NULL)
        return NULL;
    r->pool = pool;
    r->buffer = aligned_alloc(PAGE, READER_MAX + 2 * PAGE);
    if (r->buffer == NULL) {
        err_memory(e, "a read buffer");
        return NULL;
    }
    return take(r);
}

void reader_free(struct reader *r)
{
    if (r == NULL)
        return;
    free(r->buffer);
    free(r);
}

/* ---- mapped bytes may vanish: SIGBUS ---- */

static _Thread_local struct {
    sigjmp_buf back;
    const uint8_t *from, *to; /* the mapping that is visited */
    volatile sig_atomic_t armed;
} guard;

static struct sigaction old_action;
static atomic_bool handler_installed;

static void on_sigbus(int number, siginfo_t *info, void *context)
{
    const uint8_t *at = info->si_addr;

    (void)context;
    if (guard.armed && at >= guard.from && at < guard.to) {
        guard.armed = 0;
        siglongjmp(guard.back, 1);
    }
    /* Not ours: what would have happened without us. */
    sigaction(number, &old_action, NULL);
    raise(number);
}

int reader_init(struct error *e)
{
    /* SA_NODEFER: the jump out of the handler leaves no mask to restore. */
    struct sigaction action = {.sa_sigaction = on_sigbus, .sa_flags = SA_SIGINFO | SA_NODEFER};

    struct sigaction old;

    sigemptyset(&action.sa_mask);
    if (sigaction(SIGBUS, &action, &old) != 0)
        return err_sys(e, "handler for SIGBUS");
    if ((old.sa_flags & SA_SIGINFO) == 0 || old.sa_sigaction != on_sigbus)
        old_action = old;
    atomic_store(&handler_installed, true);
    return 0;
}

/* False when the bytes went away under the visitor. */
static bool visit_guarded(const uint8_t *map, uint64_t map_length, uint64_t offset, size_t length,
                          reader_visit *visit, void *arg)
{
    guard.from = map;
    guard.to = map + div_up(map_length, PAGE) * PAGE;
    if (sigsetjmp(guard.back, 0) != 0)
        return false;
    guard.armed = 1;
    atomic_signal_fence(memory_order_seq_cst);
    visit(arg, map + offset, length);
    atomic_signal_fence(memory_order_seq_cst);
    guard.armed = 0;
    return true;
}

/* ---- is it in the page cache? ---- */

struct cache_range {
    uint64_t offset, length;
};

struct cache_answer {
    uint64_t cached, dirty, writeback, evicted, recently_evicted; /* pages */
};

/* cachestat(2), Linux 6.5: it looks and changes nothing. 1, 0, or -1 where it is not to be had (old
 * kernel, sandbox, a file that is not ours to write). */
static int page_cached_by_stat(int fd, uint64_t offset)
{
    enum { CACHESTAT = 451 }; /* on every architecture */
    static atomic_bool missing;
    struct cache_range range = {offset, 1};
    struct cache_answer answer = {};

    if (atomic_load_explicit(&missing, memory_order_relaxed))
        return -1;
    if (syscall(CACHESTAT, fd, &range, &answer, 0) == 0)
        return answer.cached > 0;
    if (errno == ENOSYS)
        atomic_store_explicit(&missing, true, memory_order_relaxed);
    return -1;
}

/* A read that does not wait: where it fails the kernel has begun to read that page. */
static bool page_cached_by_read(struct host_file *f, uint64_t offset)
{
    char byte;
    struct iovec one = {&byte, 1};

    if (preadv2(f->fd, &one, 1, (off_t)offset, RWF_NOWAIT) == 1)
        return true;
    if (errno == EAGAIN)
        atomic_fetch_add_explicit(&f->read_bytes, PAGE, memory_order_relaxed);
    return false;
}

static bool page_cached(struct host_file *f, uint64_t offset)
{
    int cached = page_cached_by_stat(f->fd, offset);

    return cached >= 0 ? cached == 1 : page_cached_by_read(f, offset);
}

/* Asks for some pages of it, always the first and the last: a page that is missing all the same is
 * brought in by the fault, alone (MADV_RANDOM). */
static bool ask_resident(struct host_file *f, uint64_t offset, size_t length)
{
    for (size_t at = 0; at < length; at += SAMPLE_DISTANCE) {
        if (!page_cached(f, offset + at))
            return false;
    }
    return page_cached(f, offset + length - 1);
}

static bool resident(struct reader *r, struct host_file *f, uint64_t offset, size_t length)
{
    bool again = r->warm == f;

    if (again && length <= r->credit) {
        r->credit -= length;
        return true;
    }
    r->warm = NULL;
    r->credit = 0;
    if (!ask_resident(f, offset, length))
        return false;
    r->warm = f;
    r->credit = again ? CREDIT_MAX : 0;
    return true;
}

/* ---- three ways to the bytes ---- */

/* The whole file mapped, or MAP_FAILED. */
static const uint8_t *map_of(struct host_file *f)
{
    uint8_t *map = atomic_load_explicit(&f->map, memory_order_acquire);
    uint8_t *expected = NULL;

    if (map != NULL)
        return map;
    map = mmap(NULL, f->identity.size, PROT_READ, MAP_SHARED, f->fd, 0);
    if (map != MAP_FAILED)
        (void)madvise(map, f->identity.size, MADV_RANDOM);
    if (atomic_compare_exchange_strong(&f->map, &expected, map))
        return map;
    if (map != MAP_FAILED)
        munmap(map, f->identity.size); /* another thread was faster */
    return expected;
}

static bool visit_mapped(struct reader *r, struct host_file *f, uint64_t offset, size_t length,
                         reader_visit *visit, void *arg)
{
    const uint8_t *map;

    if (!atomic_load_explicit(&handler_installed, memory_order_relaxed) ||
        !resident(r, f, offset, length))
        return false;
    map = map_of(f);
    if (map == MAP_FAILED || !visit_guarded(map, f->identity.size, offset, length, visit, arg))
        return false;
    atomic_fetch_add_explicit(&f->read_bytes, length, memory_order_relaxed);
    return true;
}

/* [offset, offset + length) through O_DIRECT, whose bounds are whole pages; where the bytes are
 * now, or NULL when they could not be read so. */
static uint8_t *read_direct(struct reader *r, struct host_file *f, uint64_t offset, size_t length)
{
    size_t before = offset % PAGE;
    size_t wanted = (size_t)div_up(before + length, PAGE) * PAGE;
    size_t got = 0;

    if (f->direct_fd < 0 || atomic_load_explicit(&f->direct_refused, memory_order_relaxed))
        return NULL;
    while (got < before + length) {
        ssize_t n =
            pread(f->direct_fd, r->buffer + got, wanted - got, (off_t)(offset - before + got));

        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0 && (errno == EINVAL || errno == EOPNOTSUPP))
            atomic_store_explicit(&f->direct_refused, true, memory_order_relaxed);
        if (n <= 0)
            break;
        got += (size_t)n;
        if (n % PAGE != 0) /* the end of the file: what follows would not be aligned */
            break;
    }
    atomic_fetch_add_explicit(&f->read_bytes, got, memory_order_relaxed);
    return got >= before + length ? r->buffer + before : NULL;
}

/* Buffered: also the one that says what is wrong. */
static uint8_t *read_buffered(struct reader *r, struct host_file *f, uint64_t offset, size_t length,
                              struct error *e)
{
    return host_file_pread_padded(f, r->buffer, length, offset, e) == 0 ? r->buffer : NULL;
}

/* O_DIRECT where it can be; NULL on error. The reads wait for the disk. */
static uint8_t *read_waiting(struct reader *r, struct host_file *f, uint64_t offset, size_t there,
                             struct error *e)
{
    uint8_t *bytes = NULL;

    if (r->pool != NULL)
        pool_wait_begin(r->pool);
    if (there > 0)
        bytes = read_direct(r, f, offset, there);
    if (bytes == NULL)
        bytes = read_buffered(r, f, offset, there, e);
    if (r->pool != NULL)
        pool_wait_end(r->pool);
    return bytes;
}

int reader_visit_file(struct reader *r, struct host_file *f, uint64_t offset, size_t length,
                      reader_visit *visit, void *arg, struct error *e)
{
    uint64_t size = f->identity.size;
    size_t there = offset >= size ? 0 : (size_t)min_u64(length, size - offset);
    uint8_t *bytes;

    if (length == 0 || length > READER_MAX)
        return err_set(e, ERR_INTERNAL, "a visit of %zu bytes", length);
    if (there == length && visit_mapped(r, f, offset, length, visit, arg))
        return 0;
    bytes = read_waiting(r, f, offset, there, e);
    if (bytes == NULL)
        return -1;
    memset(bytes + there, 0, length - there);
    visit(arg, bytes, length);
    return 0;
}
