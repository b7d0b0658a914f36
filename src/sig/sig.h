/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A signature: the ids of a disk's clusters, its size, and what was hashed. Holes and zeros cost
 * nothing: only clusters that are not zero have an id, and they are kept as runs. Immutable once
 * made; any thread may read it. The file form is docs/formats/signature.md. */
#ifndef STEMMA_SIG_SIG_H
#define STEMMA_SIG_SIG_H

#include "base/auto.h"
#include "base/error.h"
#include "hash/id.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* A run of clusters that are not zero; the id of cluster first + k is ids[at + k]. */
struct sig_run {
    uint64_t first, count, at;
};

struct sig {
    uint64_t size;       /* of the disk, bytes */
    uint64_t data_bytes; /* in clusters that are not zero, the last cut at the disk's end */
    struct id content;   /* level 6 */
    struct id disk;      /* of size and content */
    size_t n_runs;
    const struct sig_run *runs; /* rising, not overlapping, not adjacent */
    uint64_t n_ids;
    const struct id *ids;
    char format[16];              /* of the image that was signed: "raw", "qcow2", ... */
    unsigned references_;         /* atomic; use sig_ref() and sig_unref() */
    void *memory_;                /* what the ids live in, for free(), or NULL and */
    struct sig_mapping *mapping_; /* the mapped file */
    void *runs_;
};

/* Takes runs and ids (malloc'ed; also when it fails) and computes data_bytes, content and disk id.
 * The runs may be adjacent and the ids may hold null ids: both are tidied. `format` has 1 to 15
 * characters out of a-z 0-9 . _ - */
[[nodiscard]] int sig_make(uint64_t size, const char *format, struct id_run *runs, size_t n_runs,
                           struct id *ids, struct sig **out, struct error *e);
struct sig *sig_ref(struct sig *s);
void sig_unref(struct sig *s);
AUTO_DEFINE(sig, sig_unref);

/* The id of a cluster; &null_id for zeros, also beyond the end. */
extern const struct id null_id;
const struct id *sig_id(const struct sig *s, uint64_t cluster);

/* The index of the first run that ends after `cluster` (it may start after it); n_runs: none. */
size_t sig_find(const struct sig *s, uint64_t cluster);

/* Bytes of the clusters [first, first + count) on a disk of `size` bytes: those beyond its end do
 * not count. */
uint64_t clusters_bytes(uint64_t first, uint64_t count, uint64_t size);

/* Clusters that the disk spans: ceil(size / CLUSTER_SIZE). */
static inline uint64_t sig_clusters(const struct sig *s)
{
    return s->size / CLUSTER_SIZE + (s->size % CLUSTER_SIZE != 0);
}

/* Reads a signature file, hostile: version, sizes, order and checksum are checked before anything
 * is used. The descriptor is borrowed; the ids of a large file are mapped from it, once sig_init()
 * was called. ERR_FORMAT, ERR_UNSUPPORTED, ERR_CHANGED. */
[[nodiscard]] int sig_read(int fd, const char *name, struct sig **out, struct error *e);

/* Installs the SIGBUS handler that makes mapping safe; after reader_init() (disk/reader.h), before
 * threads start. Without it every file is copied. */
[[nodiscard]] int sig_init(struct error *e);

/* True when the mapped file was cut short under the signature: ids that were lost are null now, and
 * what was computed of it is worthless. Ask when the work is done. */
bool sig_lost(const struct sig *s);

/* The same from bytes in memory, copied. */
[[nodiscard]] int sig_parse(const void *bytes, size_t length, struct sig **out, struct error *e);

/* Writes the file form at the start of an empty file. Does not sync. */
[[nodiscard]] int sig_write(const struct sig *s, int fd, struct error *e);

/* True when the first bytes are those of a signature file. */
bool sig_probe(const void *head, size_t length);

#endif
