/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "cluster/labels.h"

#include "base/ckd.h"
#include "base/mem.h"
#include "cluster/walk.h"

#include <string.h>
#include <sys/auxv.h>

#define NO_DISK UINT32_MAX

/* A distinct id of a column, and the disk that brought it. */
struct label_entry {
    const struct id *id;
    uint16_t column, label;
    uint32_t disk;
};

struct labels {
    const struct sig *const *sigs;
    size_t n, columns;
    size_t stride;      /* of cells and narrow */
    size_t n_rows;      /* in use */
    uint32_t *before;   /* n + 1: rows before disk i */
    uint32_t *row_disk; /* rows */
    uint32_t *row_data;
    uint16_t *cells; /* labels as they are given: rows x stride */
    uint8_t *narrow; /* those of columns with at most 255 ids; other columns are 0 */
    uint16_t *wide;  /* the columns with more: rows x wide_stride */
    size_t wide_stride, wide_room;
    uint64_t *data; /* bitmaps of what is not 0 in narrow, then in wide: rows x words */
    size_t words, data_room;
    uint32_t *next; /* labels of a column so far */

    /* Ids by (column, id): slots of 32 bits of the hash and the entry's index + 1. */
    uint64_t *slots;
    size_t n_slots;
    struct label_entry *entries;
    size_t n_entries, entries_room;
    uint64_t key[4]; /* random: who chooses ids must not choose where they collide */

    /* The disk whose ids a disk had most lately: tried first, also at the next positions. */
    uint32_t *sibling;
};

void labels_free(struct labels *l)
{
    if (l == NULL)
        return;
    free(l->before);
    free(l->row_disk);
    free(l->row_data);
    free(l->cells);
    free(l->narrow);
    free(l->wide);
    free(l->data);
    free(l->next);
    free(l->slots);
    free(l->entries);
    free(l->sibling);
    free(l);
}

/* Rows of `elements` each with room for a whole group of the kernel behind the last; 64-aligned. */
static void *rows_new(size_t rows, size_t elements, size_t size, struct error *e)
{
    size_t bytes;
    void *p = NULL;

    if (ckd_mul(&bytes, rows + KERNEL_ROWS, elements * size) ||
        (p = aligned_alloc(64, (bytes + 127) / 64 * 64)) == NULL)
        err_memory(e, "labels");
    else
        memset(p, 0, bytes);
    return p;
}

static uint64_t mix(uint64_t x)
{
    x = (x ^ x >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
    x = (x ^ x >> 27) * UINT64_C(0x94d049bb133111eb);
    return x ^ x >> 31;
}

/* From the 16 random bytes that the kernel gives each process: a sealed process asks nobody. */
static void key_make(uint64_t key[4])
{
    const void *bytes = (const void *)getauxval(AT_RANDOM); // NOLINT(performance-no-int-to-ptr)
    uint64_t seed[2] = {1, 2};

    if (bytes != NULL)
        memcpy(seed, bytes, sizeof seed);
    for (size_t k = 0; k < 4; k++)
        key[k] = mix(seed[0] + k * UINT64_C(0x9e3779b97f4a7c15)) ^ mix(~seed[1] - k);
}

struct labels *labels_new(const struct sig *const *sigs, size_t n, size_t columns, struct error *e)
{
    AUTO(labels) *l = mem_array(1, sizeof *l, "labels", e);

    if (l == NULL)
        return NULL;
    l->sigs = sigs;
    l->n = n;
    l->columns = columns;
    l->stride = div_up(columns, KERNEL_UNIT) * KERNEL_UNIT;
    l->n_slots = 1 << 14;
    key_make(l->key);
    if ((l->before = mem_array(n + 1, sizeof *l->before, "labels", e)) == NULL ||
        (l->row_disk = mem_array(n, sizeof *l->row_disk, "labels", e)) == NULL ||
        (l->row_data = mem_array(n + KERNEL_ROWS, sizeof *l->row_data, "labels", e)) == NULL ||
        (l->next = mem_array(columns, sizeof *l->next, "labels", e)) == NULL ||
        (l->sibling = mem_array(n, sizeof *l->sibling, "labels", e)) == NULL ||
        (l->slots = mem_array(l->n_slots, sizeof *l->slots, "labels", e)) == NULL ||
        (l->cells = rows_new(n, l->stride, sizeof *l->cells, e)) == NULL ||
        (l->narrow = rows_new(n, l->stride, sizeof *l->narrow, e)) == NULL)
        return NULL;
    memset(l->sibling, 0xff, n * sizeof *l->sibling);
    return take(l);
}

static uint32_t hash_cell(const struct labels *l, size_t column, const struct id *id)
{
    uint64_t w[4];
    unsigned __int128 a, b;

    memcpy(w, id, sizeof w);
    a = (unsigned __int128)(w[0] ^ l->key[0]) * (w[1] ^ l->key[1]);
    b = (unsigned __int128)(w[2] ^ l->key[2]) * (w[3] ^ l->key[3] ^ column);
    return (uint32_t)(mix((uint64_t)(a >> 64) ^ (uint64_t)a ^ (uint64_t)b ^ column) ^
                      (uint64_t)(b >> 64));
}

static int slots_grow(struct labels *l, struct error *e)
{
    size_t larger = l->n_slots * 2;
    uint64_t *slots;

    if (larger > (size_t)1 << 31)
        return err_set(e, ERR_LIMIT, "too many different clusters in one slab");
    slots = mem_array(larger, sizeof *slots, "labels", e);
    if (slots == NULL)
        return -1;
    for (size_t k = 0; k < l->n_slots; k++) {
        size_t at = (l->slots[k] >> 32) & (larger - 1);

        if (l->slots[k] == 0)
            continue;
        while (slots[at] != 0)
            at = (at + 1) & (larger - 1);
        slots[at] = l->slots[k];
    }
    free(l->slots);
    l->slots = slots;
    l->n_slots = larger;
    return 0;
}

/* The entry of an id in a column, made when it is new; NULL on error. */
static const struct label_entry *entry_find(struct labels *l, size_t column, const struct id *id,
                                            uint32_t disk, struct error *e)
{
    uint32_t hash = hash_cell(l, column, id);
    size_t at = hash & (l->n_slots - 1);
    struct label_entry *entry;

    for (; l->slots[at] != 0; at = (at + 1) & (l->n_slots - 1)) {
        if (l->slots[at] >> 32 != hash)
            continue;
        entry = l->entries + (uint32_t)l->slots[at] - 1;
        if (entry->column == column && id_equal(entry->id, id))
            return entry;
    }
    if (mem_grow(&l->entries, &l->entries_room, l->n_entries + 1, sizeof *l->entries, "labels",
                 e) != 0)
        return NULL;
    entry = l->entries + l->n_entries++;
    *entry = (struct label_entry){id, (uint16_t)column, (uint16_t)++l->next[column], disk};
    l->slots[at] = (uint64_t)hash << 32 | (uint32_t)l->n_entries;
    if (l->n_entries > l->n_slots / 2 && slots_grow(l, e) != 0)
        return NULL;
    return entry;
}

/* Where the sibling's own ids and labels are. */
struct sibling_cursor {
    const struct sig *sig; /* NULL: none */
    size_t run;
    const uint16_t *cells;
};

static struct sibling_cursor sibling_start(const struct labels *l, uint32_t disk, uint64_t position)
{
    if (disk == NO_DISK || l->before[disk] == l->before[disk + 1])
        return (struct sibling_cursor){0};
    return (struct sibling_cursor){
        .sig = l->sigs[disk],
        .run = sig_find(l->sigs[disk], position),
        .cells = l->cells + l->before[disk] * l->stride,
    };
}

static int label_cell(struct labels *l, uint32_t disk, struct sibling_cursor *s, uint16_t *cells,
                      size_t column, uint64_t position, const struct id *id, struct error *e)
{
    const struct label_entry *entry;

    if (s->sig != NULL) {
        const struct id *same = walk_at(s->sig, &s->run, position);

        if (same != NULL && id_equal(same, id)) {
            cells[column] = s->cells[column];
            return 0;
        }
    }
    entry = entry_find(l, column, id, disk, e);
    if (entry == NULL)
        return -1;
    cells[column] = entry->label;
    if (entry->disk != disk && entry->disk != l->sibling[disk]) {
        l->sibling[disk] = entry->disk;
        *s = sibling_start(l, entry->disk, position);
    }
    return 0;
}

/* The first column from `column` on whose position is at least `position`. */
static size_t column_find(const uint64_t *positions, size_t n, size_t column, uint64_t position)
{
    size_t low = column, high = n;

    while (low < high) {
        size_t middle = low + (high - low) / 2;

        if (positions[middle] < position)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

/* Labels one disk into the next row, which it takes when it has data. */
static int label_disk(struct labels *l, uint32_t disk, const uint64_t *positions, size_t n,
                      struct error *e)
{
    const struct sig *sig = l->sigs[disk];
    uint16_t *cells = l->cells + l->n_rows * l->stride;
    struct sibling_cursor s = sibling_start(l, l->sibling[disk], positions[0]);
    uint32_t data = 0;
    size_t column = 0;

    for (size_t k = sig_find(sig, positions[0]); k < sig->n_runs && column < n; k++) {
        const struct sig_run *run = sig->runs + k;

        column = column_find(positions, n, column, run->first);
        for (; column < n && positions[column] - run->first < run->count; column++) {
            const struct id *id = sig->ids + run->at + (positions[column] - run->first);

            if (data++ == 0)
                memset(cells, 0, l->stride * sizeof *cells);
            if (label_cell(l, disk, &s, cells, column, positions[column], id, e) != 0)
                return -1;
        }
    }
    if (data > 0) {
        l->row_disk[l->n_rows] = disk;
        l->row_data[l->n_rows++] = data;
    }
    return 0;
}

static void bitmap8(const uint8_t *labels, size_t n, uint64_t *words)
{
    for (size_t k = 0; k < n / 64; k++) {
        uint64_t word = 0;

        for (size_t bit = 0; bit < 64; bit++)
            word |= (uint64_t)(labels[k * 64 + bit] != 0) << bit;
        words[k] = word;
    }
}

static void bitmap16(const uint16_t *labels, size_t n, uint64_t *words)
{
    for (size_t k = 0; k < n / 64; k++) {
        uint64_t word = 0;

        for (size_t bit = 0; bit < 64; bit++)
            word |= (uint64_t)(labels[k * 64 + bit] != 0) << bit;
        words[k] = word;
    }
}

/* Room for the wide columns and the bitmaps of this fill. */
static int split_prepare(struct labels *l, size_t n_wide, struct error *e)
{
    size_t wide_needed, data_needed;

    l->wide_stride = div_up(n_wide, KERNEL_UNIT) * KERNEL_UNIT;
    l->words = (l->stride + l->wide_stride) / 64;
    wide_needed = l->n_rows * l->wide_stride;
    data_needed = l->n_rows * l->words;
    if (wide_needed > l->wide_room || (l->wide == NULL && n_wide > 0)) {
        free(l->wide);
        l->wide_room = 0;
        if ((l->wide = rows_new(l->n_rows, l->wide_stride, sizeof *l->wide, e)) == NULL)
            return -1;
        l->wide_room = wide_needed;
    }
    if (data_needed > l->data_room || l->data == NULL) {
        free(l->data);
        l->data_room = 0;
        if ((l->data = rows_new(l->n_rows, l->words, sizeof *l->data, e)) == NULL)
            return -1;
        l->data_room = data_needed;
    }
    return 0;
}

/* Labels of 8 bits where they do, columns with more ids apart, and the bitmaps. */
static int labels_split(struct labels *l, struct error *e)
{
    uint16_t wide[LABELS_COLUMNS_MAX];
    size_t n_wide = 0;

    for (size_t c = 0; c < l->columns; c++) {
        if (l->next[c] > UINT8_MAX)
            wide[n_wide++] = (uint16_t)c;
    }
    if (split_prepare(l, n_wide, e) != 0)
        return -1;
    for (size_t row = 0; row < l->n_rows; row++) {
        const uint16_t *cells = l->cells + row * l->stride;
        uint8_t *narrow = l->narrow + row * l->stride;
        uint64_t *data = l->data + row * l->words;

        for (size_t c = 0; c < l->stride; c++)
            narrow[c] = (uint8_t)cells[c];
        if (n_wide > 0) {
            uint16_t *out = l->wide + row * l->wide_stride;

            memset(out, 0, l->wide_stride * sizeof *out);
            for (size_t k = 0; k < n_wide; k++) {
                out[k] = cells[wide[k]];
                narrow[wide[k]] = 0;
            }
            bitmap16(out, l->wide_stride, data + l->stride / 64);
        }
        bitmap8(narrow, l->stride, data);
    }
    return 0;
}

int labels_fill(struct labels *l, const uint64_t *positions, size_t n_positions, struct error *e)
{
    if (n_positions > l->columns)
        return err_set(e, ERR_INTERNAL, "more positions than columns");
    l->n_rows = 0;
    l->n_entries = 0;
    memset(l->next, 0, l->columns * sizeof *l->next);
    memset(l->slots, 0, l->n_slots * sizeof *l->slots);
    for (size_t i = 0; i < l->n; i++) {
        l->before[i] = (uint32_t)l->n_rows;
        l->before[i + 1] = (uint32_t)l->n_rows; /* until it is known to have a row */
        if (n_positions > 0 && label_disk(l, (uint32_t)i, positions, n_positions, e) != 0)
            return -1;
        l->before[i + 1] = (uint32_t)l->n_rows;
    }
    return labels_split(l, e);
}

uint32_t labels_data(const struct labels *l, size_t i)
{
    return l->before[i] == l->before[i + 1] ? 0 : l->row_data[l->before[i]];
}

/* KERNEL_ROWS rows from `row` on against those from `other` on; rows past the last count nothing
 * that anyone looks at. */
static void compare_rows(const struct labels *l, const struct relation_kernel *kernel, size_t row,
                         size_t other, struct labels_count out[KERNEL_CELLS])
{
    uint32_t equal[KERNEL_CELLS] = {0}, both[KERNEL_CELLS] = {0};
    uint32_t length = (uint32_t)(l->stride + l->wide_stride);

    kernel->equal8(l->narrow + row * l->stride, l->narrow + other * l->stride, l->stride, l->stride,
                   equal);
    if (l->wide_stride > 0)
        kernel->equal16(l->wide + row * l->wide_stride, l->wide + other * l->wide_stride,
                        l->wide_stride, l->wide_stride, equal);
    kernel->both(l->data + row * l->words, l->data + other * l->words, l->words, l->words, both);
    for (size_t cell = 0; cell < KERNEL_CELLS; cell++) {
        uint32_t left = l->row_data[row + cell / KERNEL_ROWS];
        uint32_t right = l->row_data[other + cell % KERNEL_ROWS];

        /* zero in both: neither one's data nor the other's; those positions are equal as well */
        out[cell].both = both[cell];
        out[cell].same = equal[cell] - (length - left - right + both[cell]);
    }
}

void labels_compare(const struct labels *l, const struct relation_kernel *kernel,
                    const size_t first[2], const size_t other[2], labels_found *found, void *arg)
{
    size_t row_end = l->before[first[1]], column_end = l->before[other[1]];
    struct labels_count count[KERNEL_CELLS];

    for (size_t row = l->before[first[0]]; row < row_end; row += KERNEL_ROWS) {
        size_t column = first[0] == other[0] ? row : l->before[other[0]];

        for (; column < column_end; column += KERNEL_ROWS) {
            compare_rows(l, kernel, row, column, count);
            for (size_t cell = 0; cell < KERNEL_CELLS; cell++) {
                size_t x = row + cell / KERNEL_ROWS, y = column + cell % KERNEL_ROWS;

                if (x < y && x < row_end && y < column_end)
                    found(arg, l->row_disk[x], l->row_disk[y], count[cell]);
            }
        }
    }
}

size_t labels_tiles(size_t n)
{
    size_t side = (size_t)div_up(n, LABELS_TILE);

    return side * (side + 1) / 2;
}

void labels_tile(size_t n, size_t tile, size_t first[2], size_t other[2])
{
    size_t side = (size_t)div_up(n, LABELS_TILE), i = 0;

    for (; tile >= side - i; i++)
        tile -= side - i;
    first[0] = i * LABELS_TILE;
    first[1] = (size_t)min_u64(first[0] + LABELS_TILE, n);
    other[0] = (i + tile) * LABELS_TILE;
    other[1] = (size_t)min_u64(other[0] + LABELS_TILE, n);
}
