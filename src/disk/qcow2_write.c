/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "disk/qcow2_write.h"

#include "base/buf.h"
#include "base/ckd.h"
#include "base/io.h"
#include "base/mem.h"
#include "hash/id.h"

#include <assert.h>
#include <endian.h>
#include <string.h>

#define QCOW2_MAGIC 0x514649fbu /* "QFI\xfb" */
#define QCOW2_HEADER_LENGTH 104u
#define QCOW2_EXTENSION_BACKING_FORMAT 0xe2792acau
#define QCOW2_COPIED ((uint64_t)1 << 63)
#define QCOW2_ZERO ((uint64_t)1)
#define QCOW2_CLUSTER_BITS 16u
#define QCOW2_REFCOUNT_ORDER 4u       /* 1 << 4 bits */
#define L2_ENTRIES (CLUSTER_SIZE / 8) /* clusters that one L2 table maps */
#define REFCOUNTS_PER_BLOCK (CLUSTER_SIZE / 2)
#define L1_BYTES_MAX ((uint64_t)32 << 20) /* QCOW_MAX_L1_SIZE of QEMU's block/qcow2.h */
#define BACKING_NAME_MAX 1023
#define BACKING_FORMAT_MAX 15

static_assert(CLUSTER_SIZE == 1u << QCOW2_CLUSTER_BITS);

struct qcow2_writer {
    int fd;
    uint64_t virtual_size;
    char *backing_name, *backing_format; /* owned; NULL: none */
    uint64_t n_l1;
    uint64_t *l1;      /* big endian, n_l1 entries in whole clusters */
    uint64_t *l2;      /* the table of the current span, big endian */
    uint64_t span;     /* that it is for; UINT64_MAX: none yet */
    uint64_t next;     /* index below which nothing may come any more */
    uint64_t position; /* where the next cluster of the file goes */
    bool broken;       /* a call failed: the file is of no use */
};

/* ---- the size ---- */

static uint64_t l1_entries(uint64_t virtual_size)
{
    return max_u64(1, div_up(virtual_size, (uint64_t)CLUSTER_SIZE * L2_ENTRIES));
}

static uint64_t l1_clusters(uint64_t virtual_size)
{
    return div_up(l1_entries(virtual_size), CLUSTER_SIZE / 8);
}

/* Refcount blocks and table clusters that count `others` clusters and themselves. */
static void refcount_clusters(uint64_t others, uint64_t *blocks, uint64_t *table)
{
    uint64_t b = 0, t = 0, total;

    do {
        total = others + b + t;
        b = div_up(total, REFCOUNTS_PER_BLOCK);
        t = div_up(b, CLUSTER_SIZE / 8);
    } while (others + b + t != total);
    *blocks = b;
    *table = t;
}

uint64_t qcow2_written_size(uint64_t virtual_size, uint64_t n_data, uint64_t n_tables)
{
    uint64_t others = 1 + l1_clusters(virtual_size) + n_data + n_tables;
    uint64_t blocks, table;

    refcount_clusters(others, &blocks, &table);
    return (others + blocks + table) * CLUSTER_SIZE;
}

/* ---- the writer ---- */

static int check_options(const struct qcow2_write_options *o, struct error *e)
{
    if (l1_entries(o->virtual_size) > L1_BYTES_MAX / 8)
        return err_set(e, ERR_LIMIT, "a disk of %ju bytes is too large for qcow2",
                       (uintmax_t)o->virtual_size);
    if ((o->backing_name == NULL) != (o->backing_format == NULL))
        return err_set(e, ERR_INTERNAL, "a backing file needs a name and a format");
    if (o->backing_name == NULL)
        return 0;
    if (strlen(o->backing_format) > BACKING_FORMAT_MAX)
        return err_set(e, ERR_INTERNAL, "no format is called %s", o->backing_format);
    if (o->backing_name[0] == 0 || strlen(o->backing_name) > BACKING_NAME_MAX)
        return err_set(e, ERR_LIMIT, "a backing file's name has 1 to %d bytes, not %zu",
                       BACKING_NAME_MAX, strlen(o->backing_name));
    return 0;
}

struct qcow2_writer *qcow2_writer_new(int fd, const struct qcow2_write_options *o, struct error *e)
{
    AUTO(qcow2_writer) *w = NULL;

    if (check_options(o, e) < 0 || (w = mem_array(1, sizeof *w, "a qcow2 writer", e)) == NULL)
        return NULL;
    w->fd = fd;
    w->virtual_size = div_up(o->virtual_size, 512) * 512;
    w->span = UINT64_MAX;
    w->position = CLUSTER_SIZE;
    w->n_l1 = l1_entries(w->virtual_size);
    w->l1 = mem_array(l1_clusters(w->virtual_size), CLUSTER_SIZE, "an L1 table", e);
    w->l2 = mem_array(1, CLUSTER_SIZE, "an L2 table", e);
    if (w->l1 == NULL || w->l2 == NULL)
        return NULL;
    if (o->backing_name != NULL) {
        w->backing_name = mem_string(o->backing_name, e);
        w->backing_format = mem_string(o->backing_format, e);
        if (w->backing_name == NULL || w->backing_format == NULL)
            return NULL;
    }
    return take(w);
}

void qcow2_writer_free(struct qcow2_writer *w)
{
    if (w == NULL)
        return;
    free(w->backing_name);
    free(w->backing_format);
    free(w->l1);
    free(w->l2);
    free(w);
}

/* Appends whole clusters. */
static int append(struct qcow2_writer *w, const void *bytes, size_t length, struct error *e)
{
    if (io_pwrite(w->fd, bytes, length, w->position, e) < 0)
        return -1;
    w->position += length;
    return 0;
}

/* Writes the L2 table of the current span, if there is one. */
static int end_span(struct qcow2_writer *w, struct error *e)
{
    uint64_t at = w->position;

    if (w->span == UINT64_MAX)
        return 0;
    if (append(w, w->l2, CLUSTER_SIZE, e) < 0)
        return -1;
    w->l1[w->span] = htobe64(at | QCOW2_COPIED);
    memset(w->l2, 0, CLUSTER_SIZE);
    w->span = UINT64_MAX;
    return 0;
}

/* Makes the cluster's span the current one. */
static int begin_cluster(struct qcow2_writer *w, uint64_t index, struct error *e)
{
    if (w->broken)
        return err_set(e, ERR_INTERNAL, "the qcow2 writer has failed before");
    if (index >= div_up(w->virtual_size, CLUSTER_SIZE) || index < w->next)
        return err_set(e, ERR_INTERNAL, "cluster %ju cannot be written here", (uintmax_t)index);
    if (w->span != index / L2_ENTRIES && end_span(w, e) < 0)
        return -1;
    w->span = index / L2_ENTRIES;
    w->next = index + 1;
    return 0;
}

/* One failure is for good: what was written by then is no prefix of an image. */
static int ended(struct qcow2_writer *w, int result)
{
    w->broken |= result < 0;
    return result;
}

static int write_data(struct qcow2_writer *w, uint64_t index, const void *bytes, struct error *e)
{
    uint64_t at;

    if (begin_cluster(w, index, e) < 0)
        return -1;
    at = w->position;
    if (append(w, bytes, CLUSTER_SIZE, e) < 0)
        return -1;
    w->l2[index % L2_ENTRIES] = htobe64(at | QCOW2_COPIED);
    return 0;
}

int qcow2_write_data(struct qcow2_writer *w, uint64_t index, const void *bytes, struct error *e)
{
    return ended(w, write_data(w, index, bytes, e));
}

int qcow2_write_zero(struct qcow2_writer *w, uint64_t index, struct error *e)
{
    if (ended(w, begin_cluster(w, index, e)) < 0)
        return -1;
    w->l2[index % L2_ENTRIES] = htobe64(QCOW2_ZERO);
    return 0;
}

/* ---- the end of the file, and its header ---- */

struct tables {
    uint64_t l1, refcount_table; /* host offsets */
    uint64_t refcount_table_clusters;
};

static int write_refcounts(struct qcow2_writer *w, struct tables *t, struct error *e)
{
    uint64_t others = w->position / CLUSTER_SIZE, blocks, left, first = w->position;
    AUTO_FREE uint16_t *block = mem_array(1, CLUSTER_SIZE, "a refcount block", e);
    AUTO_FREE uint64_t *table = NULL;

    refcount_clusters(others, &blocks, &t->refcount_table_clusters);
    table = mem_array(t->refcount_table_clusters, CLUSTER_SIZE, "a refcount table", e);
    if (block == NULL || table == NULL)
        return -1;
    left = others + blocks + t->refcount_table_clusters;
    for (uint64_t i = 0; i < blocks; i++) {
        for (size_t k = 0; k < REFCOUNTS_PER_BLOCK; k++)
            block[k] = k < left ? htobe16(1) : 0;
        left -= min_u64(left, REFCOUNTS_PER_BLOCK);
        table[i] = htobe64(first + i * CLUSTER_SIZE);
        if (append(w, block, CLUSTER_SIZE, e) < 0)
            return -1;
    }
    t->refcount_table = w->position;
    return append(w, table, t->refcount_table_clusters * CLUSTER_SIZE, e);
}

static void put_backing_format(struct buf *b, const char *format)
{
    size_t length = strlen(format);

    buf_put_be32(b, QCOW2_EXTENSION_BACKING_FORMAT);
    buf_put_be32(b, (uint32_t)length);
    buf_put(b, format, length);
    buf_put(b, (const char[8]){}, (8 - length % 8) % 8);
}

/* Where the backing file's name begins: after the header, its format and the last extension. */
static uint64_t name_offset(const struct qcow2_writer *w)
{
    return QCOW2_HEADER_LENGTH + 8 + div_up(strlen(w->backing_format), 8) * 8 + 8;
}

static void put_header(struct buf *b, const struct qcow2_writer *w, const struct tables *t)
{
    bool backed = w->backing_name != NULL;

    buf_put_be32(b, QCOW2_MAGIC);
    buf_put_be32(b, 3); /* version */
    buf_put_be64(b, backed ? name_offset(w) : 0);
    buf_put_be32(b, backed ? (uint32_t)strlen(w->backing_name) : 0);
    buf_put_be32(b, QCOW2_CLUSTER_BITS);
    buf_put_be64(b, w->virtual_size);
    buf_put_be32(b, 0); /* no encryption */
    buf_put_be32(b, (uint32_t)w->n_l1);
    buf_put_be64(b, t->l1);
    buf_put_be64(b, t->refcount_table);
    buf_put_be32(b, (uint32_t)t->refcount_table_clusters);
    buf_put_be32(b, 0); /* snapshots: none */
    buf_put_be64(b, 0); /* and nowhere */
    buf_put_be64(b, 0); /* incompatible features */
    buf_put_be64(b, 0); /* compatible features */
    buf_put_be64(b, 0); /* autoclear features */
    buf_put_be32(b, QCOW2_REFCOUNT_ORDER);
    buf_put_be32(b, QCOW2_HEADER_LENGTH);
    if (backed)
        put_backing_format(b, w->backing_format);
    buf_put_be64(b, 0); /* end of the extensions */
    if (backed)
        buf_put(b, w->backing_name, strlen(w->backing_name));
}

static int write_header(struct qcow2_writer *w, const struct tables *t, struct error *e)
{
    AUTO_BUF b = {};
    size_t rest;

    put_header(&b, w, t);
    if (buf_check(&b, "a qcow2 header", e) < 0)
        return -1;
    rest = CLUSTER_SIZE - b.length;
    if (buf_extend(&b, rest) == NULL)
        return buf_check(&b, "a qcow2 header", e);
    memset(b.bytes + (CLUSTER_SIZE - rest), 0, rest);
    return io_pwrite(w->fd, b.bytes, b.length, 0, e);
}

static int write_finish(struct qcow2_writer *w, struct error *e)
{
    struct tables t = {};

    if (w->broken)
        return err_set(e, ERR_INTERNAL, "the qcow2 writer has failed before");
    if (end_span(w, e) < 0)
        return -1;
    t.l1 = w->position;
    if (append(w, w->l1, l1_clusters(w->virtual_size) * CLUSTER_SIZE, e) < 0)
        return -1;
    if (write_refcounts(w, &t, e) < 0)
        return -1;
    return write_header(w, &t, e);
}

int qcow2_write_finish(struct qcow2_writer *w, struct error *e)
{
    int result = write_finish(w, e);

    w->broken = true; /* one image a writer */
    return result;
}
