/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "disk/qcow2_compressed.h"

#include "base/ckd.h"
#include "base/mem.h"
#include "hash/decompress.h"

#include <pthread.h>
#include <stdatomic.h>
#include <string.h>

enum { KEPT = 4 };

/* Shared by the cache and by whoever copies from it just now, so that nobody copies or decompresses
 * under the lock. */
struct plain {
    atomic_uint references;
    uint64_t descriptor;
    uint8_t bytes[];
};

struct qcow2_compressed {
    struct qcow2_layout layout;
    enum qcow2_compression compression;
    struct host_file *file;
    pthread_mutex_t lock;     /* guards what follows */
    struct plain *kept[KEPT]; /* most recently used first; NULLs last */
};

static void plain_unref(struct plain *p)
{
    if (p != NULL && atomic_fetch_sub(&p->references, 1) == 1)
        free(p);
}

AUTO_DEFINE(plain, plain_unref);

struct qcow2_compressed *qcow2_compressed_new(const struct qcow2_layout *layout,
                                              enum qcow2_compression compression,
                                              struct host_file *f, struct error *e)
{
    struct qcow2_compressed *c = mem_array(1, sizeof *c, "cache of compressed clusters", e);

    if (c == NULL)
        return NULL;
    c->layout = *layout;
    c->compression = compression;
    c->file = f;
    pthread_mutex_init(&c->lock, NULL);
    return c;
}

void qcow2_compressed_free(struct qcow2_compressed *c)
{
    if (c == NULL)
        return;
    for (size_t i = 0; i < KEPT; i++)
        plain_unref(c->kept[i]);
    pthread_mutex_destroy(&c->lock);
    free(c);
}

static size_t cluster_size(const struct qcow2_compressed *c)
{
    return (size_t)1 << c->layout.cluster_bits;
}

/* Puts p in front, in the place of `old` (an index; the last one to evict). */
static void move_to_front(struct qcow2_compressed *c, size_t old, struct plain *p)
{
    memmove(c->kept + 1, c->kept, old * sizeof c->kept[0]);
    c->kept[0] = p;
}

/* A new reference, or NULL. */
static struct plain *find(struct qcow2_compressed *c, uint64_t descriptor)
{
    struct plain *found = NULL;

    pthread_mutex_lock(&c->lock);
    for (size_t i = 0; i < KEPT && c->kept[i] != NULL && found == NULL; i++) {
        if (c->kept[i]->descriptor == descriptor) {
            found = c->kept[i];
            move_to_front(c, i, found);
            atomic_fetch_add(&found->references, 1);
        }
    }
    pthread_mutex_unlock(&c->lock);
    return found;
}

static void keep(struct qcow2_compressed *c, struct plain *p)
{
    struct plain *evicted;

    atomic_fetch_add(&p->references, 1);
    pthread_mutex_lock(&c->lock);
    evicted = c->kept[KEPT - 1];
    move_to_front(c, KEPT - 1, p);
    pthread_mutex_unlock(&c->lock);
    plain_unref(evicted);
}

/* The whole cluster to `bytes`. */
static int decompress(struct qcow2_compressed *c, uint64_t descriptor, void *bytes, struct error *e)
{
    uint64_t offset, length, size = c->file->identity.size;
    AUTO_FREE uint8_t *packed = NULL;
    int status;

    qcow2_compressed_place(&c->layout, descriptor, &offset, &length);
    if (offset >= size)
        return err_set(e, ERR_FORMAT,
                       "compressed cluster at offset %#jx lies beyond the file's end",
                       (uintmax_t)offset);
    length = min_u64(length, size - offset); /* the last sector need not be whole */
    packed = mem_array(length, 1, "compressed cluster", e);
    if (packed == NULL || host_file_pread(c->file, packed, length, offset, e) != 0)
        return -1;
    status = c->compression == QCOW2_ZSTD
                 ? decompress_zstd(bytes, cluster_size(c), packed, length, e)
                 : decompress_deflate(bytes, cluster_size(c), packed, length, e);
    if (status != 0)
        return err_wrap(e, "compressed cluster at offset %#jx", (uintmax_t)offset);
    return 0;
}

int qcow2_compressed_read(struct qcow2_compressed *c, uint64_t descriptor, size_t within,
                          void *bytes, size_t length, struct error *e)
{
    AUTO(plain) *p = find(c, descriptor);

    if (p == NULL && length == cluster_size(c))
        return decompress(c, descriptor, bytes, e); /* wanted whole: not worth keeping */
    if (p == NULL) {
        p = mem_array(sizeof *p + cluster_size(c), 1, "cluster", e);
        if (p == NULL)
            return -1;
        atomic_init(&p->references, 1);
        p->descriptor = descriptor;
        if (decompress(c, descriptor, p->bytes, e) != 0)
            return -1;
        keep(c, p);
    }
    memcpy(bytes, p->bytes + within, length);
    return 0;
}
