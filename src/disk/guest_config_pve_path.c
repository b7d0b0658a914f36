/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Where a volume of Proxmox VE lies, by /etc/pve/storage.cfg:
 *
 *     dir: local
 *             path /var/lib/vz
 *             content iso,images
 *
 * as PVE::SectionConfig reads it: a blank line ends a section; and by the storage plugins' own
 * rules for names. */
#include "base/auto.h"
#include "base/mem.h"
#include "base/text.h"
#include "disk/guest_config_parts.h"

/* One storage, in spans of storage.cfg. */
struct storage {
    bool found;
    struct span id, type, path, vgname, pool, content_dirs;
};

/* ---- storage.cfg ---- */

static bool is_blank(char c)
{
    return c == ' ' || c == '\t';
}

static void take_property(struct storage *s, struct span line)
{
    struct span rest = span_trimmed(line);
    size_t n = 0;
    struct span key, value;

    while (n < rest.length && !is_blank(rest.at[n]))
        n++;
    key = (struct span){rest.at, n};
    value = span_trimmed((struct span){rest.at + n, rest.length - n});
    if (span_is(key, "path"))
        s->path = value;
    else if (span_is(key, "vgname"))
        s->vgname = value;
    else if (span_is(key, "pool"))
        s->pool = value;
    else if (span_is(key, "content-dirs"))
        s->content_dirs = value;
}

/* "type: id"; -1 for a line that is none. */
static int take_header(struct span line, struct span id, struct storage *s, bool *inside)
{
    struct span rest = span_trimmed(line), type = span_until(&rest, ':');

    rest = span_trimmed(rest);
    if (type.length == 0 || type.length == span_trimmed(line).length || rest.length == 0)
        return -1;
    *inside = rest.length == id.length && memcmp(rest.at, id.at, id.length) == 0;
    if (*inside) {
        *s = (struct storage){.found = true, .id = rest, .type = type};
    }
    return 0;
}

static int find_storage(struct span rest, struct span id, struct storage *out, struct error *e)
{
    bool inside = false;
    unsigned number = 0;

    while (rest.length > 0) {
        struct span line = span_until(&rest, '\n');

        number++;
        if (span_trimmed(line).length == 0) {
            inside = false;
            continue;
        }
        if (span_trimmed(line).at[0] == '#')
            continue;
        if (is_blank(line.at[0])) {
            if (inside)
                take_property(out, line);
        } else if (take_header(line, id, out, &inside) != 0) {
            return err_set(e, ERR_FORMAT, "storage.cfg: line %u is no storage and no property",
                           number);
        }
    }
    if (!out->found && span_is(id, "local"))
        *out = (struct storage){true, id, span_of("dir"), .path = span_of("/var/lib/vz")};
    return 0;
}

/* ---- names ---- */

/* A name that is one step of a path. */
static bool is_step(struct span s)
{
    return s.length > 0 && memchr(s.at, '/', s.length) == NULL && !span_is(s, ".") &&
           !span_is(s, "..");
}

/* One or more such names with '/' between them. */
static bool is_steps(struct span s)
{
    if (s.length == 0 || s.at[s.length - 1] == '/')
        return false;
    while (s.length > 0) {
        if (!is_step(span_until(&s, '/')))
            return false;
    }
    return true;
}

static bool ends_in(struct span s, const char *end)
{
    size_t n = strlen(end);

    return s.length > n && memcmp(s.at + s.length - n, end, n) == 0;
}

/* Proxmox VE tells formats by the volume's name. */
static const char *format_of(struct span name)
{
    static const char *const formats[] = {"qcow2", "raw", "vmdk", "qed", "vdi", "vhdx"};

    for (size_t i = 0; i < sizeof formats / sizeof *formats; i++) {
        size_t n = strlen(formats[i]);

        if (ends_in(name, formats[i]) && name.at[name.length - n - 1] == '.')
            return formats[i];
    }
    return "raw";
}

/* ---- what a volume becomes ---- */

/* Gathers what is known, so that the disk changes only when all of it is. */
struct place {
    char *path, *base, *format, *why_not;
    bool device;
};

static void place_release(struct place *p)
{
    free(p->path);
    free(p->base);
    free(p->format);
    free(p->why_not);
}

static int why_not(struct place *p, const char *text, struct error *e)
{
    p->why_not = mem_string(text, e);
    return p->why_not == NULL ? -1 : 0;
}

static int why_not_about(struct place *p, const char *before, struct span about, struct error *e)
{
    AUTO_BUF shown = {};

    text_escape(&shown, about.at, about.length < 128 ? about.length : 128);
    buf_put_u8(&shown, 0);
    if (buf_check(&shown, "a reason", e) != 0)
        return -1;
    p->why_not = mem_printf(e, "%s '%s'", before, (const char *)shown.bytes);
    return p->why_not == NULL ? -1 : 0;
}

static bool is_mounted(struct span type)
{
    static const char *const types[] = {"nfs", "cifs", "glusterfs", "cephfs"};

    for (size_t i = 0; i < sizeof types / sizeof *types; i++) {
        if (span_is(type, types[i]))
            return true;
    }
    return false;
}

/* The folder of disk images below the storage's own: "images", or what content-dirs says. */
static struct span images_folder(const struct storage *s)
{
    struct span rest = s->content_dirs;

    while (rest.length > 0) {
        struct span value = span_trimmed(span_until(&rest, ','));
        struct span key = span_until(&value, '=');

        if (span_is(key, "images") && is_steps(value))
            return value;
    }
    return span_of("images");
}

/* FOLDER/images/VMID/NAME. Raw images of btrfs are files in a subvolume of their own. */
static char *image_path(const struct storage *s, struct span vmid, struct span name,
                        struct error *e)
{
    struct span images = images_folder(s);
    bool raw_btrfs = span_is(s->type, "btrfs") && ends_in(name, ".raw");
    struct span folder = s->path;
    const char *mount = "";

    if (folder.length == 0 && is_mounted(s->type)) {
        mount = "/mnt/pve/";
        folder = s->id;
    }
    while (folder.length > 1 && folder.at[folder.length - 1] == '/')
        folder.length--;
    return mem_printf(e, "%s%.*s/%.*s/%.*s/%.*s%s", mount, (int)folder.length, folder.at,
                      (int)images.length, images.at, (int)vmid.length, vmid.at,
                      (int)(raw_btrfs ? name.length - 4 : name.length), name.at,
                      raw_btrfs ? "/disk.raw" : "");
}

/* VMID/NAME, or BASE-VMID/BASE-NAME/VMID/NAME of a linked clone. */
static int place_file(const struct storage *s, struct span volume, struct place *p, struct error *e)
{
    struct span parts[4] = {}, rest = volume;
    size_t n = 0;

    while (rest.length > 0 && n < 4)
        parts[n++] = span_until(&rest, '/');
    for (size_t i = 0; i < n; i++) {
        bool is_number = span_spn(parts[i], "0123456789") == parts[i].length;

        if (!is_step(parts[i]) || (i % 2 == 0 && !is_number))
            return why_not_about(p, "not a volume of disk images:", volume, e);
    }
    if (rest.length > 0 || n == 0 || n % 2 != 0)
        return why_not_about(p, "not a volume of disk images:", volume, e);
    if (s->path.length > 0 ? s->path.at[0] != '/' : !is_mounted(s->type) || !is_step(s->id))
        return why_not_about(p, "no path in storage.cfg for the storage", s->id, e);
    p->format = mem_string(format_of(parts[n - 1]), e);
    if (p->format == NULL)
        return -1;
    p->path = image_path(s, parts[n - 2], parts[n - 1], e);
    if (p->path == NULL)
        return -1;
    if (n == 4)
        p->base = image_path(s, parts[0], parts[1], e);
    return n == 4 && p->base == NULL ? -1 : 0;
}

/* Of BASE/NAME, as clones on ZFS are written, NAME; the clone holds what it shares itself. */
static int place_device(const char *below, struct span group, const char *missing,
                        const struct storage *s, struct span volume, struct place *p,
                        struct error *e)
{
    struct span name = volume, first = span_until(&name, '/');

    if (name.length == 0)
        name = first;
    if (!is_step(first) || !is_step(name))
        return why_not_about(p, "not a volume of disk images:", volume, e);
    if (!is_steps(group))
        return why_not_about(p, missing, s->id, e);
    p->device = true;
    p->format = mem_string(format_of(name), e);
    if (p->format == NULL)
        return -1;
    p->path =
        mem_printf(e, "%s%.*s/%.*s", below, (int)group.length, group.at, (int)name.length, name.at);
    return p->path == NULL ? -1 : 0;
}

static int place_volume(const struct storage *s, struct span volume, struct place *p,
                        struct error *e)
{
    if (span_is(s->type, "dir") || span_is(s->type, "btrfs") || is_mounted(s->type))
        return place_file(s, volume, p, e);
    if (span_is(s->type, "lvm") || span_is(s->type, "lvmthin"))
        return place_device("/dev/", s->vgname, "no volume group in storage.cfg for the storage", s,
                            volume, p, e);
    if (span_is(s->type, "zfspool"))
        return place_device("/dev/zvol/", s->pool, "no pool in storage.cfg for the storage", s,
                            volume, p, e);
    return why_not_about(p, "a storage that gives no path here, of type", s->type, e);
}

static int place_of(const struct guest_disk *d, struct span config, struct place *p,
                    struct error *e)
{
    struct span volume = span_of(d->source), id = span_until(&volume, ':');
    struct storage s = {};

    if (id.length == 0 || volume.length == 0)
        return why_not(p, "neither a path nor STORAGE:VOLUME", e);
    if (find_storage(config, id, &s, e) != 0)
        return -1;
    if (!s.found)
        return why_not_about(p, "no such storage:", id, e);
    if (place_volume(&s, volume, p, e) != 0)
        return -1;
    if ((p->path != NULL && strlen(p->path) > GUEST_STRING_MAX) ||
        (p->base != NULL && strlen(p->base) > GUEST_STRING_MAX))
        return err_set(e, ERR_LIMIT, "the path of a volume is too long");
    return 0;
}

int guest_config_pve_path(const void *storage_cfg, size_t length, struct guest_disk *disk,
                          struct error *e)
{
    struct place p = {};
    struct span config;
    int result = span_of_file(storage_cfg, length, &config, e);

    if (result != 0 || disk->why_not != NULL || disk->source[0] == '/')
        return result;
    result = place_of(disk, config, &p, e);
    if (result == 0 && p.base != NULL)
        result = guest_disk_add_backing(disk, p.base, e);
    if (result != 0) {
        place_release(&p);
        return -1;
    }
    if (p.path != NULL) {
        free(disk->source);
        disk->source = take(p.path);
        disk->device = p.device;
    }
    if (disk->format == NULL)
        disk->format = take(p.format);
    disk->why_not = take(p.why_not);
    place_release(&p);
    return 0;
}
