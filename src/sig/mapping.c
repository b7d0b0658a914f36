/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "sig/mapping.h"

#include "sig/sig.h"

#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <sys/mman.h>

/* The system lets a process have 65,530 mappings; what goes beyond ours is copied. */
#define CHUNKS 64
#define CHUNK 512

/* A slot of the table that the signal handler looks through. A slot in use has a start; start is
 * written last and cleared first, so that the handler never sees half of one. */
struct sig_mapping {
    _Atomic uintptr_t start, end;
    atomic_bool lost;
    size_t length;            /* the owner's */
    struct sig_mapping *next; /* while free; guarded by the lock */
};

static struct {
    pthread_mutex_t lock; /* guards free and n_chunks */
    struct sig_mapping *free;
    size_t n_chunks;
    struct sig_mapping *_Atomic chunk[CHUNKS]; /* never freed */
} table = {.lock = PTHREAD_MUTEX_INITIALIZER};

static atomic_bool ready;
static struct sigaction before; /* the handler was installed */
static uintptr_t page;

/* The mapping that the address lies in, or NULL. Runs in the handler: no lock, no allocation. */
static struct sig_mapping *find(uintptr_t at)
{
    for (size_t i = 0; i < CHUNKS; i++) {
        struct sig_mapping *chunk = atomic_load_explicit(&table.chunk[i], memory_order_acquire);

        for (size_t k = 0; chunk != NULL && k < CHUNK; k++) {
            uintptr_t start = atomic_load_explicit(&chunk[k].start, memory_order_acquire);

            if (start != 0 && at >= start &&
                at < atomic_load_explicit(&chunk[k].end, memory_order_acquire))
                return &chunk[k];
        }
    }
    return NULL;
}

/* Puts a page of zeros where the file has none any more; the instruction that wanted it goes on. */
static void on_sigbus(int number, siginfo_t *info, void *context)
{
    uintptr_t at = (uintptr_t)info->si_addr;
    struct sig_mapping *m = info->si_code > 0 ? find(at) : NULL;

    if (m != NULL) {
        atomic_store(&m->lost, true);
        if (mmap((void *)(at & ~(page - 1)), page, PROT_READ,
                 MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0) != MAP_FAILED)
            return;
    }
    if ((before.sa_flags & SA_SIGINFO) != 0) {
        before.sa_sigaction(number, info, context);
        return;
    }
    /* what would have happened without us */
    sigaction(number, &before, NULL);
    if (info->si_code <= 0)
        raise(number);
}

int sig_init(struct error *e)
{
    /* SA_NODEFER: the handler before may jump out */
    struct sigaction action = {.sa_sigaction = on_sigbus, .sa_flags = SA_SIGINFO | SA_NODEFER}, old;

    page = (uintptr_t)sysconf(_SC_PAGESIZE);
    sigemptyset(&action.sa_mask);
    if (sigaction(SIGBUS, NULL, &old) != 0)
        return err_sys(e, "handler for SIGBUS");
    if ((old.sa_flags & SA_SIGINFO) == 0 || old.sa_sigaction != on_sigbus)
        before = old;
    if (sigaction(SIGBUS, &action, NULL) != 0)
        return err_sys(e, "handler for SIGBUS");
    atomic_store(&ready, true);
    return 0;
}

/* Makes sure that a slot is free; with the lock held. */
static bool more_slots(void)
{
    struct sig_mapping *chunk;

    if (table.free != NULL)
        return true;
    if (table.n_chunks == CHUNKS)
        return false;
    chunk = calloc(CHUNK, sizeof *chunk);
    if (chunk == NULL)
        return false;
    for (size_t i = 0; i < CHUNK; i++) {
        chunk[i].next = table.free;
        table.free = &chunk[i];
    }
    atomic_store_explicit(&table.chunk[table.n_chunks++], chunk, memory_order_release);
    return true;
}

static struct sig_mapping *slot_take(void)
{
    struct sig_mapping *m = NULL;

    pthread_mutex_lock(&table.lock);
    if (more_slots()) {
        m = table.free;
        table.free = m->next;
    }
    pthread_mutex_unlock(&table.lock);
    return m;
}

static void slot_give(struct sig_mapping *m)
{
    pthread_mutex_lock(&table.lock);
    m->next = table.free;
    table.free = m;
    pthread_mutex_unlock(&table.lock);
}

struct sig_mapping *sig_mapping_new(int fd, size_t length)
{
    struct sig_mapping *m;
    uint8_t *bytes;

    if (!atomic_load(&ready) || (m = slot_take()) == NULL)
        return NULL;
    bytes = mmap(NULL, length, PROT_READ, MAP_SHARED, fd, 0);
    if (bytes == MAP_FAILED) {
        slot_give(m);
        return NULL;
    }
    m->length = length;
    atomic_store(&m->lost, false);
    atomic_store(&m->end, (uintptr_t)bytes + length);
    atomic_store(&m->start, (uintptr_t)bytes);
    return m;
}

void sig_mapping_free(struct sig_mapping *m)
{
    uintptr_t start;

    if (m == NULL)
        return;
    start = atomic_load(&m->start);
    atomic_store(&m->start, 0); /* before the addresses can become somebody else's */
    munmap((void *)start, m->length);
    slot_give(m);
}

const uint8_t *sig_mapping_bytes(const struct sig_mapping *m)
{
    return (const uint8_t *)atomic_load(&m->start);
}

bool sig_mapping_lost(const struct sig_mapping *m)
{
    return atomic_load(&m->lost);
}
