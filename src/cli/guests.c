/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "cli/guests.h"

#include "app/virsh.h"
#include "base/mem.h"

#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define LIBVIRT_FOLDER "/etc/libvirt/qemu"
#define PVE_STORAGE_NAME "storage.cfg"

/* Definitions to read, in order. */
struct definition {
    char *name; /* for messages */
    char *path;
    int fd; /* that path leads to, or -1 */
};

struct definitions {
    struct definition *items;
    size_t n, capacity;
};

static void definitions_release(struct definitions *d)
{
    for (size_t i = 0; i < d->n; i++) {
        free(d->items[i].name);
        free(d->items[i].path);
        if (d->items[i].fd >= 0)
            close(d->items[i].fd);
    }
    free(d->items);
}

/* Takes all three. */
static int add_definition(struct definitions *d, char *name, char *path, int fd, struct error *e)
{
    if (name == NULL || path == NULL ||
        mem_grow(&d->items, &d->capacity, d->n + 1, sizeof *d->items, "guests", e) != 0) {
        free(name);
        free(path);
        if (fd >= 0)
            close(fd);
        return -1;
    }
    d->items[d->n++] = (struct definition){name, path, fd};
    return 0;
}

static int add_path(struct definitions *d, const char *path, struct error *e)
{
    return add_definition(d, mem_string(path, e), mem_string(path, e), -1, e);
}

static bool ends_in(const char *name, const char *end)
{
    size_t n = strlen(name), m = strlen(end);

    return n > m && strcmp(name + n - m, end) == 0;
}

/* The files of a folder that end in `end`, in name order (not those of folders below). */
static int add_folder(struct definitions *d, const char *folder, const char *end, struct error *e)
{
    struct dirent **entries;
    int n = scandir(folder, &entries, NULL, alphasort);
    int rc = 0;

    if (n < 0)
        return err_sys(e, "%s", folder);
    for (int i = 0; i < n; i++) {
        AUTO_FREE char *path = mem_printf(e, "%s/%s", folder, entries[i]->d_name);

        if (rc == 0 && ends_in(entries[i]->d_name, end))
            rc = path == NULL ? -1 : add_path(d, path, e);
        free(entries[i]);
    }
    free(entries);
    return rc;
}

static int add_file_or_folder(struct definitions *d, const char *path, struct error *e)
{
    struct stat st;

    if (stat(path, &st) != 0)
        return err_sys(e, "%s", path);
    return S_ISDIR(st.st_mode) ? add_folder(d, path, ".xml", e) : add_path(d, path, e);
}

/* What libvirt says of a guest. */
static int add_from_virsh(struct definitions *d, const char *guest, struct error *e)
{
    int fd = -1;

    if (virsh_definition(guest, &fd, e) != 0)
        return -1;
    return add_definition(d, mem_printf(e, "libvirt guest %s", guest),
                          mem_printf(e, "/proc/self/fd/%d", fd), fd, e);
}

static int ask_libvirt(const struct common_options *o, struct definitions *d, struct error *e)
{
    AUTO_BUF names = {};

    if (o->all_domains && virsh_list(&names, e) != 0)
        return -1;
    for (size_t at = 0; at < names.length; at += strlen((char *)names.bytes + at) + 1) {
        if (add_from_virsh(d, (char *)names.bytes + at, e) != 0)
            return -1;
    }
    for (size_t i = 0; !o->all_domains && i < o->domains.n; i++) {
        if (add_from_virsh(d, o->domains.items[i], e) != 0)
            return -1;
    }
    return 0;
}

/* Without virsh: the folder where libvirtd keeps what it was told. */
static int look_into_libvirt_folder(const struct common_options *o, struct definitions *d,
                                    struct error *e)
{
    if (o->all_domains)
        return add_folder(d, LIBVIRT_FOLDER, ".xml", e);
    for (size_t i = 0; i < o->domains.n; i++) {
        AUTO_FREE char *path = mem_printf(e, "%s/%s.xml", LIBVIRT_FOLDER, o->domains.items[i]);
        struct stat st;

        if (path == NULL)
            return -1;
        if (strchr(o->domains.items[i], '/') != NULL || stat(path, &st) != 0)
            return err_set(e, ERR_NOT_FOUND, "no guest %s in %s", o->domains.items[i],
                           LIBVIRT_FOLDER);
        if (add_path(d, path, e) != 0)
            return -1;
    }
    return 0;
}

static int libvirt_definitions(const struct common_options *o, struct definitions *d,
                               struct error *e)
{
    struct error ignored;

    for (size_t i = 0; i < o->domain_xml.n; i++) {
        if (add_file_or_folder(d, o->domain_xml.items[i], e) != 0)
            return err_wrap(e, "--domain-xml");
    }
    if (o->domain_xml.n > 0 || ask_libvirt(o, d, e) == 0)
        return 0;
    if (d->n == 0 && look_into_libvirt_folder(o, d, &ignored) == 0)
        return 0;
    return err_wrap(e, "libvirt cannot be asked (--domain-xml=FILE takes a definition from "
                       "elsewhere)");
}

static bool wanted(const struct common_options *o, const struct guest *g)
{
    for (size_t i = 0; i < o->domains.n; i++) {
        if (strcmp(o->domains.items[i], g->name) == 0 ||
            (g->uuid != NULL && strcmp(o->domains.items[i], g->uuid) == 0))
            return true;
    }
    return o->domains.n == 0;
}

struct reading {
    struct session *session;
    const char *file;
    bool filter;
    size_t found;
    int (*each)(void *arg, const char *file, const struct guest *guest, struct error *e);
    void *arg;
};

static int take_guest(void *arg, uint16_t type, struct cursor payload, struct error *e)
{
    struct reading *r = arg;
    struct guest_list one = {};
    int rc = 0;

    if (type != MSG_GUEST)
        return err_set(e, ERR_PEER, "the worker sent something else than a guest");
    one.guests = mem_array(1, sizeof *one.guests, "a guest", e);
    if (one.guests == NULL)
        return -1;
    if (guest_decode(&payload, &one.guests[0], e) != 0) {
        free(one.guests);
        return -1;
    }
    one.n = 1;
    if (!r->filter || wanted(r->session->o, &one.guests[0])) {
        r->found++;
        rc = r->each(r->arg, r->file, &one.guests[0], e);
    }
    guest_list_release(&one);
    return rc;
}

/* One definition file through the worker; storage may be NULL. What is wrong with it is told. */
static int read_definition(struct reading *r, const struct definition *d, const char *storage,
                           bool pve, struct error *e)
{
    struct source sources[2] = {{.name = d->name, .path = d->path},
                                {.name = (char *)storage, .path = (char *)storage}};
    struct job job = {.kind = JOB_GUESTS, .pve = pve, .storage_config = storage != NULL};
    int rc;

    r->file = d->name;
    rc = session_run(r->session, &job, sources, NULL, storage != NULL ? 2 : 1, NULL, take_guest,
                     NULL, r, e);
    job_release(&job);
    if (rc != 0 && e->code != ERR_CANCELLED && e->code != ERR_MEMORY) {
        session_tell(r->session, d->name, e);
        return 0;
    }
    return rc;
}

static int read_libvirt(struct reading *r, struct error *e)
{
    const struct common_options *o = r->session->o;
    struct definitions d = {};
    int rc = libvirt_definitions(o, &d, e);

    r->filter = true;
    for (size_t i = 0; rc == 0 && i < d.n; i++)
        rc = read_definition(r, &d.items[i], NULL, false, e);
    definitions_release(&d);
    if (rc == 0 && o->domains.n > 0 && r->found == 0)
        rc = err_set(e, ERR_NOT_FOUND, "--domain=%s: no definition has a guest of this name",
                     o->domains.items[0]);
    return rc;
}

/* storage.cfg stands beside the folder (/etc/pve/storage.cfg) or in it. */
static char *find_storage(const char *folder)
{
    struct error ignored;
    struct stat st;

    for (size_t i = 0; i < 2; i++) {
        char *path = i == 0 ? mem_printf(&ignored, "%s/" PVE_STORAGE_NAME, folder)
                            : mem_printf(&ignored, "%s/../" PVE_STORAGE_NAME, folder);

        if (path != NULL && stat(path, &st) == 0)
            return path;
        free(path);
    }
    return NULL;
}

static int read_pve(struct reading *r, struct error *e)
{
    const char *folder = r->session->o->pve_conf;
    AUTO_FREE char *storage = find_storage(folder);
    struct definitions d = {};
    int rc = add_folder(&d, folder, ".conf", e);

    if (rc != 0)
        err_wrap(e, "--pve-conf");
    r->filter = false;
    for (size_t i = 0; rc == 0 && i < d.n; i++)
        rc = read_definition(r, &d.items[i], storage, true, e);
    definitions_release(&d);
    return rc;
}

int guests_each(struct session *s,
                int (*each)(void *arg, const char *file, const struct guest *guest,
                            struct error *e),
                void *arg, struct error *e)
{
    const struct common_options *o = s->o;
    struct reading r = {.session = s, .each = each, .arg = arg};

    if ((o->domains.n > 0 || o->all_domains || o->domain_xml.n > 0) && read_libvirt(&r, e) != 0)
        return -1;
    if (o->pve_conf != NULL && read_pve(&r, e) != 0)
        return -1;
    return 0;
}

static int add_guest(void *arg, const char *file, const struct guest *guest, struct error *e)
{
    struct session *s = arg;

    (void)file;
    return source_add_guest(&s->sources, guest, e);
}

int guests_add(struct session *s, struct error *e)
{
    return guests_each(s, add_guest, s, e);
}
