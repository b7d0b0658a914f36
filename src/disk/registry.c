/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "base/mem.h"
#include "disk/layer.h"

#include <pthread.h>
#include <string.h>

#define BUCKETS 4096

struct disk_registry {
    pthread_mutex_t lock;   /* guards buckets, their disks' `next`, and the step of a listed disk's
                               reference count to zero */
    atomic_uint references; /* the owner, and each disk that is listed */
    struct disk *buckets[BUCKETS];
};

struct disk_registry *disk_registry_new(struct error *e)
{
    struct disk_registry *r = mem_array(1, sizeof *r, "the registry of disks", e);

    if (r == NULL)
        return NULL;
    pthread_mutex_init(&r->lock, NULL);
    atomic_init(&r->references, 1);
    return r;
}

void registry_unref(struct disk_registry *r)
{
    if (atomic_fetch_sub_explicit(&r->references, 1, memory_order_acq_rel) != 1)
        return;
    pthread_mutex_destroy(&r->lock);
    free(r);
}

void disk_registry_free(struct disk_registry *r)
{
    if (r != NULL)
        registry_unref(r);
}

static struct disk **bucket_of(struct disk_registry *r, const struct file_identity *id)
{
    uint64_t h = (id->device * 0x9e3779b97f4a7c15u) ^ id->inode;

    h *= 0x9e3779b97f4a7c15u;
    return &r->buckets[h >> 52];
}

static bool same_text(const char *a, const char *b)
{
    return a == NULL || b == NULL ? a == b : strcmp(a, b) == 0;
}

struct disk *registry_find(struct disk_registry *r, const struct file_identity *identity,
                           const char *format, const char *snapshot)
{
    struct disk *d;

    if (r == NULL)
        return NULL;
    pthread_mutex_lock(&r->lock);
    for (d = *bucket_of(r, identity); d != NULL; d = d->next) {
        if (file_identity_same(&d->files[0]->identity, identity) &&
            strcmp(d->format, format) == 0 && same_text(d->snapshot, snapshot)) {
            disk_ref(d);
            break;
        }
    }
    pthread_mutex_unlock(&r->lock);
    return d;
}

void registry_add(struct disk_registry *r, struct disk *d)
{
    struct disk **bucket;

    if (r == NULL || d->registry != NULL || d->n_files == 0)
        return;
    atomic_fetch_add_explicit(&r->references, 1, memory_order_relaxed);
    pthread_mutex_lock(&r->lock);
    bucket = bucket_of(r, &d->files[0]->identity);
    d->registry = r;
    d->next = *bucket;
    *bucket = d;
    pthread_mutex_unlock(&r->lock);
}

bool registry_drop(struct disk *d)
{
    struct disk_registry *r = d->registry;
    struct disk **at;
    bool last;

    if (r == NULL)
        return atomic_fetch_sub_explicit(&d->references, 1, memory_order_acq_rel) == 1;
    pthread_mutex_lock(&r->lock);
    last = atomic_fetch_sub_explicit(&d->references, 1, memory_order_acq_rel) == 1;
    if (last) {
        at = bucket_of(r, &d->files[0]->identity);
        while (*at != d)
            at = &(*at)->next;
        *at = d->next;
    }
    pthread_mutex_unlock(&r->lock);
    return last;
}
