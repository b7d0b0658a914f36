/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The qcow2 header, its extensions and the snapshot table, read from bytes in memory: no file, no
 * state. Source of the format: QEMU, docs/interop/qcow2.txt. */
#ifndef STEMMA_DISK_QCOW2_HEADER_H
#define STEMMA_DISK_QCOW2_HEADER_H

#include "base/cursor.h"
#include "base/error.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define QCOW2_MAGIC 0x514649fbu /* "QFI\xfb" */
#define QCOW2_CLUSTER_BITS_MIN 9u
#define QCOW2_CLUSTER_BITS_MAX 21u
#define QCOW2_CLUSTER_MAX ((size_t)1 << QCOW2_CLUSTER_BITS_MAX) /* bytes */
#define QCOW2_HEADER_MIN 72u                                    /* bytes of a version 2 header */
#define QCOW2_NAME_MAX 1023u                                    /* bytes of a backing file name */
#define QCOW2_FORMAT_MAX 15u /* bytes of a backing format name, as qemu accepts them */

enum qcow2_feature { /* incompatible features: bits */
                     QCOW2_DIRTY = 1,
                     QCOW2_CORRUPT = 2,
                     QCOW2_DATA_FILE = 4,
                     QCOW2_COMPRESSION = 8,
                     QCOW2_EXTENDED_L2 = 16,
                     QCOW2_FEATURES_KNOWN = 31,
};

enum qcow2_compression {
    QCOW2_DEFLATE = 0,
    QCOW2_ZSTD = 1,
};

/* A run of foreign bytes, borrowed from what was parsed; may hold anything. */
struct qcow2_text {
    const uint8_t *at; /* NULL: absent */
    size_t length;
};

struct qcow2_header {
    unsigned version;      /* 2 or 3 */
    unsigned cluster_bits; /* 9 to 21; with extended L2 entries from 14 on */
    uint64_t size;         /* virtual size: whole sectors, as qemu cuts it */
    uint32_t l1_entries;
    uint64_t l1_offset; /* aligned to clusters */
    uint32_t n_snapshots;
    uint64_t snapshots_offset; /* aligned to clusters */
    uint64_t features;         /* incompatible ones; known bits only */
    enum qcow2_compression compression;

    struct qcow2_text backing_name; /* without NULs; absent when empty, as the next two */
    struct qcow2_text backing_format;
    struct qcow2_text data_file;
};

/* Parses the first bytes of a file: `c` is its first cluster, with zeros for what the file lacks.
 * A shorter cursor will do when nothing behind it is needed (`*cut`, which may be NULL, tells that
 * more was). Fails for what cannot be read: ERR_FORMAT, or ERR_UNSUPPORTED for encryption, unknown
 * versions, compression types and incompatible features. Nothing about refcounts is looked at. */
[[nodiscard]] int qcow2_header_parse(struct qcow2_header *out, struct cursor c, bool *cut,
                                     struct error *e);

/* One entry of the snapshot table. */
struct qcow2_snapshot {
    uint64_t l1_offset; /* as recorded, not checked */
    uint32_t l1_entries;
    uint64_t size; /* virtual size in bytes, whole sectors; only with has_size */
    bool has_size; /* old images do not record it: it is the image's own */
    struct qcow2_text id, name;
};

#define QCOW2_SNAPSHOT_MIN 40u /* bytes of an entry, at least */

/* Parses the entry at the cursor, which starts at a multiple of 8 bytes in the table, and leaves
 * it at the next one. ERR_FORMAT. */
[[nodiscard]] int qcow2_snapshot_parse(struct qcow2_snapshot *out, struct cursor *c,
                                       struct error *e);

#endif
