/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "cli/rebase_guests.h"

#include "base/mem.h"
#include "cli/guests.h"

#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

void definitions_list_release(struct definitions_list *l)
{
    for (size_t i = 0; i < l->n; i++) {
        free(l->items[i].guest);
        free(l->items[i].file);
        free(l->items[i].target);
        free(l->items[i].path);
        free(l->items[i].format);
    }
    free(l->items);
    *l = (struct definitions_list){};
}

/* ---- finding ---- */

struct search {
    const struct replace *plan;
    struct definitions_list *out;
};

static bool is_swapped(const struct replace *plan, const char *path)
{
    struct stat a, b;
    size_t n;
    const struct replace_step *steps = replace_steps(plan, &n);

    if (stat(path, &a) != 0)
        return false;
    for (size_t i = 0; i < n; i++) {
        if (steps[i].kind == REPLACE_STEP_SWAP && stat(steps[i].to, &b) == 0 &&
            a.st_dev == b.st_dev && a.st_ino == b.st_ino)
            return true;
    }
    return false;
}

static bool is_proxmox(const char *file)
{
    size_t length = strlen(file);

    return length > 5 && strcmp(file + length - 5, ".conf") == 0;
}

static int add(struct definitions_list *l, const char *file, const struct guest *g,
               const struct guest_disk *disk, struct error *e)
{
    struct definition d = {.proxmox = is_proxmox(file), .backing_store = disk->backing_store};

    if (mem_grow(&l->items, &l->capacity, l->n + 1, sizeof *l->items, "guests", e) != 0)
        return -1;
    d.guest = mem_string(g->name, e);
    d.file = mem_string(file, e);
    d.target = mem_string(disk->target, e);
    d.path = mem_string(disk->source, e);
    d.format = disk->format == NULL ? NULL : mem_string(disk->format, e);
    l->items[l->n++] = d;
    return d.guest == NULL || d.file == NULL || d.target == NULL || d.path == NULL ||
                   (d.format == NULL && disk->format != NULL)
               ? -1
               : 0;
}

static int look(void *arg, const char *file, const struct guest *g, struct error *e)
{
    struct search *s = arg;

    for (size_t i = 0; i < g->n_disks; i++) {
        const struct guest_disk *d = &g->disks[i];

        if (d->why_not == NULL && d->source != NULL && is_swapped(s->plan, d->source) &&
            add(s->out, file, g, d, e) != 0)
            return -1;
    }
    return 0;
}

int rebase_guests_find(struct session *s, const struct replace *plan, struct definitions_list *out,
                       struct error *e)
{
    struct search search = {plan, out};

    return guests_each(s, look, &search, e);
}

/* ---- what it means ---- */

/* libvirt takes a disk without a type for raw; it never probes. */
static bool is_defined_raw(const struct definition *d)
{
    return d->format == NULL || strcmp(d->format, "qcow2") != 0;
}

bool definition_needs_change(const struct definition *d)
{
    return is_defined_raw(d) || d->backing_store;
}

static size_t count_raw(const struct replace *plan, const struct replace_item *items)
{
    size_t n, raw = 0;
    const struct replace_step *steps = replace_steps(plan, &n);

    for (size_t i = 0; i < n; i++) {
        raw +=
            steps[i].kind == REPLACE_STEP_SWAP && strcmp(items[steps[i].item].format, "qcow2") != 0;
    }
    return raw;
}

void rebase_guests_warn(struct session *s, const struct definitions_list *l,
                        const struct replace *plan, const struct replace_item *items)
{
    const struct problem_sink *sink = &s->sources.problems;
    size_t raw = count_raw(plan, items);

    for (size_t i = 0; i < l->n; i++) {
        const struct definition *d = &l->items[i];

        if (!is_defined_raw(d))
            continue;
        if (d->proxmox)
            problem_report(sink, SEVERITY_WARNING, ERR_CHANGED, d->path, PROBLEM_NO_OFFSET,
                           "disk %s of guest %s becomes qcow2, but Proxmox VE takes the format "
                           "from the name, which does not end in .qcow2: the guest would be "
                           "started on it as raw and destroy it",
                           d->target, d->guest);
        else
            problem_report(sink, SEVERITY_WARNING, ERR_CHANGED, d->path, PROBLEM_NO_OFFSET,
                           "disk %s of guest %s becomes qcow2, but is defined as %s: started like "
                           "that, the guest would destroy it",
                           d->target, d->guest, d->format != NULL ? d->format : "raw");
    }
    if (raw > 0)
        problem_report(sink, SEVERITY_WARNING, ERR_CHANGED, "", PROBLEM_NO_OFFSET,
                       "%zu raw image%s qcow2 under the same name%s: whoever starts a guest on "
                       "one as raw (libvirt's <driver type='raw'/>, format=raw of QEMU, a name in "
                       ".raw on Proxmox VE) destroys it; change that first",
                       raw, raw == 1 ? " becomes" : "s become", raw == 1 ? "" : "s");
}

static void text_line(struct buf *out, const struct definition *d)
{
    AUTO_FREE
    char *guest = shown(d->guest);
    AUTO_FREE
    char *target = shown(d->target);
    AUTO_FREE
    char *path = shown(d->path);

    buf_printf(out, "  %s, disk %s, %s\n", guest, target, path);
    if (d->proxmox && is_defined_raw(d))
        buf_printf(out, "    Proxmox VE takes its format from its name: undo, or give the image "
                        "and the VMID.conf a name in .qcow2\n");
    else if (is_defined_raw(d))
        buf_printf(out, "    <driver type='%s'/> has to become <driver type='qcow2'/>\n",
                   d->format != NULL ? d->format : "raw");
    if (d->backing_store)
        buf_printf(out, "    <backingStore> has to go: libvirt then finds the new chain itself\n");
}

void rebase_guests_text(struct buf *out, const struct definitions_list *l)
{
    size_t change = 0;

    for (size_t i = 0; i < l->n; i++)
        change += definition_needs_change(&l->items[i]);
    if (change > 0)
        buf_printf(out, "\nDefinitions that must be changed (virsh edit) before these guests are "
                        "started again:\n");
    for (size_t i = 0; i < l->n; i++) {
        if (definition_needs_change(&l->items[i]))
            text_line(out, &l->items[i]);
    }
    if (l->n > change)
        buf_printf(out, "\nDefinitions that are right as they are (qcow2, and the new chain is "
                        "found by itself):\n");
    for (size_t i = 0; i < l->n; i++) {
        if (!definition_needs_change(&l->items[i]))
            text_line(out, &l->items[i]);
    }
}

void rebase_guests_json(struct json *j, const struct definitions_list *l)
{
    json_array(j, "domains");
    for (size_t i = 0; i < l->n; i++) {
        const struct definition *d = &l->items[i];

        json_object(j, NULL);
        json_string(j, "domain", d->guest);
        json_string(j, "definition", d->file);
        json_string(j, "kind", d->proxmox ? "proxmox" : "libvirt");
        json_string(j, "target", d->target);
        json_string(j, "path", d->path);
        json_string(j, "defined_type", d->format);
        json_string(j, "driver_type", "qcow2");
        json_bool(j, "remove_backing_store", d->backing_store);
        json_bool(j, "needs_change", definition_needs_change(d));
        json_object_end(j);
    }
    json_array_end(j);
}
