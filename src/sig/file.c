/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Reading and writing signature files: docs/formats/signature.md. */
#include "sig/file.h"

#include "base/buf.h"
#include "base/ckd.h"
#include "base/cursor.h"
#include "base/io.h"
#include "base/mem.h"
#include "hash/digest.h"
#include "sig/mapping.h"
#include "sig/sig.h"

#include <errno.h>
#include <string.h>
#include <sys/stat.h>

/* Bytes that are hashed and looked at together. BLAKE3 is at full width only where a power of two
 * of its chunks begins at a multiple of itself, so pieces count from the file's beginning. */
#define PIECE 65536

/* Files from this length on are mapped: below it a copy is as cheap. */
#define MAPPED_MIN 65536

bool sig_probe(const void *head, size_t length)
{
    return length >= strlen(SIG_MAGIC) && memcmp(head, SIG_MAGIC, strlen(SIG_MAGIC)) == 0;
}

static void checksum(const char *context, const void *bytes, size_t length, struct id *out)
{
    struct digest d;

    digest_init(&d, context);
    digest_update(&d, bytes, length);
    digest_final(&d, out);
}

static bool all_zero(const uint8_t *bytes, size_t length)
{
    for (size_t i = 0; i < length; i++) {
        if (bytes[i] != 0)
            return false;
    }
    return true;
}

/* Fills what the header says of the signature; the counts are not yet believed. */
static int parse_header(struct sig *s, struct cursor c, struct error *e)
{
    const uint8_t *head = c.at, *format, *content, *disk, *zeros, *sum;
    uint32_t version, length, algorithm, cluster_size;
    uint64_t n_runs;
    struct id expected;

    if (!sig_probe(head, cursor_left(&c)))
        return err_set(e, ERR_FORMAT, "not a signature file");
    cursor_skip(&c, strlen(SIG_MAGIC));
    version = cursor_le32(&c);
    length = cursor_le32(&c);
    if (c.bad)
        return err_set(e, ERR_FORMAT, "the signature file is cut short");
    if (version != SIG_VERSION)
        return err_set(e, ERR_UNSUPPORTED, "signature files of version %u are not known here",
                       version);
    algorithm = cursor_le32(&c);
    cluster_size = cursor_le32(&c);
    s->size = cursor_le64(&c);
    s->data_bytes = cursor_le64(&c);
    n_runs = cursor_le64(&c);
    s->n_ids = cursor_le64(&c);
    format = cursor_bytes(&c, SIG_FORMAT_MAX);
    content = cursor_bytes(&c, sizeof s->content);
    disk = cursor_bytes(&c, sizeof s->disk);
    zeros = cursor_bytes(&c, 24);
    sum = cursor_bytes(&c, sizeof expected);
    if (c.bad)
        return err_set(e, ERR_FORMAT, "the signature file is cut short");
    checksum(SIG_CONTEXT_HEADER, head, SIG_CHECKED, &expected);
    if (memcmp(&expected, sum, sizeof expected) != 0)
        return err_set(e, ERR_FORMAT, "the header of the signature file is damaged");
    if (algorithm != ID_BLAKE3 || cluster_size != CLUSTER_SIZE)
        return err_set(e, ERR_UNSUPPORTED, "signature of algorithm %u and clusters of %u bytes",
                       algorithm, cluster_size);
    memcpy(s->format, format, sizeof s->format);
    memcpy(&s->content, content, sizeof s->content);
    memcpy(&s->disk, disk, sizeof s->disk);
    if (length != SIG_HEADER || n_runs > SIZE_MAX || s->size > DISK_SIZE_MAX ||
        !sig_format_valid(s->format) || !all_zero(zeros, 24))
        return err_set(e, ERR_FORMAT, "the header of the signature file makes no sense");
    s->n_runs = n_runs;
    return 0;
}

/* The counts agree with each other and with the length of the file, to the byte. */
static int check_length(const struct sig *s, uint64_t length, struct error *e)
{
    uint64_t runs, ids, total;

    if (ckd_mul(&runs, s->n_runs, SIG_RUN) || ckd_mul(&ids, s->n_ids, sizeof(struct id)) ||
        ckd_add(&total, runs, ids) || ckd_add(&total, total, SIG_HEADER + SIG_CHECKSUM) ||
        total != length)
        return err_set(e, ERR_FORMAT,
                       "the signature file has %ju bytes, which is not what its header says",
                       (uintmax_t)length);
    return 0;
}

/* Decodes the runs, a copy of our own, and checks them. */
static int parse_runs(struct sig *s, struct cursor c, struct error *e)
{
    uint64_t clusters = sig_clusters(s), next = 0, at = 0, data = 0;
    struct sig_run *runs = mem_array(s->n_runs, sizeof *runs, "runs of a signature", e);

    if (runs == NULL)
        return -1;
    s->runs = s->runs_ = runs;
    for (size_t i = 0; i < s->n_runs; i++) {
        uint64_t first = cursor_le64(&c), count = cursor_le64(&c);

        /* `next` is the first cluster that would be neither used nor adjacent */
        if (c.bad || count == 0 || first < next || range_outside(first, count, clusters) ||
            count > s->n_ids - at)
            return err_set(e, ERR_FORMAT, "run %zu of the signature file makes no sense", i);
        runs[i] = (struct sig_run){first, count, at};
        next = first + count + 1;
        at += count;
        data += clusters_bytes(first, count, s->size);
    }
    if (at != s->n_ids || data != s->data_bytes)
        return err_set(e, ERR_FORMAT, "the counts of the signature file do not add up");
    return 0;
}

/* Hashes the file and looks for null ids in one pass. */
static int check_bytes(const struct sig *s, const uint8_t *bytes, size_t length, struct error *e)
{
    const uint8_t *end = bytes + (length - SIG_CHECKSUM), *at = bytes;
    const uint8_t *id = end - s->n_ids * sizeof(struct id);
    bool null = false;
    struct digest d;
    struct id sum;

    digest_init(&d, SIG_CONTEXT_FILE);
    while (at < end) {
        size_t n = end - at < PIECE ? (size_t)(end - at) : PIECE;

        digest_update(&d, at, n);
        at += n;
        for (; id + sizeof(struct id) <= at; id += sizeof(struct id))
            null |= id_is_null((const struct id *)id);
    }
    digest_final(&d, &sum);
    if (memcmp(&sum, end, sizeof sum) != 0)
        return err_set(e, ERR_FORMAT, "the signature file is damaged: its checksum is wrong");
    if (null)
        return err_set(e, ERR_FORMAT, "the signature file holds a null id");
    return 0;
}

/* Everything but where the ids live. */
static int parse_file(struct sig *s, const uint8_t *bytes, size_t length, struct error *e)
{
    struct id disk;

    if (parse_header(s, cursor_of(bytes, length), e) != 0 || check_length(s, length, e) != 0 ||
        check_bytes(s, bytes, length, e) != 0 ||
        parse_runs(s, cursor_of(bytes + SIG_HEADER, s->n_runs * SIG_RUN), e) != 0)
        return -1;
    hash_disk_id(s->size, &s->content, &disk);
    if (!id_equal(&disk, &s->disk) || id_is_null(&s->content) != (s->n_ids == 0))
        return err_set(e, ERR_FORMAT, "the ids in the header of the signature file do not agree");
    return 0;
}

static struct sig *new_sig(struct error *e)
{
    struct sig *s = mem_array(1, sizeof *s, "a signature", e);

    if (s != NULL)
        s->references_ = 1;
    return s;
}

int sig_parse(const void *bytes, size_t length, struct sig **out, struct error *e)
{
    AUTO(sig) *s = new_sig(e);
    struct id *ids;

    if (s == NULL || parse_file(s, bytes, length, e) != 0)
        return -1;
    s->memory_ = ids = mem_array(s->n_ids, sizeof *ids, "ids of a signature", e);
    if (ids == NULL)
        return -1;
    memcpy(ids, (const uint8_t *)bytes + SIG_HEADER + s->n_runs * SIG_RUN, s->n_ids * sizeof *ids);
    s->ids = ids;
    *out = take(s);
    return 0;
}

/* Maps the file, or reads it into memory of our own. */
static const uint8_t *bring_file(struct sig *s, int fd, size_t length, struct error *e)
{
    if (length >= MAPPED_MIN && (s->mapping_ = sig_mapping_new(fd, length)) != NULL)
        return sig_mapping_bytes(s->mapping_);
    s->memory_ = malloc(length);
    if (s->memory_ == NULL) {
        err_memory(e, "a signature");
        return NULL;
    }
    return io_pread_exact(fd, s->memory_, length, 0, e) == 0 ? s->memory_ : NULL;
}

static int read_whole(struct sig *s, int fd, size_t length, struct error *e)
{
    const uint8_t *bytes = bring_file(s, fd, length, e);

    if (bytes == NULL)
        return -1;
    if (parse_file(s, bytes, length, e) != 0)
        return sig_lost(s) ? err_set(e, ERR_CHANGED, "it shrank while it was read") : -1;
    s->ids = (const struct id *)(bytes + SIG_HEADER + s->n_runs * SIG_RUN);
    return 0;
}

int sig_read(int fd, const char *name, struct sig **out, struct error *e)
{
    AUTO(sig) *s = new_sig(e);
    struct stat st;

    if (s == NULL)
        return -1;
    if (fstat(fd, &st) != 0)
        return err_sys(e, "%s", name);
    if (!S_ISREG(st.st_mode) || st.st_size < SIG_HEADER + SIG_CHECKSUM)
        return err_set(e, ERR_FORMAT, "%s: not a signature file", name);
    if (read_whole(s, fd, (size_t)st.st_size, e) != 0)
        return err_wrap(e, "%s", name);
    *out = take(s);
    return 0;
}

static void put_header(struct buf *b, const struct sig *s)
{
    struct id sum = {};

    buf_put(b, SIG_MAGIC, strlen(SIG_MAGIC));
    buf_put_u32(b, SIG_VERSION);
    buf_put_u32(b, SIG_HEADER);
    buf_put_u32(b, ID_BLAKE3);
    buf_put_u32(b, CLUSTER_SIZE);
    buf_put_u64(b, s->size);
    buf_put_u64(b, s->data_bytes);
    buf_put_u64(b, s->n_runs);
    buf_put_u64(b, s->n_ids);
    buf_put(b, s->format, sizeof s->format);
    buf_put(b, &s->content, sizeof s->content);
    buf_put(b, &s->disk, sizeof s->disk);
    buf_put(b, (uint8_t[24]){}, 24);
    if (!b->failed)
        checksum(SIG_CONTEXT_HEADER, b->bytes, SIG_CHECKED, &sum);
    buf_put(b, &sum, sizeof sum);
}

/* Writes bytes behind what was written before and hashes them. */
struct output {
    int fd;
    uint64_t at;
    struct digest digest;
};

static int output_bytes(struct output *o, const void *bytes, size_t length, struct error *e)
{
    if (io_pwrite(o->fd, bytes, length, o->at, e) != 0)
        return -1;
    digest_update(&o->digest, bytes, length);
    o->at += length;
    return 0;
}

static int output_runs(struct output *o, const struct sig *s, struct error *e)
{
    AUTO_BUF b = {};

    for (size_t i = 0; i < s->n_runs; i++) {
        buf_put_u64(&b, s->runs[i].first);
        buf_put_u64(&b, s->runs[i].count);
        if (b.length < PIECE && i + 1 < s->n_runs)
            continue;
        if (buf_check(&b, "runs of a signature", e) != 0 ||
            output_bytes(o, b.bytes, b.length, e) != 0)
            return -1;
        b.length = 0;
    }
    return 0;
}

int sig_write(const struct sig *s, int fd, struct error *e)
{
    struct output o = {.fd = fd};
    AUTO_BUF head = {};
    struct id sum;

    digest_init(&o.digest, SIG_CONTEXT_FILE);
    put_header(&head, s);
    if (buf_check(&head, "the header of a signature", e) != 0 ||
        output_bytes(&o, head.bytes, head.length, e) != 0 || output_runs(&o, s, e) != 0)
        return -1;
    if (s->n_ids > 0 && output_bytes(&o, s->ids, s->n_ids * sizeof *s->ids, e) != 0)
        return -1;
    digest_final(&o.digest, &sum);
    return io_pwrite(fd, &sum, sizeof sum, o.at, e);
}
