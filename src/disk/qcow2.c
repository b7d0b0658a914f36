/* SPDX-License-Identifier: GPL-2.0-or-later */
/* qcow2, versions 2 and 3. Plain clusters are only located: whoever reads them maps or reads the
 * host file itself. */
#include "base/ckd.h"
#include "base/cursor.h"
#include "base/mem.h"
#include "disk/driver.h"
#include "disk/qcow2_compressed.h"
#include "disk/qcow2_header.h"
#include "disk/qcow2_table.h"
#include "hash/id.h"

#include <pthread.h>
#include <string.h>

enum {
    HEAD = 4096,      /* bytes that hold what most headers say */
    HEAD_LEAST = 104, /* a file shorter than this holds no image */
    SNAPSHOTS_AT_ONCE = 64 << 10,
};

struct qcow2 {
    struct qcow2_layout layout;
    struct qcow2_table *table;
    struct qcow2_compressed *compressed;
    struct host_file *data; /* where plain clusters stand; borrowed from the disk */
    bool own_data;          /* that is the image itself */

    /* Preallocated images describe clusters that their file never got: holes of a sparse file. */
    bool sparse;
    pthread_mutex_t lock;           /* guards the next two */
    uint64_t known_data, known_end; /* the last stretch of `data` that was found to be no hole */
};

static bool qcow2_probe(const struct probe *p, const char **format)
{
    struct cursor c = cursor_of(p->head, p->head_length);

    (void)format;
    return cursor_be32(&c) == QCOW2_MAGIC && cursor_be32(&c) >= 2;
}

/* ---- open ---- */

static const struct disk_limits *limits_of(const struct disk_env *env)
{
    return env->limits != NULL ? env->limits : &disk_limits_default;
}

/* The first `length` bytes of the file, zeros for what it lacks. */
static uint8_t *read_head(struct host_file *f, size_t length, struct error *e)
{
    AUTO_FREE uint8_t *head = mem_array(length, 1, "qcow2 header", e);

    if (head == NULL || host_file_pread(f, head, min_u64(length, f->identity.size), 0, e) != 0)
        return NULL;
    return take(head);
}

/* The parsed header borrows from *head, which the caller frees. */
static int read_header(struct host_file *f, struct qcow2_header *h, uint8_t **head, struct error *e)
{
    bool cut = false;

    if (f->identity.size < HEAD_LEAST)
        return err_set(e, ERR_FORMAT, "the qcow2 header is cut off");
    *head = read_head(f, HEAD, e);
    if (*head == NULL)
        return -1;
    if (qcow2_header_parse(h, cursor_of(*head, HEAD), &cut, e) == 0)
        return 0;
    if (!cut)
        return -1;
    free(*head);
    *head = read_head(f, QCOW2_CLUSTER_MAX, e);
    if (*head == NULL)
        return -1;
    return qcow2_header_parse(h, cursor_of(*head, QCOW2_CLUSTER_MAX), NULL, e);
}

static char *text_string(struct qcow2_text text, struct error *e)
{
    return mem_printf(e, "%.*s", (int)text.length, (const char *)text.at);
}

static bool text_is(struct qcow2_text text, const char *name)
{
    return text.length == strlen(name) && memcmp(text.at, name, text.length) == 0;
}

/* Where the tables of the state to be read stand. */
struct state {
    uint64_t l1_offset, l1_entries;
};

struct snapshot_search {
    const char *wanted;
    bool by_name;                   /* an id comes first, as with qemu */
    struct qcow2_snapshot snapshot; /* its texts are not kept */
    bool found;
};

static void look_at_snapshot(struct snapshot_search *s, const struct qcow2_snapshot *snapshot)
{
    bool id = text_is(snapshot->id, s->wanted);

    if (s->found && !(id && s->by_name))
        return;
    if (!id && !text_is(snapshot->name, s->wanted))
        return;
    s->found = true;
    s->by_name = !id;
    s->snapshot = *snapshot;
    s->snapshot.id = s->snapshot.name = (struct qcow2_text){};
}

/* Goes through the snapshot table in windows: nobody says how long it is. */
static int search_snapshots(struct host_file *f, const struct qcow2_header *h, uint64_t table_bytes,
                            struct snapshot_search *search, struct error *e)
{
    size_t window = SNAPSHOTS_AT_ONCE;
    uint64_t at = h->snapshots_offset, size = f->identity.size;
    AUTO_FREE uint8_t *bytes = NULL;
    struct cursor c = {};

    for (uint32_t i = 0; i < h->n_snapshots; i++) {
        struct cursor before = c;
        struct qcow2_snapshot snapshot;

        while (qcow2_snapshot_parse(&snapshot, &c, e) != 0) {
            uint64_t length;

            at += bytes == NULL ? 0 : (uint64_t)(before.at - bytes);
            if (bytes != NULL && before.at == bytes) /* one entry larger than the window */
                window *= 4;
            if (window > table_bytes || at - h->snapshots_offset > table_bytes)
                return err_set(e, ERR_LIMIT, "the snapshot table takes more than %ju bytes",
                               (uintmax_t)table_bytes);
            if (bytes != NULL && at + cursor_left(&before) >= size)
                return err_set(e, ERR_FORMAT, "the snapshot table is cut off by the file's end");
            free(bytes);
            length = min_u64(window, size - at);
            bytes = mem_array(length, 1, "snapshot table", e);
            if (bytes == NULL || host_file_pread(f, bytes, length, at, e) != 0)
                return -1;
            before = c = cursor_of(bytes, length);
        }
        look_at_snapshot(search, &snapshot);
    }
    return 0;
}

static int check_snapshots(const struct host_file *f, const struct qcow2_header *h, struct error *e)
{
    uint64_t least = (uint64_t)h->n_snapshots * QCOW2_SNAPSHOT_MIN;

    if (h->n_snapshots != 0 && range_outside(h->snapshots_offset, least, f->identity.size))
        return err_set(e, ERR_FORMAT,
                       "snapshot table at offset %#jx (%u entries) lies beyond the file's end",
                       (uintmax_t)h->snapshots_offset, h->n_snapshots);
    return 0;
}

static int find_snapshot(struct disk *d, const struct disk_env *env, const struct qcow2_header *h,
                         const char *wanted, struct state *state, struct error *e)
{
    struct snapshot_search search = {.wanted = wanted};

    if (search_snapshots(d->files[0], h, limits_of(env)->table_bytes, &search, e) != 0)
        return -1;
    if (!search.found)
        return err_set(e, ERR_NOT_FOUND, "no internal snapshot '%.200s'", wanted);
    d->snapshot = mem_string(wanted, e);
    if (d->snapshot == NULL)
        return -1;
    state->l1_offset = search.snapshot.l1_offset;
    state->l1_entries = search.snapshot.l1_entries;
    if (search.snapshot.has_size)
        d->size = search.snapshot.size;
    return 0;
}

static int open_data_file(struct disk *d, const struct disk_env *env, const struct qcow2_header *h,
                          struct error *e)
{
    AUTO_FREE char *name = NULL;
    struct host_file *f = NULL;

    if (h->data_file.at == NULL)
        return err_set(e, ERR_FORMAT, "the image does not name its external data file");
    name = text_string(h->data_file, e);
    if (name == NULL)
        return -1;
    if (env->open_file(env->arg, d->files[0], name, FILE_DATA, &f, e) != 0)
        return err_wrap(e, "external data file");
    return disk_add_file(d, f, e);
}

/* Asking for holes has its price, so a file that is nearly full is taken to have none. */
static void use_data_file(struct qcow2 *q, struct host_file *f, bool own)
{
    const struct file_identity *i = &f->identity;

    q->data = f;
    q->own_data = own;
    q->sparse = !i->block_device && i->allocated < i->size - i->size / 8;
}

static int open_backing(struct disk *d, const struct disk_env *env, const struct qcow2_header *h,
                        struct error *e)
{
    AUTO_FREE char *name = NULL, *format = NULL;

    if (h->backing_name.at == NULL)
        return 0;
    name = text_string(h->backing_name, e);
    if (name == NULL)
        return -1;
    if (h->backing_format.at != NULL) {
        format = text_string(h->backing_format, e);
        if (format == NULL)
            return -1;
    }
    return disk_open_backing(d, env, name, format, e);
}

/* Reads tables; d->size is that of the state. */
static int open_state(struct disk *d, const struct disk_env *env, const struct qcow2_header *h,
                      const struct state *state, struct error *e)
{
    const struct disk_limits *limits = limits_of(env);
    uint64_t limit = min_u64(limits->virtual_size, DISK_SIZE_MAX);
    struct qcow2 *q = d->state;

    if (d->size > limit)
        return err_set(e, ERR_LIMIT, "virtual size of %ju bytes; at most %ju are read",
                       (uintmax_t)d->size, (uintmax_t)limit);
    q->layout = (struct qcow2_layout){
        .version = h->version,
        .cluster_bits = h->cluster_bits,
        .extended = (h->features & QCOW2_EXTENDED_L2) != 0,
        .data_file = (h->features & QCOW2_DATA_FILE) != 0,
        .size = d->size,
    };
    q->table = qcow2_table_new(&q->layout, d->files[0], state->l1_offset, state->l1_entries,
                               limits->table_bytes, e);
    if (q->table == NULL)
        return -1;
    q->compressed = qcow2_compressed_new(&q->layout, h->compression, d->files[0], e);
    return q->compressed == NULL ? -1 : 0;
}

static int qcow2_open(struct disk *d, const struct disk_env *env,
                      const struct disk_options *options, int socket, struct error *e)
{
    AUTO_FREE uint8_t *head = NULL;
    struct qcow2_header h;
    struct state state;

    (void)socket;
    d->state = mem_array(1, sizeof(struct qcow2), "qcow2 image", e);
    if (d->state == NULL)
        return -1;
    pthread_mutex_init(&((struct qcow2 *)d->state)->lock, NULL);
    if (read_header(d->files[0], &h, &head, e) != 0)
        return -1;
    state = (struct state){h.l1_offset, h.l1_entries};
    d->size = h.size;
    d->n_snapshots = h.n_snapshots;
    if (check_snapshots(d->files[0], &h, e) != 0)
        return -1;
    if (options->snapshot != NULL && find_snapshot(d, env, &h, options->snapshot, &state, e) != 0)
        return -1;
    if (open_state(d, env, &h, &state, e) != 0)
        return -1;
    if (h.features & QCOW2_CORRUPT)
        problem_report(&env->problems, SEVERITY_WARNING, ERR_FORMAT, d->name, PROBLEM_NO_OFFSET,
                       "the image is marked corrupt; it is read as far as it goes");
    if ((h.features & QCOW2_DATA_FILE) && open_data_file(d, env, &h, e) != 0)
        return -1;
    use_data_file(d->state, d->files[h.features & QCOW2_DATA_FILE ? 1 : 0],
                  !(h.features & QCOW2_DATA_FILE));
    return open_backing(d, env, &h, e);
}

static void qcow2_close(struct disk *d)
{
    struct qcow2 *q = d->state;

    if (q == NULL)
        return;
    qcow2_table_free(q->table);
    qcow2_compressed_free(q->compressed);
    pthread_mutex_destroy(&q->lock);
    free(q);
}

/* ---- reading ---- */

/* Cuts a run at the last cluster that begins within its file. One that begins beyond it was never
 * written: the image is cut short. QEMU reads zeros there; who compares images wants to know. A
 * file that has grown since is being written to, which is told elsewhere. */
static int cut_at_end(const struct qcow2 *q, const struct qcow2_run *run, struct extent *out,
                      struct error *e)
{
    uint64_t cluster = (uint64_t)1 << q->layout.cluster_bits;
    uint64_t size = q->data->identity.size, end = div_up(size, cluster) * cluster;
    struct file_identity now;

    if (!q->own_data) /* an external data file may end where its zeros begin */
        return 0;
    if (run->host < end) {
        out->length = min_u64(out->length, end - run->host);
        return 0;
    }
    if (file_identity_get(q->data->fd, &now, e) != 0)
        return -1;
    if (now.size > size)
        return 0;
    return err_set(
        e, ERR_FORMAT,
        "data cluster at offset %#jx lies beyond the file's end (%ju bytes): the image is "
        "cut short",
        (uintmax_t)run->host, (uintmax_t)size);
}

/* A plain run, as far as the host file holds it or has a hole there. */
static int locate(struct qcow2 *q, const struct qcow2_run *run, struct extent *out, struct error *e)
{
    uint64_t end = 0;
    bool hole = false;

    out->flags = EXTENT_LOCATED;
    out->file = q->data;
    out->host_offset = run->host;
    if (cut_at_end(q, run, out, e) != 0)
        return -1;
    if (!q->sparse || run->host >= q->data->identity.size)
        return 0;
    pthread_mutex_lock(&q->lock);
    if (run->host >= q->known_data && run->host < q->known_end)
        end = q->known_end;
    pthread_mutex_unlock(&q->lock);
    if (end == 0 && host_file_hole(q->data, run->host, &hole, &end, e) != 0)
        return -1;
    out->length = min_u64(out->length, end - run->host);
    if (hole) {
        out->flags = EXTENT_ZERO | EXTENT_HOLE;
        return 0;
    }
    pthread_mutex_lock(&q->lock);
    q->known_data = run->host;
    q->known_end = end;
    pthread_mutex_unlock(&q->lock);
    return 0;
}

static int qcow2_extent(struct disk *d, uint64_t offset, struct extent *out, struct error *e)
{
    struct qcow2 *q = d->state;
    struct qcow2_run run;

    if (qcow2_table_run(q->table, offset, &run, e) != 0)
        return -1;
    *out = (struct extent){.offset = offset, .length = run.length};
    switch (run.kind) {
    case QCOW2_UNALLOCATED:
        out->flags = EXTENT_HOLE | (d->backing != NULL ? EXTENT_BASE : EXTENT_ZERO);
        break;
    case QCOW2_ZERO:
        out->flags = EXTENT_HOLE | EXTENT_ZERO;
        break;
    case QCOW2_ZERO_ALLOCATED:
        out->flags = EXTENT_ZERO;
        break;
    case QCOW2_DATA:
        return locate(q, &run, out, e);
    case QCOW2_COMPRESSED:
        out->flags = EXTENT_COMPRESSED;
        break;
    }
    return 0;
}

static int qcow2_pread(struct disk *d, void *bytes, size_t length, uint64_t offset, struct error *e)
{
    struct qcow2 *q = d->state;
    struct qcow2_run run;

    if (qcow2_table_run(q->table, offset, &run, e) != 0)
        return -1;
    if (run.kind != QCOW2_COMPRESSED || length > run.length)
        return err_set(e, ERR_INTERNAL,
                       "qcow2: a read of %zu bytes at %ju is not within one "
                       "compressed cluster",
                       length, (uintmax_t)offset);
    return qcow2_compressed_read(q->compressed, run.host,
                                 offset & (((uint64_t)1 << q->layout.cluster_bits) - 1), bytes,
                                 length, e);
}

const struct disk_driver disk_driver_qcow2 = {
    .name = "qcow2",
    .probe = qcow2_probe,
    .open = qcow2_open,
    .close = qcow2_close,
    .extent = qcow2_extent,
    .pread = qcow2_pread,
};
