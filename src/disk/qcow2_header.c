/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "disk/qcow2_header.h"

#include "base/buf.h"
#include "base/ckd.h"
#include "base/text.h"

#include <string.h>

enum { SECTOR = 512, VERSION_3_HEADER = 104, FEATURE_ENTRY = 48, FEATURE_NAME = 46 };

enum extension {
    EXTENSION_END = 0,
    EXTENSION_BACKING_FORMAT = 0xe2792aca,
    EXTENSION_FEATURE_NAMES = 0x6803f857,
    EXTENSION_DATA_FILE = 0x44415441,
};

/* What the header says beside the values that readers want. */
struct raw_header {
    uint64_t backing_offset;
    uint32_t backing_length;
    uint32_t crypt_method;
    uint64_t features;
    uint32_t header_length;
    uint8_t compression;
    struct qcow2_text feature_names;
};

static struct qcow2_text text_until_nul(const uint8_t *at, size_t length)
{
    const uint8_t *nul = at == NULL ? NULL : memchr(at, 0, length);

    if (nul != NULL)
        length = (size_t)(nul - at);
    return length == 0 ? (struct qcow2_text){} : (struct qcow2_text){at, length};
}

/* The fixed fields, in the order in which they stand. */
static int parse_fields(struct qcow2_header *h, struct raw_header *raw, struct cursor *c,
                        struct error *e)
{
    if (cursor_be32(c) != QCOW2_MAGIC || c->bad)
        return err_set(e, ERR_FORMAT, "not a qcow2 image");
    h->version = cursor_be32(c);
    raw->backing_offset = cursor_be64(c);
    raw->backing_length = cursor_be32(c);
    h->cluster_bits = cursor_be32(c);
    h->size = cursor_be64(c) / SECTOR * SECTOR;
    raw->crypt_method = cursor_be32(c);
    h->l1_entries = cursor_be32(c);
    h->l1_offset = cursor_be64(c);
    cursor_skip(c, 8 + 4); /* refcount table: readers do not need it */
    h->n_snapshots = cursor_be32(c);
    h->snapshots_offset = cursor_be64(c);
    if (c->bad)
        return err_set(e, ERR_FORMAT, "the qcow2 header is cut off");
    if (h->version != 2 && h->version != 3)
        return err_set(e, ERR_UNSUPPORTED, "qcow2 version %u is not supported", h->version);

    raw->header_length = QCOW2_HEADER_MIN;
    if (h->version == 2)
        return 0;
    raw->features = cursor_be64(c);
    cursor_skip(c, 8 + 8 + 4); /* compatible and autoclear features, refcount order */
    raw->header_length = cursor_be32(c);
    if (c->bad)
        return err_set(e, ERR_FORMAT, "the qcow2 header is cut off");
    if (raw->header_length > VERSION_3_HEADER)
        raw->compression = cursor_u8(c);
    return 0;
}

/* A name that goes to system calls: NULs may pad it, not hide a part of it. */
static int parse_name(struct qcow2_text *out, const uint8_t *at, size_t length, const char *what,
                      struct error *e)
{
    struct qcow2_text name = text_until_nul(at, length);

    for (size_t i = name.length; i < length; i++) {
        if (at[i] != 0)
            return err_set(e, ERR_FORMAT, "%s has a NUL byte in it", what);
    }
    *out = name;
    return 0;
}

static int check_shape(const struct qcow2_header *h, const struct raw_header *raw, struct error *e)
{
    uint64_t cluster;

    if (h->cluster_bits < QCOW2_CLUSTER_BITS_MIN || h->cluster_bits > QCOW2_CLUSTER_BITS_MAX)
        return err_set(e, ERR_FORMAT,
                       "cluster size of 2^%u bytes in the qcow2 header; 2^%u to 2^%u are valid",
                       h->cluster_bits, QCOW2_CLUSTER_BITS_MIN, QCOW2_CLUSTER_BITS_MAX);
    cluster = UINT64_C(1) << h->cluster_bits;
    if (h->version == 3 && raw->header_length < VERSION_3_HEADER)
        return err_set(e, ERR_FORMAT, "qcow2 header of %u bytes; version 3 needs %d",
                       raw->header_length, VERSION_3_HEADER);
    if (raw->header_length > cluster)
        return err_set(e, ERR_FORMAT,
                       "qcow2 header of %u bytes is larger than the first cluster (%ju)",
                       raw->header_length, (uintmax_t)cluster);
    if (h->l1_offset % cluster != 0)
        return err_set(e, ERR_FORMAT, "L1 table at offset %#jx is not aligned to clusters",
                       (uintmax_t)h->l1_offset);
    if (h->n_snapshots != 0 && h->snapshots_offset % cluster != 0)
        return err_set(e, ERR_FORMAT, "snapshot table at offset %#jx is not aligned to clusters",
                       (uintmax_t)h->snapshots_offset);
    if (raw->backing_offset != 0 &&
        range_outside(raw->backing_offset, raw->backing_length, cluster))
        return err_set(e, ERR_FORMAT,
                       "backing file name at offset %#jx (%u bytes) leaves the first cluster",
                       (uintmax_t)raw->backing_offset, raw->backing_length);
    if (raw->backing_offset != 0 && raw->backing_length > QCOW2_NAME_MAX)
        return err_set(e, ERR_FORMAT, "backing file name of %u bytes; at most %u are valid",
                       raw->backing_length, QCOW2_NAME_MAX);
    return 0;
}

static int parse_extension(struct qcow2_header *h, struct raw_header *raw, uint32_t type,
                           struct qcow2_text data, struct error *e)
{
    switch (type) {
    case EXTENSION_BACKING_FORMAT:
        if (data.length > QCOW2_FORMAT_MAX)
            return err_set(e, ERR_FORMAT, "backing format name of %zu bytes; at most %u are valid",
                           data.length, QCOW2_FORMAT_MAX);
        return parse_name(&h->backing_format, data.at, data.length, "backing format name", e);
    case EXTENSION_DATA_FILE:
        return parse_name(&h->data_file, data.at, data.length, "external data file name", e);
    case EXTENSION_FEATURE_NAMES:
        raw->feature_names = data;
        return 0;
    default: /* what it means is its writer's business: only incompatible features bind readers */
        return 0;
    }
}

/* The area ends at its end marker, at the backing file name or at the cluster's end. */
static int parse_extensions(struct qcow2_header *h, struct raw_header *raw, struct cursor *c,
                            uint64_t left, bool *cut, struct error *e)
{
    while (left >= 8) {
        uint32_t type = cursor_be32(c), length = cursor_be32(c);
        const uint8_t *bytes;

        left -= 8;
        if (!c->bad && type == EXTENSION_END)
            return 0;
        if (!c->bad && length > left)
            return err_set(e, ERR_FORMAT,
                           "header extension %#x of %u bytes reaches into what follows", type,
                           length);
        bytes = cursor_bytes(c, length);
        if (c->bad) {
            *cut = true;
            return err_set(e, ERR_FORMAT, "the header extensions are cut off");
        }
        if (parse_extension(h, raw, type, (struct qcow2_text){bytes, length}, e) != 0)
            return -1;
        left -= length;
        length = (8 - length % 8) % 8; /* padding */
        if (length > left)
            return 0;
        cursor_skip(c, length);
        left -= length;
    }
    return 0;
}

/* Appends what the image calls the feature, if it does. */
static void put_feature(struct buf *b, struct qcow2_text names, unsigned bit)
{
    struct cursor c = cursor_of(names.at, names.length);

    if (b->length > 0)
        buf_put(b, ", ", 2);
    while (cursor_left(&c) >= FEATURE_ENTRY) {
        uint8_t type = cursor_u8(&c), number = cursor_u8(&c);
        struct qcow2_text name = text_until_nul(cursor_bytes(&c, FEATURE_NAME), FEATURE_NAME);

        if (type == 0 && number == bit && name.at != NULL) {
            text_escape(b, (const char *)name.at, name.length);
            buf_printf(b, " (bit %u)", bit);
            return;
        }
    }
    buf_printf(b, "bit %u", bit);
}

static int refuse_features(const struct raw_header *raw, uint64_t unknown, struct error *e)
{
    AUTO_BUF names = {};

    for (unsigned bit = 0; bit < 64; bit++) {
        if (unknown >> bit & 1)
            put_feature(&names, raw->feature_names, bit);
    }
    if (buf_check(&names, "feature names", e) != 0)
        return -1;
    return err_set(e, ERR_UNSUPPORTED, "incompatible qcow2 features are not supported: %.*s",
                   (int)min_u64(names.length, 400), (const char *)names.bytes);
}

static int check_features(struct qcow2_header *h, const struct raw_header *raw, struct error *e)
{
    uint64_t unknown = raw->features & ~(uint64_t)QCOW2_FEATURES_KNOWN;
    bool other = raw->compression != QCOW2_DEFLATE;

    if (unknown != 0)
        return refuse_features(raw, unknown, e);
    if (raw->crypt_method == 1 || raw->crypt_method == 2)
        return err_set(e, ERR_UNSUPPORTED,
                       "%s-encrypted qcow2 images need a key, which is not supported yet",
                       raw->crypt_method == 1 ? "AES" : "LUKS");
    if (raw->crypt_method != 0)
        return err_set(e, ERR_UNSUPPORTED, "qcow2 encryption method %u is not supported",
                       raw->crypt_method);
    if (raw->compression > QCOW2_ZSTD)
        return err_set(e, ERR_UNSUPPORTED, "qcow2 compression type %u is not supported",
                       raw->compression);
    if (other != ((raw->features & QCOW2_COMPRESSION) != 0))
        return err_set(e, ERR_FORMAT,
                       "compression type %u contradicts the incompatible feature bits",
                       raw->compression);
    if ((raw->features & QCOW2_EXTENDED_L2) && h->cluster_bits < 14)
        return err_set(e, ERR_FORMAT,
                       "extended L2 entries need clusters of 2^14 bytes; these have 2^%u",
                       h->cluster_bits);
    h->features = raw->features;
    h->compression = raw->compression;
    return 0;
}

int qcow2_header_parse(struct qcow2_header *out, struct cursor c, bool *cut, struct error *e)
{
    struct qcow2_header h = {};
    struct raw_header raw = {};
    struct cursor fields = c, extensions = c, name = c;
    uint64_t end;
    bool ignored;

    if (cut == NULL)
        cut = &ignored;
    *cut = false;
    if (parse_fields(&h, &raw, &fields, e) != 0 || check_shape(&h, &raw, e) != 0)
        return -1;
    end = raw.backing_offset != 0 ? raw.backing_offset : UINT64_C(1) << h.cluster_bits;
    cursor_skip(&extensions, raw.header_length);
    if (end > raw.header_length &&
        parse_extensions(&h, &raw, &extensions, end - raw.header_length, cut, e) != 0)
        return -1;
    if (raw.backing_offset != 0) {
        const uint8_t *at;

        cursor_skip(&name, raw.backing_offset);
        at = cursor_bytes(&name, raw.backing_length);
        if (name.bad) {
            *cut = true;
            return err_set(e, ERR_FORMAT, "the backing file name is cut off");
        }
        if (parse_name(&h.backing_name, at, raw.backing_length, "backing file name", e) != 0)
            return -1;
    }
    if (check_features(&h, &raw, e) != 0)
        return -1;
    *out = h;
    return 0;
}

int qcow2_snapshot_parse(struct qcow2_snapshot *out, struct cursor *c, struct error *e)
{
    struct qcow2_snapshot s = {};
    const uint8_t *start = c->at;
    size_t id_length, name_length, extra;

    s.l1_offset = cursor_be64(c);
    s.l1_entries = cursor_be32(c);
    id_length = cursor_be16(c);
    name_length = cursor_be16(c);
    cursor_skip(c, 4 + 4 + 8 + 4); /* date, clock, size of the machine's state */
    extra = cursor_be32(c);
    if (extra >= 16) {
        cursor_skip(c, 8);
        s.size = cursor_be64(c) / SECTOR * SECTOR;
        s.has_size = true;
        extra -= 16;
    }
    cursor_skip(c, extra);
    s.id.at = cursor_bytes(c, id_length);
    s.id.length = id_length;
    s.name.at = cursor_bytes(c, name_length);
    s.name.length = name_length;
    if (c->bad)
        return err_set(e, ERR_FORMAT, "the snapshot table is cut off");
    /* the last entry's padding may be missing */
    cursor_skip(c, min_u64(cursor_left(c), (8 - (size_t)(c->at - start) % 8) % 8));
    *out = s;
    return 0;
}
