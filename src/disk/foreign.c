/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "disk/foreign.h"

#include "base/ckd.h"
#include "base/mem.h"
#include "base/text.h"
#include "disk/layer.h"
#include "disk/vmdk.h"

#include <limits.h>
#include <string.h>

#define NAME_MAX_ 1023u /* of QED's and qcow's backing files, as QEMU has it */

const char *const foreign_formats[] = {
    "vmdk", "vhdx", "vpc", "vdi", "qed", "parallels", "qcow", "dmg", "bochs", "cloop", "luks", NULL,
};

/* ---- what they look like ---- */

struct magic {
    const char *format;
    size_t offset;
    const char *bytes;
    size_t length;
};

#define MAGIC(format_, offset_, text_)                                                             \
    {                                                                                              \
        format_, offset_, text_, sizeof(text_) - 1                                                 \
    }

static const struct magic head_magic[] = {
    MAGIC("vmdk", 0, "KDMV"),
    MAGIC("vmdk", 0, "COWD"),
    MAGIC("vhdx", 0, "vhdxfile"),
    MAGIC("vpc", 0, "conectix"),
    MAGIC("vdi", 64, "\x7f\x10\xda\xbe"),
    MAGIC("qed", 0, "QED\0"),
    MAGIC("parallels", 0, "WithoutFreeSpace"),
    MAGIC("parallels", 0, "WithouFreSpacExt"),
    MAGIC("qcow", 0, "QFI\xfb\0\0\0\x01"),
    MAGIC("bochs", 0, "Bochs Virtual HD Image"),
    MAGIC("cloop", 0, "#!/bin/sh\n#V2.0 Format\nmodprobe cloop file=$0 && mount -r -t iso9660 "),
};

/* Footers of VHD (sum of all bytes but the sum itself, complemented) and DMG. A guest may write
 * one at the end of its raw disk, but it says nothing that QEMU would open. */
static bool vhd_footer(const struct probe *p)
{
    struct cursor c = cursor_of(p->tail, p->tail_length);
    uint32_t sum = 0, stored, type;
    uint64_t size;

    if (p->tail_length != 512 || memcmp(p->tail, "conectix", 8) != 0)
        return false;
    for (size_t i = 0; i < 512; i++)
        sum += i >= 64 && i < 68 ? 0 : p->tail[i];
    cursor_skip(&c, 48);
    size = cursor_be64(&c);
    cursor_skip(&c, 4); /* geometry */
    type = cursor_be32(&c);
    stored = cursor_be32(&c);
    return stored == ~sum && type == 2 && size <= p->file_size - 512;
}

const char *foreign_probe(const struct probe *p)
{
    for (size_t i = 0; i < sizeof head_magic / sizeof *head_magic; i++) {
        const struct magic *m = &head_magic[i];

        if (p->head_length >= m->offset + m->length &&
            memcmp(p->head + m->offset, m->bytes, m->length) == 0)
            return m->format;
    }
    if (p->head_length > 0 && p->head[0] == '#' && vmdk_is_descriptor(p->head, p->head_length))
        return "vmdk";
    if (vhd_footer(p))
        return "vpc";
    if (p->tail_length == 512 && memcmp(p->tail, "koly\0\0\0\x04", 8) == 0)
        return "dmg";
    return NULL;
}

/* ---- what they refer to ---- */

/* Files still to be looked at: d's files from `next` on. Foreign data decides how many, so there is
 * a limit and no recursion. */
struct parts {
    struct disk *d;
    const struct disk_env *env;
    const char **formats; /* of each file of d; NULL: plain bytes, nothing to look for */
    size_t n_formats, formats_capacity;
};

static int add_format(struct parts *p, const char *format, struct error *e)
{
    if (mem_grow(&p->formats, &p->formats_capacity, p->n_formats + 1, sizeof *p->formats,
                 "the parts of an image", e) != 0)
        return -1;
    p->formats[p->n_formats++] = format;
    return 0;
}

/* Opens what `from` names. */
static int open_part(struct parts *p, struct host_file *from, const char *name,
                     struct host_file **out, struct error *e)
{
    AUTO_FREE char *shown = text_escaped(name);

    if (name[strcspn(name, ":/")] == ':')
        return err_set(e, ERR_UNSUPPORTED,
                       "it refers to %.200s: only plain file names are followed",
                       shown != NULL ? shown : "");
    if (name[0] == 0 || strlen(name) >= PATH_MAX)
        return err_set(e, ERR_FORMAT, "it refers to a file with no name or too long a one");
    if (p->d->n_files > VMDK_EXTENTS_MAX)
        return err_set(e, ERR_LIMIT, "an image of more than %u files", VMDK_EXTENTS_MAX);
    if (p->env->open_file(p->env->arg, from, name, FILE_PART, out, e) != 0)
        return err_wrap(e, "its part %.200s", shown != NULL ? shown : "");
    return 0;
}

/* Plain bytes may be named twice (parts of one device); what leads on to other files may not. */
static int add_part(struct parts *p, struct host_file *f, const char *format, struct error *e)
{
    for (size_t i = 0; i < p->d->n_files; i++) {
        if (!file_identity_same(&p->d->files[i]->identity, &f->identity))
            continue;
        if (i > 0 && format == NULL && (i >= p->n_formats || p->formats[i] == NULL))
            return 0;
        return err_set(e, ERR_FORMAT, "it refers twice to %.200s, or to itself", f->name);
    }
    return add_format(p, format, e) != 0 || disk_add_file(p->d, host_file_ref(f), e) != 0 ? -1 : 0;
}

/* A parent may be of any foreign format, or raw; QEMU will probe it as we do. */
static int open_parent(struct parts *p, struct host_file *from, const char *name, const char *only,
                       struct error *e)
{
    AUTO(host_file) *f = NULL;
    struct layer_kind kind;
    bool foreign = false;

    if (open_part(p, from, name, &f, e) != 0 || kind_by_probe(p->env, f, &kind, e) != 0)
        return -1;
    for (size_t i = 0; foreign_formats[i] != NULL; i++)
        foreign = foreign || strcmp(kind.format, foreign_formats[i]) == 0;
    if ((!foreign && strcmp(kind.format, "raw") != 0) ||
        (only != NULL && strcmp(kind.format, only) != 0))
        return err_set(e, ERR_UNSUPPORTED, "its parent %.200s is a %s image, which is not followed",
                       f->name, kind.format);
    return add_part(p, f, foreign ? kind.format : NULL, e);
}

/* An extent with a header of its own must not lead on to further files. */
static int open_extent(struct parts *p, struct host_file *from, const struct vmdk_name *name,
                       struct error *e)
{
    AUTO(host_file) *f = NULL;
    struct vmdk_header header;
    uint8_t head[64];

    if (open_part(p, from, name->name, &f, e) != 0)
        return -1;
    if (name->sparse) {
        if (host_file_pread(f, head, sizeof head, 0, e) != 0)
            return err_wrap(e, "its part %.200s", name->name);
        if (memcmp(head, "KDMV", 4) == 0 &&
            (vmdk_header_parse(&header, cursor_of(head, sizeof head), e) != 0 ||
             header.capacity == 0))
            return err_set(e, ERR_UNSUPPORTED, "its part %.200s is made of parts again",
                           name->name);
    }
    return add_part(p, f, NULL, e);
}

/* A descriptor, which lies at `offset` and has at most `length` bytes. `extents`: QEMU looks at the
 * extents that it lists, not only at its parent. */
static int look_into_descriptor(struct parts *p, struct host_file *f, uint64_t offset,
                                uint64_t length, bool extents, struct error *e)
{
    AUTO_FREE uint8_t *text = NULL;
    AUTO_VMDK_NAMES names = {};

    if (length > VMDK_DESCRIPTOR_MAX)
        return err_set(e, ERR_LIMIT, "a VMDK descriptor of %ju bytes", (uintmax_t)length);
    text = mem_array(length, 1, "a VMDK descriptor", e);
    if (text == NULL || host_file_pread(f, text, length, offset, e) != 0 ||
        vmdk_descriptor_parse(&names, text, length, e) != 0)
        return -1;
    for (size_t i = 0; i < names.n; i++) {
        const struct vmdk_name *name = &names.list[i];

        if (name->parent ? open_parent(p, f, name->name, "vmdk", e) != 0
                         : extents && open_extent(p, f, name, e) != 0)
            return -1;
    }
    return 0;
}

static int look_into_vmdk(struct parts *p, struct host_file *f, struct error *e)
{
    uint64_t size = f->identity.size, offset, length;
    struct vmdk_header h;
    uint8_t head[64];

    if (size < sizeof head)
        return look_into_descriptor(p, f, 0, size, true, e);
    if (host_file_pread(f, head, sizeof head, 0, e) != 0)
        return -1;
    if (memcmp(head, "COWD", 4) == 0)
        return 0;
    if (memcmp(head, "KDMV", 4) != 0)
        return look_into_descriptor(p, f, 0, min_u64(size, VMDK_DESCRIPTOR_MAX), true, e);
    if (vmdk_header_parse(&h, cursor_of(head, sizeof head), e) != 0)
        return -1;
    if (h.descriptor_offset == 0)
        return 0;
    if (ckd_mul(&offset, h.descriptor_offset, VMDK_SECTOR) || offset >= size)
        return err_set(e, ERR_FORMAT, "its descriptor lies beyond the end of the file");
    /* QEMU reads on as far as it likes, whatever the header says of the size. */
    length = min_u64(size - offset, VMDK_DESCRIPTOR_MAX);
    return look_into_descriptor(p, f, offset, length, h.capacity == 0, e);
}

/* A name of `length` bytes at `offset`: QED and the first qcow. */
static int look_at_name(struct parts *p, struct host_file *f, uint64_t offset, uint64_t length,
                        struct error *e)
{
    char name[NAME_MAX_ + 1] = "";

    if (length > NAME_MAX_)
        return err_set(e, ERR_FORMAT, "the name of its backing file has %ju bytes",
                       (uintmax_t)length);
    if (host_file_pread(f, name, length, offset, e) != 0)
        return -1;
    if (memchr(name, 0, length) != NULL)
        return err_set(e, ERR_FORMAT, "the name of its backing file has a NUL in it");
    return open_parent(p, f, name, NULL, e);
}

static int look_into_qed(struct parts *p, struct host_file *f, struct error *e)
{
    uint8_t head[64];
    struct cursor c = cursor_of(head, sizeof head);
    uint32_t offset, length;
    uint64_t features;

    if (host_file_pread(f, head, sizeof head, 0, e) != 0)
        return -1;
    cursor_skip(&c, 4 + 3 * 4);
    features = cursor_le64(&c);
    cursor_skip(&c, 4 * 8); /* compatible and autoclear features, L1 table, image size */
    offset = cursor_le32(&c);
    length = cursor_le32(&c);
    return (features & 1) == 0 ? 0 : look_at_name(p, f, offset, length, e);
}

static int look_into_qcow(struct parts *p, struct host_file *f, struct error *e)
{
    uint8_t head[48];
    struct cursor c = cursor_of(head, sizeof head);
    uint32_t length, crypt;
    uint64_t offset;

    if (host_file_pread(f, head, sizeof head, 0, e) != 0)
        return -1;
    cursor_skip(&c, 4 + 4);
    offset = cursor_be64(&c);
    length = cursor_be32(&c);
    cursor_skip(&c, 4 + 8 + 1 + 1 + 2); /* mtime, size, cluster and L2 bits, padding */
    crypt = cursor_be32(&c);
    if (crypt != 0)
        return err_set(e, ERR_UNSUPPORTED, "the image is encrypted");
    return offset == 0 || length == 0 ? 0 : look_at_name(p, f, offset, length, e);
}

static int look_into_vhd(struct host_file *f, struct error *e)
{
    uint64_t size = f->identity.size;
    uint8_t footer[512];
    bool at_head;

    if (host_file_pread(f, footer, sizeof footer, 0, e) != 0)
        return -1;
    at_head = memcmp(footer, "conectix", 8) == 0;
    if (!at_head && host_file_pread(f, footer, sizeof footer, size - sizeof footer, e) != 0)
        return -1;
    if (memcmp(footer, "conectix", 8) != 0)
        return err_set(e, ERR_FORMAT, "no VHD footer at either end of the file");
    /* the type, big endian: 2 fixed, 3 dynamic, 4 differencing */
    struct cursor c = cursor_of(footer + 60, 4);
    return cursor_be32(&c) == 4
               ? err_set(e, ERR_UNSUPPORTED, "differencing VHDs (with a parent) cannot be read")
               : 0;
}

/* ---- VHDX: [MS-VHDX], sections 2.2.3 and 2.6 ---- */

static const uint8_t vhdx_metadata_region[16] = {0x06, 0xa2, 0x7c, 0x8b, 0x90, 0x47, 0x9a, 0x4b,
                                                 0xb8, 0xfe, 0x57, 0x5f, 0x05, 0x0f, 0x88, 0x6e};
static const uint8_t vhdx_file_parameters[16] = {0x37, 0x67, 0xa1, 0xca, 0x36, 0xfa, 0x43, 0x4d,
                                                 0xb3, 0xb6, 0x33, 0xf0, 0xaa, 0x44, 0xe7, 0x6b};
#define VHDX_TABLE 65536u
#define VHDX_ENTRIES_MAX 2047u

/* The entry with this GUID in a table of `n` entries of 32 bytes; where its value lies. */
static bool vhdx_entry(struct cursor c, unsigned n, const uint8_t guid[16], bool region,
                       uint64_t *offset)
{
    for (unsigned i = 0; i < n && i < VHDX_ENTRIES_MAX; i++) {
        const uint8_t *id = cursor_bytes(&c, 16);
        uint64_t at = region ? cursor_le64(&c) : cursor_le32(&c);

        cursor_skip(&c, region ? 8 : 12);
        if (c.bad)
            return false;
        if (memcmp(id, guid, 16) == 0) {
            *offset = at;
            return true;
        }
    }
    return false;
}

static int look_into_vhdx(struct host_file *f, struct error *e)
{
    AUTO_FREE uint8_t *table = mem_array(VHDX_TABLE, 1, "a VHDX table", e);
    uint64_t metadata, item, at;
    uint8_t parameters[8];
    struct cursor c;
    unsigned n;

    if (table == NULL || host_file_pread(f, table, VHDX_TABLE, 192u << 10, e) != 0)
        return -1;
    c = cursor_of(table, VHDX_TABLE);
    cursor_skip(&c, 8);
    n = cursor_le32(&c);
    cursor_skip(&c, 4);
    if (memcmp(table, "regi", 4) != 0 || !vhdx_entry(c, n, vhdx_metadata_region, true, &metadata))
        return err_set(e, ERR_FORMAT, "its region table is damaged");
    if (host_file_pread(f, table, VHDX_TABLE, metadata, e) != 0)
        return -1;
    c = cursor_of(table, VHDX_TABLE);
    cursor_skip(&c, 10);
    n = cursor_le16(&c);
    cursor_skip(&c, 20);
    if (memcmp(table, "metadata", 8) != 0 || !vhdx_entry(c, n, vhdx_file_parameters, false, &item))
        return err_set(e, ERR_FORMAT, "its metadata table is damaged");
    if (ckd_add(&at, metadata, item))
        return err_set(e, ERR_FORMAT, "its metadata table is damaged");
    if (host_file_pread(f, parameters, sizeof parameters, at, e) != 0)
        return -1;
    return (parameters[4] & 2) != 0
               ? err_set(e, ERR_UNSUPPORTED, "differencing VHDXs (with a parent) cannot be read")
               : 0;
}

static int look_into(struct parts *p, struct host_file *f, const char *format, struct error *e)
{
    if (strcmp(format, "vmdk") == 0)
        return look_into_vmdk(p, f, e);
    if (strcmp(format, "qed") == 0)
        return look_into_qed(p, f, e);
    if (strcmp(format, "qcow") == 0)
        return look_into_qcow(p, f, e);
    if (strcmp(format, "vpc") == 0)
        return look_into_vhd(f, e);
    if (strcmp(format, "vhdx") == 0)
        return look_into_vhdx(f, e);
    return 0; /* the others refer to nothing */
}

int foreign_open_parts(struct disk *d, const struct disk_env *env, struct error *e)
{
    struct parts p = {.d = d, .env = env};
    int result = add_format(&p, d->format, e);

    for (size_t i = 0; result == 0 && i < d->n_files; i++) {
        if (p.formats[i] != NULL)
            result = look_into(&p, d->files[i], p.formats[i], e);
    }
    free(p.formats);
    return result;
}
