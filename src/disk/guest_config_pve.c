/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Proxmox VE's VMID.conf, line by line as PVE::QemuServer::parse_vm_config() takes it: "key:
 * value",
 * '#' for the description; a section in brackets, a snapshot or pending changes, ends the guest's
 * own part. */
#include "base/auto.h"
#include "base/mem.h"
#include "disk/guest_config_parts.h"

#define DIGITS "0123456789"
#define LOWER "abcdefghijklmnopqrstuvwxyz"

/* ---- spans ---- */

struct span span_trimmed(struct span s)
{
    static const char blanks[] = " \t\r\n\v\f";

    while (s.length > 0 && strchr(blanks, s.at[s.length - 1]) != NULL)
        s.length--;
    while (s.length > 0 && strchr(blanks, s.at[0]) != NULL)
        s = (struct span){s.at + 1, s.length - 1};
    return s;
}

size_t span_spn(struct span s, const char *set)
{
    size_t n = 0;

    while (n < s.length && strchr(set, s.at[n]) != NULL)
        n++;
    return n;
}

int span_of_file(const void *bytes, size_t length, struct span *out, struct error *e)
{
    if (length > GUEST_INPUT_MAX)
        return err_set(e, ERR_LIMIT, "a configuration of %zu bytes", length);
    if (length > 0 && memchr(bytes, 0, length) != NULL)
        return err_set(e, ERR_FORMAT, "not a configuration: it holds a NUL byte");
    *out = length > 0 ? (struct span){bytes, length} : span_of("");
    return 0;
}

/* ---- disks ---- */

struct parse {
    struct guest g;
    size_t disks_capacity;
    char *name;
    struct error *e;
};

/* The controllers that hold disks, and how many each may have. */
static bool is_disk_key(struct span key)
{
    static const struct {
        const char *name;
        unsigned n;
    } controllers[] = {{"ide", 4}, {"sata", 6}, {"scsi", 31}, {"virtio", 16}};
    size_t letters = span_spn(key, LOWER);
    struct span digits = {key.at + letters, key.length - letters};
    unsigned unit = 0;

    if (digits.length < 1 || digits.length > 2 || span_spn(digits, DIGITS) != digits.length ||
        (digits.length == 2 && digits.at[0] == '0'))
        return false;
    for (size_t i = 0; i < digits.length; i++)
        unit = unit * 10 + (unsigned)(digits.at[i] - '0');
    for (size_t i = 0; i < sizeof controllers / sizeof *controllers; i++) {
        if (span_is((struct span){key.at, letters}, controllers[i].name))
            return unit < controllers[i].n;
    }
    return false;
}

/* What a drive's value says: "[file=]VOLUME[,key=value]..." */
struct drive {
    struct span file, format, media, ro;
};

/* "key=value"; false where the part has no key. The volume may itself hold '=', as a device's path
 * does. */
static bool split_option(struct span part, struct span *key, struct span *value)
{
    size_t n = span_spn(part, LOWER "_-" DIGITS);

    if (n == 0 || n == part.length || part.at[n] != '=')
        return false;
    *key = (struct span){part.at, n};
    *value = (struct span){part.at + n + 1, part.length - n - 1};
    return true;
}

static struct drive parse_drive(struct span value)
{
    struct drive d = {.file = span_of("")};

    for (bool first = true; value.length > 0; first = false) {
        struct span part = span_trimmed(span_until(&value, ','));
        struct span key, v;

        if (!split_option(part, &key, &v)) {
            if (first)
                d.file = part;
        } else if (span_is(key, "file")) {
            d.file = v;
        } else if (span_is(key, "format")) {
            d.format = v;
        } else if (span_is(key, "media")) {
            d.media = v;
        } else if (span_is(key, "ro")) {
            d.ro = v;
        }
    }
    return d;
}

static bool is_true(struct span s)
{
    return span_is(s, "1") || span_is(s, "on") || span_is(s, "yes") || span_is(s, "true");
}

/* The disk of that name, emptied: where a key stands twice the last one counts, as with PVE. */
static struct guest_disk *disk_for(struct parse *p, struct span key)
{
    for (size_t i = 0; i < p->g.n_disks; i++) {
        if (span_is(key, p->g.disks[i].target)) {
            guest_disk_release(&p->g.disks[i]);
            return &p->g.disks[i];
        }
    }
    return guest_add_disk(&p->g, &p->disks_capacity, p->e);
}

static void remove_disk(struct parse *p, struct span key)
{
    struct guest *g = &p->g;

    for (size_t i = 0; i < g->n_disks; i++) {
        if (!span_is(key, g->disks[i].target))
            continue;
        guest_disk_release(&g->disks[i]);
        g->n_disks--;
        memmove(&g->disks[i], &g->disks[i + 1], (g->n_disks - i) * sizeof *g->disks);
        g->disks[g->n_disks] = (struct guest_disk){}; /* guest_add_disk() counts on it */
        return;
    }
}

static int add_drive(struct parse *p, struct span key, struct span value)
{
    struct drive drive = parse_drive(value);
    struct guest_disk *d;
    bool absolute = drive.file.length > 0 && drive.file.at[0] == '/';
    struct span format = drive.format;

    if (span_is(drive.media, "cdrom") || span_is(drive.file, "cdrom")) {
        remove_disk(p, key);
        return 0;
    }
    d = disk_for(p, key);
    if (d == NULL)
        return -1;
    d->target = guest_string(key.at, key.length, "a disk's name", p->e);
    if (d->target == NULL)
        return -1;
    d->source = guest_string(drive.file.at, drive.file.length, "a disk's volume", p->e);
    if (d->source == NULL)
        return -1;
    /* qemu-server takes a path as raw, never probing it */
    if (format.length == 0 && absolute)
        format = span_of("raw");
    if (format.length > 0) {
        d->format = guest_string(format.at, format.length, "a disk's format", p->e);
        if (d->format == NULL)
            return -1;
    }
    d->read_only = is_true(drive.ro);
    d->device = absolute && drive.file.length > 5 && memcmp(drive.file.at, "/dev/", 5) == 0;
    if (drive.file.length > 0 && !span_is(drive.file, "none"))
        return 0;
    d->why_not = mem_string("no medium", p->e);
    return d->why_not == NULL ? -1 : 0;
}

/* ---- lines ---- */

static int set_last(char **field, struct span value, const char *what, struct error *e)
{
    char *text = guest_string(value.at, value.length, what, e);

    if (text == NULL)
        return -1;
    free(*field);
    *field = text;
    return 0;
}

/* The UUID that the guest sees in its firmware tables. */
static int take_smbios(struct parse *p, struct span value)
{
    while (value.length > 0) {
        struct span part = span_trimmed(span_until(&value, ','));
        struct span key, v;

        if (split_option(part, &key, &v) && span_is(key, "uuid") && v.length > 0)
            return set_last(&p->g.uuid, v, "a guest's UUID", p->e);
    }
    return 0;
}

/* "key: value", as PVE's pattern for a key has it: letters, '-' and '_', then digits. */
static bool split_line(struct span line, struct span *key, struct span *value)
{
    size_t n = span_spn(line, LOWER "-_");

    if (n == 0 || line.at[0] == '-' || line.at[0] == '_')
        return false;
    n += span_spn((struct span){line.at + n, line.length - n}, DIGITS);
    if (n == line.length || line.at[n] != ':')
        return false;
    *key = (struct span){line.at, n};
    *value = span_trimmed((struct span){line.at + n + 1, line.length - n - 1});
    return true;
}

static int take_line(struct parse *p, struct span key, struct span value)
{
    if (span_is(key, "name"))
        return value.length == 0 ? 0 : set_last(&p->name, value, "a guest's name", p->e);
    if (span_is(key, "smbios1"))
        return take_smbios(p, value);
    return is_disk_key(key) ? add_drive(p, key, value) : 0;
}

static int take_lines(struct parse *p, struct span rest)
{
    bool any = false, other = false;

    while (rest.length > 0) {
        struct span line = span_until(&rest, '\n'), key, value;

        if (line.length > 0 && line.at[0] == '[')
            break;
        if (span_trimmed(line).length == 0 || line.at[0] == '#')
            continue;
        if (!split_line(line, &key, &value)) {
            other = true; /* PVE warns and goes on */
            continue;
        }
        any = true;
        if (take_line(p, key, value) != 0)
            return -1;
    }
    if (other && !any)
        return err_set(p->e, ERR_FORMAT, "not a guest's configuration: no line is 'key: value'");
    return 0;
}

/* The VMID's digits in "/etc/pve/qemu-server/100.conf"; of length 0 where there is none. */
static struct span vmid_of(const char *file_name)
{
    const char *slash = strrchr(file_name, '/');
    struct span s = span_of(slash == NULL ? file_name : slash + 1);
    size_t n = span_spn(s, DIGITS);

    if (n == 0 || n > 9 || s.at[0] == '0' ||
        !span_is((struct span){s.at + n, s.length - n}, ".conf"))
        n = 0;
    return (struct span){s.at, n};
}

static int finish(struct parse *p, struct span vmid, struct guest_list *out, size_t *capacity)
{
    struct guest *g;

    p->g.name = p->name == NULL ? guest_string(vmid.at, vmid.length, "a VMID", p->e)
                                : mem_printf(p->e, "%.*s (%s)", (int)vmid.length, vmid.at, p->name);
    if (p->g.name == NULL)
        return -1;
    /* the name has grown by the VMID */
    if (strlen(p->g.name) > GUEST_STRING_MAX)
        return err_set(p->e, ERR_LIMIT, "a guest's name of %zu bytes", strlen(p->g.name));
    if (guest_check(&p->g, p->e) != 0)
        return -1;
    g = guest_list_add(out, capacity, p->e);
    if (g == NULL)
        return -1;
    *g = p->g;
    p->g = (struct guest){};
    return 0;
}

int guest_config_parse_pve(const char *file_name, const void *bytes, size_t length,
                           struct guest_list *out, struct error *e)
{
    struct span vmid = vmid_of(file_name);
    struct parse p = {.e = e};
    struct guest_list list = {};
    size_t capacity = 0;
    struct span all;
    int result;

    if (vmid.length == 0)
        return err_set(e, ERR_FORMAT, "its name is not VMID.conf");
    result = span_of_file(bytes, length, &all, e);
    if (result == 0)
        result = take_lines(&p, all);
    if (result == 0)
        result = finish(&p, vmid, &list, &capacity);
    free(p.name);
    guest_release(&p.g);
    if (result == 0)
        *out = list;
    return result;
}
