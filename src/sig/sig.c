/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "sig/sig.h"

#include "base/ckd.h"
#include "base/mem.h"
#include "sig/file.h"
#include "sig/mapping.h"

#include <string.h>

const struct id null_id;

uint64_t clusters_bytes(uint64_t first, uint64_t count, uint64_t size)
{
    uint64_t start = first * CLUSTER_SIZE;

    return start >= size ? 0 : min_u64(size - start, count * CLUSTER_SIZE);
}

bool sig_format_valid(const char format[SIG_FORMAT_MAX])
{
    static const char allowed[] = "abcdefghijklmnopqrstuvwxyz0123456789._-";
    size_t length = strnlen(format, SIG_FORMAT_MAX);

    if (length == 0 || length == SIG_FORMAT_MAX || strspn(format, allowed) != length)
        return false;
    for (size_t i = length; i < SIG_FORMAT_MAX; i++) {
        if (format[i] != 0)
            return false;
    }
    return true;
}

struct sig *sig_ref(struct sig *s)
{
    __atomic_add_fetch(&s->references_, 1, __ATOMIC_RELAXED);
    return s;
}

void sig_unref(struct sig *s)
{
    if (s == NULL || __atomic_sub_fetch(&s->references_, 1, __ATOMIC_ACQ_REL) != 0)
        return;
    sig_mapping_free(s->mapping_);
    free(s->memory_);
    free(s->runs_);
    free(s);
}

bool sig_lost(const struct sig *s)
{
    return s->mapping_ != NULL && sig_mapping_lost(s->mapping_);
}

size_t sig_find(const struct sig *s, uint64_t cluster)
{
    size_t low = 0, high = s->n_runs;

    while (low < high) {
        size_t middle = low + (high - low) / 2;

        if (s->runs[middle].first + s->runs[middle].count <= cluster)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

const struct id *sig_id(const struct sig *s, uint64_t cluster)
{
    size_t i = sig_find(s, cluster);

    if (i == s->n_runs || s->runs[i].first > cluster)
        return &null_id;
    return &s->ids[s->runs[i].at + (cluster - s->runs[i].first)];
}

/* The runs of a scan lie within the disk, rise and do not overlap. */
static bool runs_valid(const struct id_run *runs, size_t n_runs, uint64_t clusters)
{
    uint64_t end = 0;

    for (size_t i = 0; i < n_runs; i++) {
        if (runs[i].first < end || range_outside(runs[i].first, runs[i].count, clusters))
            return false;
        end = runs[i].first + runs[i].count;
    }
    return true;
}

/* Walks the clusters that have an id, in order, and leaves out the null ones. With `out` NULL it
 * only counts the runs that are left; else it fills them and moves the ids together in place. */
static size_t tidy(struct sig *s, const struct id_run *runs, size_t n_runs, struct id *ids,
                   struct sig_run *out)
{
    uint64_t from = 0, to = 0, end = 0;
    size_t n = 0;

    for (size_t i = 0; i < n_runs; i++) {
        for (uint64_t k = 0; k < runs[i].count; k++, from++) {
            uint64_t cluster = runs[i].first + k;

            if (id_is_null(&ids[from]))
                continue;
            if (n == 0 || cluster != end) {
                if (out != NULL)
                    out[n] = (struct sig_run){.first = cluster, .at = to};
                n++;
            }
            if (out != NULL) {
                out[n - 1].count++;
                ids[to] = ids[from];
                s->data_bytes += clusters_bytes(cluster, 1, s->size);
            }
            end = cluster + 1;
            to++;
        }
    }
    s->n_ids = to;
    return n;
}

static int fill(struct sig *s, const struct id_run *runs, size_t n_runs, struct id *ids,
                struct error *e)
{
    struct sig_run *out;

    if (hash_content_id(runs, n_runs, ids, &s->content, e) != 0)
        return -1;
    hash_disk_id(s->size, &s->content, &s->disk);
    s->n_runs = tidy(s, runs, n_runs, ids, NULL);
    out = mem_array(s->n_runs, sizeof *out, "runs of a signature", e);
    if (out == NULL)
        return -1;
    tidy(s, runs, n_runs, ids, out);
    s->runs = s->runs_ = out;
    return 0;
}

/* The signature takes *ids, which is NULL then. */
static int make(uint64_t size, const char *format, const struct id_run *runs, size_t n_runs,
                struct id **ids, struct sig **out, struct error *e)
{
    AUTO(sig) *s = NULL;
    void *shrunk;

    if (size > DISK_SIZE_MAX)
        return err_set(e, ERR_LIMIT, "a disk of %ju bytes is too large", (uintmax_t)size);
    s = mem_array(1, sizeof *s, "a signature", e);
    if (s == NULL)
        return -1;
    s->references_ = 1;
    s->size = size;
    if (strlen(format) >= sizeof s->format)
        return err_set(e, ERR_INTERNAL, "the name of the format %s is too long", format);
    memcpy(s->format, format, strlen(format));
    if (!sig_format_valid(s->format) || !runs_valid(runs, n_runs, sig_clusters(s)))
        return err_set(e, ERR_INTERNAL, "a scan gave clusters out of order");
    if (fill(s, runs, n_runs, *ids, e) != 0)
        return -1;
    s->memory_ = take(*ids);
    /* Zero data leaves room behind; when it cannot be given back it stays. */
    shrunk = realloc(s->memory_, (s->n_ids > 0 ? s->n_ids : 1) * sizeof **ids);
    if (shrunk != NULL)
        s->memory_ = shrunk;
    s->ids = s->memory_;
    *out = take(s);
    return 0;
}

int sig_make(uint64_t size, const char *format, struct id_run *runs, size_t n_runs, struct id *ids,
             struct sig **out, struct error *e)
{
    int result = make(size, format, runs, n_runs, &ids, out, e);

    free(runs);
    free(ids);
    return result;
}
