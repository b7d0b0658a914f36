/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "sig/library.h"

#include "base/mem.h"
#include "hash/digest.h"

#include <string.h>
#include <time.h>

/* A file may be written twice within one tick of the clock that its times are taken from, and the
 * second write leaves no trace there. What was written so shortly before the end of a scan is not
 * kept. */
#define RACY_NS 2000000000

/* What is known of a layer with all that is below it. */
struct layer {
    struct id key;     /* null: it has none */
    struct disk *disk; /* a reference of a disk without a key; else NULL */
    struct sig *sig;   /* a reference */
    bool cached;       /* it came from the cache */
    bool settled;      /* it and all below it may be kept in the cache */
};

struct sig_library {
    const struct sig_cache *cache; /* NULL: none */
    const struct scan_options *scan;
    const struct problem_sink *problems;
    struct layer *layers;
    size_t n_layers, cap_layers;
    struct file_identity *changed; /* files that were reported */
    size_t n_changed, cap_changed;
    bool cache_told; /* that the cache does not work */
};

struct sig_library *sig_library_new(const struct sig_cache *cache, const struct scan_options *scan,
                                    const struct problem_sink *problems, struct error *e)
{
    struct sig_library *l = mem_array(1, sizeof *l, "a library of signatures", e);

    if (l == NULL)
        return NULL;
    l->cache = cache;
    l->scan = scan;
    l->problems = problems;
    return l;
}

void sig_library_free(struct sig_library *l)
{
    if (l == NULL)
        return;
    for (size_t i = 0; i < l->n_layers; i++) {
        sig_unref(l->layers[i].sig);
        disk_close(l->layers[i].disk);
    }
    free(l->layers);
    free(l->changed);
    free(l);
}

/* ---- keys ---- */

static void digest_string(struct digest *d, const char *text)
{
    digest_u64(d, strlen(text));
    digest_update(d, text, strlen(text));
}

/* False when the layer's files cannot tell that they changed. */
static bool digest_layer(struct digest *g, const struct disk *d)
{
    const char *snapshot = disk_snapshot(d);
    struct host_file *const *files;
    size_t n = disk_files(d, &files);

    digest_string(g, disk_format(d));
    digest_u64(g, snapshot != NULL);
    digest_string(g, snapshot != NULL ? snapshot : "");
    digest_u64(g, n);
    for (size_t i = 0; i < n; i++) {
        const struct file_identity *f = &files[i]->identity;

        if (f->block_device)
            return false;
        digest_u64(g, f->device);
        digest_u64(g, f->inode);
        digest_u64(g, f->size);
        digest_u64(g, (uint64_t)f->mtime_ns);
        digest_u64(g, (uint64_t)f->ctime_ns);
    }
    return n > 0;
}

/* The null id when there is none. */
static struct id layer_key(const struct disk *d)
{
    struct digest g;
    struct id key;

    digest_init(&g, "stemma signature cache 1 key");
    for (; d != NULL; d = disk_backing(d)) {
        if (!digest_layer(&g, d))
            return null_id;
        digest_u64(&g, disk_backing(d) != NULL);
    }
    digest_final(&g, &key);
    return key;
}

bool sig_cache_key(const struct disk *d, char key[65])
{
    struct id id = layer_key(d);

    if (id_is_null(&id))
        return false;
    id_to_hex(&id, key);
    return true;
}

/* ---- what changed ---- */

static void report_change(struct sig_library *l, const struct host_file *f)
{
    struct error e;

    for (size_t i = 0; i < l->n_changed; i++) {
        if (l->changed[i].device == f->identity.device && l->changed[i].inode == f->identity.inode)
            return;
    }
    problem_report(l->problems, SEVERITY_WARNING, ERR_CHANGED, f->name, PROBLEM_NO_OFFSET,
                   "changed while it was read; what is said of it may be wrong");
    /* without memory it is told twice */
    if (mem_grow(&l->changed, &l->cap_changed, l->n_changed + 1, sizeof *l->changed,
                 "changed files", &e) == 0)
        l->changed[l->n_changed++] = f->identity;
}

/* True when the file is as it was when it was opened, and has been so for a while. */
static bool file_settled(struct sig_library *l, const struct host_file *f, int64_t now_ns)
{
    struct file_identity now;
    struct error e;

    if (file_identity_get(f->fd, &now, &e) != 0)
        return false;
    if (now.size != f->identity.size || now.mtime_ns != f->identity.mtime_ns ||
        now.ctime_ns != f->identity.ctime_ns) {
        report_change(l, f);
        return false;
    }
    return now.mtime_ns <= now_ns - RACY_NS && now.ctime_ns <= now_ns - RACY_NS;
}

/* Asks for all files of the chain: those of the backing disks may have been read as well. */
static bool chain_settled(struct sig_library *l, const struct disk *d)
{
    bool settled = true;
    struct timespec t;
    int64_t now_ns;

    clock_gettime(CLOCK_REALTIME, &t);
    now_ns = t.tv_sec * INT64_C(1000000000) + t.tv_nsec;
    for (; d != NULL; d = disk_backing(d)) {
        struct host_file *const *files;
        size_t n = disk_files(d, &files);

        for (size_t i = 0; i < n; i++)
            settled &= !files[i]->identity.block_device && file_settled(l, files[i], now_ns);
    }
    return settled;
}

/* ---- the cache ---- */

static void tell_cache(struct sig_library *l, const struct error *e)
{
    if (l->cache_told)
        return;
    l->cache_told = true;
    problem_report(l->problems, SEVERITY_WARNING, e->code, "signature cache", PROBLEM_NO_OFFSET,
                   "%s", e->msg);
}

/* NULL when the cache has no usable entry. */
static struct sig *cache_load(struct sig_library *l, const struct disk *d, const struct id *key)
{
    AUTO(sig) *s = NULL;
    AUTO_FD int fd = -1;
    struct error e = {};
    char hex[65];

    if (l->cache == NULL || id_is_null(key))
        return NULL;
    id_to_hex(key, hex);
    if (l->cache->open(l->cache->arg, hex, &fd, &e) != 0) {
        if (e.code != ERR_NOT_FOUND)
            tell_cache(l, &e);
        return NULL;
    }
    if (sig_read(fd, "cached signature", &s, &e) == 0 &&
        ((!disk_asleep(d) && s->size != disk_size(d)) || strcmp(s->format, disk_format(d)) != 0))
        err_set(&e, ERR_FORMAT, "cached signature: it is of another disk");
    if (e.code == ERR_NONE)
        return take(s);
    problem_report(l->problems, SEVERITY_WARNING, e.code, disk_name(d), PROBLEM_NO_OFFSET,
                   "%s; it is made again", e.msg);
    return NULL;
}

static void cache_store(struct sig_library *l, const struct sig *s, const struct id *key)
{
    AUTO_FD int fd = -1;
    struct error e = {}, other;
    bool written;
    char hex[65];

    if (l->cache == NULL || id_is_null(key))
        return;
    id_to_hex(key, hex);
    if (l->cache->create(l->cache->arg, hex, &fd, &e) != 0) {
        tell_cache(l, &e);
        return;
    }
    written = sig_write(s, fd, &e) == 0;
    if (!written)
        tell_cache(l, &e);
    if (l->cache->commit(l->cache->arg, hex, written, &other) != 0)
        tell_cache(l, &other);
}

/* ---- layers ---- */

static struct layer *find_layer(struct sig_library *l, const struct disk *d, const struct id *key)
{
    for (size_t i = 0; i < l->n_layers; i++) {
        if (id_is_null(key) ? l->layers[i].disk == d : id_equal(&l->layers[i].key, key))
            return &l->layers[i];
    }
    return NULL;
}

/* Takes s. */
static struct layer *add_layer(struct sig_library *l, struct disk *d, const struct id *key,
                               struct sig *s, struct error *e)
{
    struct layer *layer;

    if (mem_grow(&l->layers, &l->cap_layers, l->n_layers + 1, sizeof *l->layers,
                 "a library of signatures", e) != 0) {
        sig_unref(s);
        return NULL;
    }
    layer = &l->layers[l->n_layers++];
    *layer = (struct layer){.key = *key, .sig = s};
    /* Another disk could come to lie where this one was. */
    if (id_is_null(key))
        layer->disk = disk_ref(d);
    return layer;
}

static struct layer *load_layer(struct sig_library *l, struct disk *d, const struct id *key,
                                struct error *e)
{
    struct layer *layer = find_layer(l, d, key);
    struct sig *s;

    if (layer != NULL || (s = cache_load(l, d, key)) == NULL)
        return layer;
    layer = add_layer(l, d, key, s, e);
    if (layer != NULL)
        layer->cached = layer->settled = true;
    return layer;
}

/* `below` is the layer of the backing disk, or NULL. */
static struct layer *scan_layer(struct sig_library *l, struct disk *d, const struct layer *below,
                                struct error *e)
{
    bool settled = below == NULL || below->settled; /* asked now: the array of layers may move */
    struct id key = layer_key(d);
    struct layer *layer;
    struct sig *s;

    if (scan_disk(d, below != NULL ? below->sig : NULL, l->scan, &s, e) != 0)
        return NULL;
    layer = add_layer(l, d, &key, s, e);
    if (layer == NULL)
        return NULL;
    layer->settled = chain_settled(l, d) && settled;
    if (layer->settled)
        cache_store(l, s, &key);
    return layer;
}

/* Layers of the chain from d down to, not including, the first one whose signature is at hand
 * (which is *found, or NULL). */
static int missing_layers(struct sig_library *l, struct disk *d, struct disk ***missing, size_t *n,
                          struct layer **found, struct error *e)
{
    size_t capacity = 0;

    for (; d != NULL; d = disk_backing(d)) {
        struct id key = layer_key(d);

        *e = (struct error){};
        *found = load_layer(l, d, &key, e);
        if (*found != NULL)
            return 0;
        if (e->code != ERR_NONE ||
            mem_grow(missing, &capacity, *n + 1, sizeof **missing, "a chain of disks", e) != 0)
            return -1;
        (*missing)[(*n)++] = d;
    }
    return 0;
}

int sig_library_get(struct sig_library *l, struct disk *d, struct sig **out,
                    struct sig_origin *origin, struct error *e)
{
    AUTO_FREE struct disk **missing = NULL;
    struct layer *layer = NULL;
    struct host_file *const *files;
    size_t n = 0;

    if (missing_layers(l, d, &missing, &n, &layer, e) != 0)
        return -1;
    if (n > 0 && disk_wake(d, e) != 0)
        return -1;
    while (n > 0) {
        layer = scan_layer(l, missing[--n], layer, e);
        if (layer == NULL)
            return -1;
    }
    *origin = (struct sig_origin){.cached = layer->cached};
    n = disk_files(d, &files);
    for (size_t i = 0; i < n; i++)
        origin->read_bytes += files[i]->read_bytes;
    *out = sig_ref(layer->sig);
    return 0;
}
