/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "app/source.h"

#include "app/magic.h"
#include "app/nbd_uri.h"
#include "base/io.h"
#include "base/mem.h"
#include "cluster/replace.h"

#include <errno.h>
#include <fcntl.h>
#include <fts.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#define FOLDER_DEPTH 64

static void source_release(struct source *s)
{
    free(s->name);
    free(s->path);
    free(s->snapshot);
    free(s->format);
    free(s->guest);
    free(s->fixed);
    free(s->export_name);
    free(s->nbd_host);
    free(s->nbd_port);
    free(s->nbd_socket);
}

void source_set_release(struct source_set *s)
{
    for (size_t i = 0; i < s->n; i++)
        source_release(&s->items[i]);
    free(s->items);
    s->items = NULL;
    s->n = s->capacity = 0;
}

static int copy(char **to, const char *from, struct error *e)
{
    if (from == NULL)
        return 0;
    *to = mem_string(from, e);
    return *to == NULL ? -1 : 0;
}

/* Takes what `source` owns. */
static int add(struct source_set *s, struct source *source, struct error *e)
{
    if (mem_grow(&s->items, &s->capacity, s->n + 1, sizeof *s->items, "images", e) != 0) {
        source_release(source);
        return -1;
    }
    s->items[s->n++] = *source;
    return 0;
}

/* The frozen base that a rebase made of an image goes with the image: overlays in other folders
 * stand on it. */
static int allow_image(struct source_set *s, const char *path, struct error *e)
{
    AUTO_FREE
    char *real = realpath(path, NULL);
    AUTO_FREE
    char *base = real == NULL ? NULL : mem_printf(e, "%s" REPLACE_BASE, real);
    struct stat st;

    if (real == NULL)
        return err_sys(e, "%s", path);
    if (base == NULL)
        return -1;
    if (lstat(base, &st) == 0 && S_ISREG(st.st_mode) && opener_allow_file(s->opener, base, e) != 0)
        return -1;
    return opener_allow_file(s->opener, path, e);
}

static int add_path(struct source_set *s, const char *name, const char *path, const char *snapshot,
                    const char *format, struct error *e)
{
    struct source source = {};

    if (format == NULL && replace_made_overlay(path))
        format = "qcow2";
    if (copy(&source.name, name, e) != 0 || copy(&source.path, path, e) != 0 ||
        copy(&source.snapshot, snapshot, e) != 0 || copy(&source.format, format, e) != 0 ||
        allow_image(s, path, e) != 0) {
        source_release(&source);
        return -1;
    }
    return add(s, &source, e);
}

/* ---- folders ---- */

static int by_name(const FTSENT **a, const FTSENT **b)
{
    return strcmp((*a)->fts_name, (*b)->fts_name);
}

/* Which files were named before a folder is walked, sorted. */
struct known {
    struct file_key {
        dev_t device;
        ino_t inode;
    } * files;
    size_t n;
    bool met; /* one of them, in the folder */
};

static int compare_keys(const void *a, const void *b)
{
    const struct file_key *x = a, *y = b;

    if (x->device != y->device)
        return x->device < y->device ? -1 : 1;
    return x->inode < y->inode ? -1 : x->inode > y->inode;
}

static int known_make(struct known *k, const struct source_set *s, struct error *e)
{
    k->files = mem_array(s->n, sizeof *k->files, "images", e);
    if (k->files == NULL)
        return -1;
    for (size_t i = 0; i < s->n; i++) {
        struct stat st;

        if (s->items[i].path != NULL && s->items[i].snapshot == NULL &&
            stat(s->items[i].path, &st) == 0)
            k->files[k->n++] = (struct file_key){st.st_dev, st.st_ino};
    }
    qsort(k->files, k->n, sizeof *k->files, compare_keys);
    return 0;
}

static bool is_known(struct known *k, const struct stat *file)
{
    struct file_key key = {file->st_dev, file->st_ino};
    bool found = k->n > 0 && bsearch(&key, k->files, k->n, sizeof *k->files, compare_keys) != NULL;

    k->met |= found;
    return found;
}

static int add_found(struct source_set *s, struct known *known, const FTSENT *entry,
                     struct error *e)
{
    AUTO_FD int fd = io_open_quietly(entry->fts_path, O_NOFOLLOW | O_NONBLOCK);

    if (fd < 0) {
        err_sys(e, "cannot open");
        problem_report_error(&s->problems, entry->fts_path, e);
        return 0;
    }
    /* what is an argument as well, or lies in a folder before this one, counts once */
    if (!magic_is_image(entry->fts_name, fd) || is_known(known, entry->fts_statp))
        return 0;
    return add_path(s, entry->fts_path, entry->fts_path, NULL, s->image_format, e);
}

static int add_folder(struct source_set *s, const char *path, struct error *e)
{
    char *const roots[] = {(char *)path, NULL};
    size_t before = s->n;
    FTS *walk = fts_open(roots, FTS_PHYSICAL | FTS_NOCHDIR | FTS_COMFOLLOW, by_name);
    struct known known = {};
    FTSENT *entry;
    int rc;

    if (walk == NULL)
        return err_sys(e, "cannot read the folder");
    rc = known_make(&known, s, e);
    while (rc == 0 && (errno = 0, entry = fts_read(walk)) != NULL) {
        if (entry->fts_info == FTS_F) {
            rc = add_found(s, &known, entry, e);
        } else if (entry->fts_info == FTS_DNR || entry->fts_info == FTS_ERR ||
                   entry->fts_info == FTS_NS) {
            struct error why;

            errno = entry->fts_errno;
            err_sys(&why, "cannot read");
            problem_report_error(&s->problems, entry->fts_path, &why);
        } else if (entry->fts_info == FTS_D && entry->fts_level > FOLDER_DEPTH) {
            problem_report(&s->problems, SEVERITY_ERROR, ERR_LIMIT, entry->fts_path,
                           PROBLEM_NO_OFFSET, "folders nested deeper than %d", FOLDER_DEPTH);
            fts_set(walk, entry, FTS_SKIP);
        }
    }
    if (rc == 0 && errno != 0)
        rc = err_sys(e, "cannot read the folder");
    fts_close(walk);
    free(known.files);
    if (rc == 0 && s->n == before && !known.met)
        problem_report(
            &s->problems, SEVERITY_WARNING, ERR_NOT_FOUND, path, PROBLEM_NO_OFFSET,
            "no disk image in this folder (images have an image's magic, or are named .raw "
            "or .img)");
    return rc;
}

/* ---- arguments ---- */

static int add_existing(struct source_set *s, const char *argument, const struct stat *st,
                        struct error *e)
{
    if (S_ISDIR(st->st_mode)) {
        if (opener_allow_folder(s->opener, argument, e) != 0)
            return -1;
        return add_folder(s, argument, e);
    }
    return add_path(s, argument, argument, NULL, s->image_format, e);
}

/* IMAGE@SNAPSHOT: the longest prefix before an @ that exists. */
static int add_snapshot(struct source_set *s, const char *argument, struct error *e)
{
    AUTO_FREE char *prefix = mem_string(argument, e);
    struct stat st;
    char *at;

    if (prefix == NULL)
        return -1;
    while ((at = strrchr(prefix, '@')) != NULL) {
        *at = 0;
        if (prefix[0] == 0 || stat(prefix, &st) != 0)
            continue;
        if (S_ISDIR(st.st_mode))
            break;
        if (argument[at - prefix + 1] == 0)
            return err_set(e, ERR_USAGE, "a snapshot's name is missing after the @");
        return add_path(s, argument, prefix, argument + (at - prefix) + 1, s->image_format, e);
    }
    return err_set(e, ERR_NOT_FOUND, "No such file or directory");
}

int source_add(struct source_set *s, const char *argument, struct error *e)
{
    struct stat st;

    if (argument[0] == 0)
        return err_set(e, ERR_USAGE, "an empty name is no image");
    if (nbd_uri_is(argument)) {
        struct source source = {};

        if (copy(&source.name, argument, e) != 0 || nbd_uri_parse(argument, &source, e) != 0) {
            source_release(&source);
            return -1;
        }
        return add(s, &source, e);
    }
    if (stat(argument, &st) == 0)
        return add_existing(s, argument, &st, e);
    if (errno != ENOENT && errno != ENOTDIR)
        return err_sys(e, "cannot open");
    return add_snapshot(s, argument, e);
}

/* ---- guests ---- */

/* What the definition says, unless a rebase put an overlay in the image's place since. */
static const char *guest_format(const struct source_set *s, const struct guest *g,
                                const struct guest_disk *d)
{
    if (s->image_format != NULL)
        return s->image_format;
    if ((d->format != NULL && strcmp(d->format, "raw") != 0) || !replace_made_overlay(d->source))
        return d->format; /* libvirt takes a disk without one for raw */
    problem_report(&s->problems, SEVERITY_WARNING, ERR_CHANGED, d->source, PROBLEM_NO_OFFSET,
                   "a rebase made it a qcow2 overlay, but disk %s of guest %s is still defined as "
                   "raw: started like that, the guest would destroy it",
                   d->target, g->name);
    return "qcow2";
}

static int add_guest_disk(struct source_set *s, const struct guest *g, const struct guest_disk *d,
                          struct error *e)
{
    struct source source = {};
    struct stat st;

    if (copy(&source.name, d->source, e) != 0 || copy(&source.path, d->source, e) != 0 ||
        copy(&source.format, guest_format(s, g, d), e) != 0 ||
        copy(&source.guest, g->name, e) != 0 ||
        copy(&source.fixed, d->device ? "a block device" : NULL, e) != 0) {
        source_release(&source);
        return -1;
    }
    if (stat(d->source, &st) != 0) {
        err_sys(e, "disk %s of guest %s", d->target, g->name);
        problem_report_error(&s->problems, d->source, e);
        source_release(&source);
        return 0;
    }
    for (char **b = d->backing; b != NULL && *b != NULL; b++) {
        if (stat(*b, &st) == 0 && opener_allow_file(s->opener, *b, e) != 0) {
            source_release(&source);
            return -1;
        }
    }
    if (allow_image(s, d->source, e) != 0) {
        source_release(&source);
        return -1;
    }
    return add(s, &source, e);
}

int source_add_guest(struct source_set *s, const struct guest *g, struct error *e)
{
    for (size_t i = 0; i < g->n_disks; i++) {
        const struct guest_disk *d = &g->disks[i];

        if (d->why_not != NULL) {
            problem_report(&s->problems, SEVERITY_WARNING, ERR_UNSUPPORTED,
                           d->source != NULL ? d->source : g->name, PROBLEM_NO_OFFSET,
                           "disk %s of guest %s is left out: %s", d->target, g->name, d->why_not);
            continue;
        }
        if (add_guest_disk(s, g, d, e) != 0)
            return -1;
    }
    return 0;
}
