/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "disk/qcow2_table.h"

#include "base/ckd.h"
#include "base/cursor.h"
#include "base/mem.h"

#include <pthread.h>

#define OFFSET_MASK UINT64_C(0x00fffffffffffe00) /* of L1 entries and standard L2 descriptors */
#define FLAG_COPIED (UINT64_C(1) << 63)
#define FLAG_COMPRESSED (UINT64_C(1) << 62)
#define FLAG_ZERO UINT64_C(1)

enum {
    SUBCLUSTERS = 32,
    SLICE_MAX = 16 << 10,    /* bytes of an L2 table that are read at once */
    CACHE_BYTES = 128 << 10, /* of slices, at most */
    SLOTS_MAX = 64,
    SPAN_ENTRIES = 8192, /* L2 entries that one answer looks at */
    SPAN_SLICES = 16,    /* slices it may need from the file */
    SPAN_L1 = 1 << 16,   /* L1 entries */
};

/* A place of the cache; each slice has exactly one, so threads in different parts of the disk do
 * not meet. */
struct slot {
    pthread_mutex_t lock;
    uint64_t offset; /* of the slice in the file; 0: empty (the header stands there) */
    uint64_t *words; /* host order; allocated at the first use */
};

struct qcow2_table {
    struct qcow2_layout layout;
    struct host_file *file;
    uint64_t *l1; /* offsets of L2 tables; 0: none */
    uint64_t n_l1;
    unsigned slice_bits; /* bytes of a slice */
    unsigned entry_bits; /* bytes of an L2 entry: 3 or 4 */
    size_t n_slots;
    struct slot slots[SLOTS_MAX];
};

/* ---- entries ---- */

static unsigned layout_entry_bits(const struct qcow2_layout *l)
{
    return l->extended ? 4 : 3;
}

unsigned qcow2_l1_bits(const struct qcow2_layout *l)
{
    return 2 * l->cluster_bits - layout_entry_bits(l);
}

void qcow2_compressed_place(const struct qcow2_layout *l, uint64_t descriptor, uint64_t *offset,
                            uint64_t *length)
{
    unsigned shift = 62 - (l->cluster_bits - 8);
    uint64_t sectors = (descriptor & (FLAG_COMPRESSED - 1)) >> shift;

    *offset = descriptor & ((UINT64_C(1) << shift) - 1);
    *length = (sectors + 1) * 512 - *offset % 512;
}

/* The kind of one subcluster (or of the whole cluster, without extended entries), as qemu's
 * block/qcow2.h decides it. False: a contradiction. */
static bool entry_kind(const struct qcow2_layout *l, uint64_t entry, uint64_t bitmap,
                       unsigned index, enum qcow2_kind *kind)
{
    /* offset 0 is a cluster of an external data file only when the copied flag says so */
    bool allocated = (entry & OFFSET_MASK) != 0 || (l->data_file && (entry & FLAG_COPIED));

    if (entry & FLAG_COMPRESSED) {
        *kind = QCOW2_COMPRESSED;
        return true;
    }
    if (!l->extended && (entry & FLAG_ZERO)) {
        *kind = (entry & OFFSET_MASK) != 0 ? QCOW2_ZERO_ALLOCATED : QCOW2_ZERO;
        return l->version >= 3;
    }
    *kind = allocated ? QCOW2_DATA : QCOW2_UNALLOCATED;
    if (!l->extended)
        return true;
    if (allocated ? (bitmap >> 32 & bitmap) != 0 : (uint32_t)bitmap != 0)
        return false;
    if (bitmap >> (32 + index) & 1)
        *kind = allocated ? QCOW2_ZERO_ALLOCATED : QCOW2_ZERO;
    else if (!(bitmap >> index & 1))
        *kind = QCOW2_UNALLOCATED;
    return true;
}

static int check_host(const struct qcow2_layout *l, uint64_t entry, uint64_t guest, struct error *e)
{
    uint64_t host = entry & OFFSET_MASK;

    if (host & ((UINT64_C(1) << l->cluster_bits) - 1))
        return err_set(e, ERR_FORMAT,
                       "the cluster for disk offset %#jx stands at %#jx, not aligned to clusters",
                       (uintmax_t)guest, (uintmax_t)host);
    if (l->data_file && host != guest)
        return err_set(e, ERR_FORMAT,
                       "the cluster for disk offset %#jx stands at %#jx of the external data file",
                       (uintmax_t)guest, (uintmax_t)host);
    return 0;
}

int qcow2_entry_run(const struct qcow2_layout *l, uint64_t entry, uint64_t bitmap, uint64_t offset,
                    struct qcow2_run *out, struct error *e)
{
    uint64_t cluster = UINT64_C(1) << l->cluster_bits, within = offset & (cluster - 1);
    unsigned sub_bits = l->extended ? l->cluster_bits - 5 : l->cluster_bits;
    unsigned n = l->extended ? SUBCLUSTERS : 1, index = (unsigned)(within >> sub_bits);
    struct qcow2_run run = {.host = 0};
    enum qcow2_kind next;

    if (!entry_kind(l, entry, bitmap, index, &run.kind))
        return err_set(e, ERR_FORMAT,
                       "the L2 entry for disk offset %#jx contradicts itself (%#jx, %#jx)",
                       (uintmax_t)offset, (uintmax_t)entry, (uintmax_t)bitmap);
    if (run.kind == QCOW2_COMPRESSED) {
        if (l->data_file)
            return err_set(e, ERR_FORMAT,
                           "compressed cluster for disk offset %#jx, with an external data file",
                           (uintmax_t)offset);
        index = n - 1;
        run.host = entry & (FLAG_COMPRESSED - 1);
    } else if (run.kind == QCOW2_DATA || run.kind == QCOW2_ZERO_ALLOCATED) {
        if (check_host(l, entry, offset - within, e) != 0)
            return -1;
        if (run.kind == QCOW2_DATA)
            run.host = (entry & OFFSET_MASK) + within;
    }
    while (index + 1 < n && entry_kind(l, entry, bitmap, index + 1, &next) && next == run.kind)
        index++;
    run.length = ((uint64_t)(index + 1) << sub_bits) - within;
    *out = run;
    return 0;
}

/* ---- tables ---- */

/* Reads n words of the file, turned to host order. */
static int read_words(struct host_file *f, uint64_t offset, uint64_t *words, size_t n,
                      struct error *e)
{
    struct cursor c = cursor_of(words, n * 8);

    if (host_file_pread(f, words, n * 8, offset, e) != 0)
        return -1;
    for (size_t i = 0; i < n; i++)
        words[i] = cursor_be64(&c);
    return 0;
}

static int read_l1(struct qcow2_table *t, uint64_t offset, struct error *e)
{
    if (read_words(t->file, offset, t->l1, t->n_l1, e) != 0)
        return err_wrap(e, "L1 table");
    for (uint64_t i = 0; i < t->n_l1; i++)
        t->l1[i] &= OFFSET_MASK;
    return 0;
}

struct qcow2_table *qcow2_table_new(const struct qcow2_layout *l, struct host_file *f,
                                    uint64_t offset, uint64_t entries, uint64_t table_bytes,
                                    struct error *e)
{
    uint64_t needed = div_up(l->size, UINT64_C(1) << qcow2_l1_bits(l)), bytes;
    AUTO(qcow2_table) *t = mem_array(1, sizeof *t, "tables", e);

    if (t == NULL)
        return NULL;
    if (needed > entries) {
        err_set(e, ERR_FORMAT, "L1 table of %ju entries; the virtual size needs %ju",
                (uintmax_t)entries, (uintmax_t)needed);
        return NULL;
    }
    bytes = needed * 8; /* entries stand in 32 bits */
    if (offset % (UINT64_C(1) << l->cluster_bits) != 0) {
        err_set(e, ERR_FORMAT, "L1 table at offset %#jx is not aligned to clusters",
                (uintmax_t)offset);
        return NULL;
    }
    if (range_outside(offset, bytes, f->identity.size)) {
        err_set(e, ERR_FORMAT, "L1 table at offset %#jx (%ju bytes) lies beyond the file's end",
                (uintmax_t)offset, (uintmax_t)bytes);
        return NULL;
    }
    if (bytes > table_bytes) {
        err_set(e, ERR_LIMIT, "L1 table of %ju bytes; at most %ju are read", (uintmax_t)bytes,
                (uintmax_t)table_bytes);
        return NULL;
    }
    t->layout = *l;
    t->file = f;
    t->n_l1 = needed;
    t->entry_bits = layout_entry_bits(l);
    t->slice_bits = (unsigned)__builtin_ctzll(min_u64(UINT64_C(1) << l->cluster_bits, SLICE_MAX));
    t->l1 = mem_array(needed, 8, "L1 table", e);
    if (t->l1 == NULL || read_l1(t, offset, e) != 0)
        return NULL;
    t->n_slots = min_u64(CACHE_BYTES >> t->slice_bits, SLOTS_MAX);
    for (size_t i = 0; i < t->n_slots; i++)
        pthread_mutex_init(&t->slots[i].lock, NULL);
    return take(t);
}

void qcow2_table_free(struct qcow2_table *t)
{
    if (t == NULL)
        return;
    for (size_t i = 0; i < t->n_slots; i++) {
        pthread_mutex_destroy(&t->slots[i].lock);
        free(t->slots[i].words);
    }
    free(t->l1);
    free(t);
}

/* ---- runs ---- */

struct walk {
    struct qcow2_run run;
    uint64_t at; /* disk offset behind the run */
    bool ended;
    unsigned entries, slices, l1; /* looked at so far */
};

/* Adds what follows; or ends the walk. */
static void walk_add(struct walk *w, const struct qcow2_run *next)
{
    bool first = w->run.length == 0;

    if (!first && (next->kind != w->run.kind || next->kind == QCOW2_COMPRESSED ||
                   (next->kind == QCOW2_DATA && next->host != w->run.host + w->run.length))) {
        w->ended = true;
        return;
    }
    if (first)
        w->run = *next;
    else
        w->run.length += next->length;
    w->at += next->length;
    w->ended = next->kind == QCOW2_COMPRESSED;
}

/* Brings the slice at `offset` of the file into the slot, which the caller has locked. */
static int slot_load(struct qcow2_table *t, struct slot *s, uint64_t offset, struct error *e)
{
    size_t n = (size_t)1 << (t->slice_bits - 3);

    if (s->words == NULL)
        s->words = mem_array(n, 8, "L2 table", e);
    if (s->words == NULL)
        return -1;
    s->offset = 0;
    if (read_words(t->file, offset, s->words, n, e) != 0)
        return err_wrap(e, "L2 table");
    s->offset = offset;
    return 0;
}

/* Walks entries of one slice from w->at on. */
static int walk_entries(struct qcow2_table *t, struct walk *w, const uint64_t *words,
                        struct error *e)
{
    size_t n = (size_t)1 << (t->slice_bits - t->entry_bits);
    size_t i = (w->at >> t->layout.cluster_bits) & (n - 1);

    while (i < n && !w->ended) {
        struct qcow2_run next;
        uint64_t end = ((w->at >> t->layout.cluster_bits) + 1) << t->layout.cluster_bits;
        uint64_t entry = words[i << (t->entry_bits - 3)];
        uint64_t bitmap = t->layout.extended ? words[2 * i + 1] : 0;

        if (qcow2_entry_run(&t->layout, entry, bitmap, w->at, &next, e) != 0)
            return -1;
        walk_add(w, &next);
        if (w->at == end) {
            i++;
            w->ended |= ++w->entries >= SPAN_ENTRIES;
        }
    }
    return 0;
}

/* Walks the slice that describes w->at; `table` is the L2 table's offset. */
static int walk_slice(struct qcow2_table *t, struct walk *w, uint64_t table, struct error *e)
{
    uint64_t cluster = UINT64_C(1) << t->layout.cluster_bits;
    uint64_t index = (w->at >> t->layout.cluster_bits) & ((cluster >> t->entry_bits) - 1);
    uint64_t number = index >> (t->slice_bits - t->entry_bits);
    uint64_t offset = table + (number << t->slice_bits);
    struct slot *s;
    int status = 0;

    if (table % cluster != 0)
        return err_set(e, ERR_FORMAT, "L2 table at offset %#jx is not aligned to clusters",
                       (uintmax_t)table);
    if (range_outside(table, cluster, t->file->identity.size))
        return err_set(e, ERR_FORMAT, "L2 table at offset %#jx lies beyond the file's end",
                       (uintmax_t)table);
    /* by the disk's offset, so that neighbours have different slots */
    s = &t->slots[(w->at >> (t->layout.cluster_bits + t->slice_bits - t->entry_bits)) % t->n_slots];
    pthread_mutex_lock(&s->lock);
    if (s->offset != offset) {
        /* an answer that exists is not made longer at any price */
        if (w->run.length > 0 && ++w->slices >= SPAN_SLICES)
            w->ended = true;
        else
            status = slot_load(t, s, offset, e);
    }
    if (status == 0)
        status = walk_entries(t, w, s->words, e);
    pthread_mutex_unlock(&s->lock);
    return status;
}

int qcow2_table_run(struct qcow2_table *t, uint64_t offset, struct qcow2_run *out, struct error *e)
{
    unsigned l1_bits = qcow2_l1_bits(&t->layout);
    struct walk w = {.at = offset};

    while (!w.ended && w.at < t->layout.size) {
        uint64_t index = w.at >> l1_bits, table = t->l1[index];
        struct qcow2_run none = {QCOW2_UNALLOCATED, ((index + 1) << l1_bits) - w.at, 0};

        if (table == 0) {
            walk_add(&w, &none);
            w.ended |= ++w.l1 >= SPAN_L1;
        } else if (walk_slice(t, &w, table, e) != 0) {
            /* what is damaged behind the run is told to whoever asks there */
            if (w.run.length == 0 || e->code != ERR_FORMAT)
                return -1;
            break;
        }
    }
    *out = w.run;
    return 0;
}
