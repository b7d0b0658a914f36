/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Images, their folders and their names. */
#include "cluster/replace_internal.h"

#include "base/buf.h"
#include "base/io.h"
#include "base/mem.h"
#include "disk/file.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/xattr.h>
#include <unistd.h>

#define LINKS_MAX 40 /* as the kernel has it */

const char *replace_name(const char *path)
{
    return strrchr(path, '/') + 1;
}

struct replace *replace_new(size_t n, const struct replace_options *o, struct error *e)
{
    AUTO(replace) *r = mem_array(1, sizeof *r, "a rebase", e);

    if (r == NULL || (r->images = mem_array(n, sizeof *r->images, "images", e)) == NULL)
        return NULL;
    r->n = n;
    r->options = *o;
    for (size_t i = 0; i < n; i++)
        r->images[i].fd = -1;
    return take(r);
}

static void image_release(struct replace_image *m)
{
    free(m->path);
    free(m->path_new);
    free(m->path_base);
    free(m->path_old);
    free(m->backing_name);
    free(m->fresh_name);
    if (m->fd >= 0)
        close(m->fd);
}

void replace_free(struct replace *r)
{
    if (r == NULL)
        return;
    for (size_t i = 0; r->images != NULL && i < r->n; i++)
        image_release(&r->images[i]);
    for (size_t i = 0; i < r->n_folders; i++) {
        free(r->folders[i].path);
        close(r->folders[i].fd);
    }
    free(r->images);
    free(r->folders);
    free(r->steps);
    free(r);
}

/* ---- folders ---- */

/* Takes the path (absolute, without links). */
static int find_folder(struct replace *r, char *path_taken, size_t *out, struct error *e)
{
    AUTO_FREE char *path = path_taken;
    struct replace_folder *f;
    struct stat st;
    AUTO_FD int fd = -1;

    for (size_t i = 0; i < r->n_folders; i++) {
        if (strcmp(r->folders[i].path, path) == 0) {
            *out = i;
            return 0;
        }
    }
    fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0 || fstat(fd, &st) < 0)
        return err_sys(e, "%s", path);
    if (mem_grow(&r->folders, &r->folders_capacity, r->n_folders + 1, sizeof *r->folders, "folders",
                 e) < 0)
        return -1;
    f = &r->folders[r->n_folders];
    *f = (struct replace_folder){.path = take(path), .fd = take_fd(&fd), .device = st.st_dev};
    *out = r->n_folders++;
    return 0;
}

/* The folder of `path` without links, and its last component in `name`. */
static char *split(const char *path, char name[NAME_MAX + 1], struct error *e)
{
    const char *slash = strrchr(path, '/'), *last = slash == NULL ? path : slash + 1;
    AUTO_FREE char *folder = NULL;
    char *real;

    if (*last == 0 || strcmp(last, ".") == 0 || strcmp(last, "..") == 0) {
        err_set(e, ERR_USAGE, "%s is a directory", path);
        return NULL;
    }
    if (strlen(last) + strlen(REPLACE_BASE) > NAME_MAX) {
        err_set(e, ERR_LIMIT, "%s: the name is too long to get a suffix", path);
        return NULL;
    }
    strcpy(name, last);
    folder = slash == NULL ? mem_string(".", e) : mem_string(path, e);
    if (folder == NULL)
        return NULL;
    if (slash != NULL)
        folder[slash == path ? 1 : slash - path] = 0;
    real = realpath(folder, NULL);
    if (real == NULL)
        err_sys(e, "%s", folder);
    return real;
}

/* True for the links that stand for an image where there are no hard links. */
static bool is_our_link(const struct entry *x, const char *name)
{
    const char *const suffixes[] = {REPLACE_BASE, REPLACE_OLD};
    size_t length = strlen(name);

    for (int i = 0; i < 2; i++) {
        if (x->kind == ENTRY_LINK && strncmp(x->target, name, length) == 0 &&
            strcmp(x->target + length, suffixes[i]) == 0)
            return true;
    }
    return false;
}

/* Where the link `name` in the folder leads to, for free(). */
static char *link_target(const struct replace_folder *f, const char *name, struct error *e)
{
    char target[PATH_MAX];
    ssize_t length = readlinkat(f->fd, name, target, sizeof target - 1);

    if (length < 0) {
        err_sys(e, "%s/%s", f->path, name);
        return NULL;
    }
    target[length] = 0;
    return target[0] == '/' ? mem_string(target, e) : mem_printf(e, "%s/%s", f->path, target);
}

static int set_paths(struct replace_image *m, const char *folder, const char *name, struct error *e)
{
    const char *slash = strcmp(folder, "/") == 0 ? "" : "/";

    m->path = mem_printf(e, "%s%s%s", folder, slash, name);
    m->path_new = mem_printf(e, "%s%s%s%s", folder, slash, name, REPLACE_NEW);
    m->path_base = mem_printf(e, "%s%s%s%s", folder, slash, name, REPLACE_BASE);
    m->path_old = mem_printf(e, "%s%s%s%s", folder, slash, name, REPLACE_OLD);
    return m->path && m->path_new && m->path_base && m->path_old ? 0 : -1;
}

int replace_resolve(struct replace *r, struct replace_image *m, const char *path, struct error *e)
{
    AUTO_FREE char *current = mem_string(path, e);
    char name[NAME_MAX + 1], *folder;
    struct entry x;

    for (int hop = 0; hop < LINKS_MAX; hop++) {
        char *next;

        if (current == NULL || (folder = split(current, name, e)) == NULL ||
            find_folder(r, folder, &m->folder, e) < 0 ||
            entry_read(r->folders[m->folder].fd, name, &x, e) < 0)
            return -1;
        if (x.kind != ENTRY_LINK || is_our_link(&x, name)) {
            m->present = x.kind != ENTRY_NONE;
            m->linked = hop > 0;
            return set_paths(m, r->folders[m->folder].path, name, e);
        }
        next = link_target(&r->folders[m->folder], name, e);
        free(current);
        current = next;
    }
    return err_set(e, ERR_LIMIT, "%s: too many symbolic links", path);
}

static int compare_paths(const void *a, const void *b)
{
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

int replace_refuse_twins(const struct replace *r, struct error *e)
{
    AUTO_FREE const char **paths = mem_array(r->n, sizeof *paths, "paths", e);

    if (paths == NULL)
        return -1;
    for (size_t i = 0; i < r->n; i++)
        paths[i] = r->images[i].path;
    qsort(paths, r->n, sizeof *paths, compare_paths);
    for (size_t i = 1; i < r->n; i++) {
        if (strcmp(paths[i - 1], paths[i]) == 0)
            return err_set(e, ERR_USAGE, "%s was given twice", paths[i]);
    }
    return 0;
}

/* ---- names ---- */

int replace_read_names(const struct replace *r, const struct replace_image *m,
                       struct replace_names *out, struct error *e)
{
    int fd = replace_folder_fd(r, m);
    struct replace_names x = {};

    if (entry_read(fd, replace_name(m->path), &x.image, e) < 0 ||
        entry_read(fd, replace_name(m->path_new), &x.new, e) < 0 ||
        entry_read(fd, replace_name(m->path_base), &x.base, e) < 0 ||
        entry_read(fd, replace_name(m->path_old), &x.old, e) < 0)
        return err_wrap(e, "%s", r->folders[m->folder].path);
    *out = x;
    return 0;
}

int replace_watch(const struct replace *r, struct replace_image *m, const char *path,
                  struct error *e)
{
    AUTO_FD int fd = openat(replace_folder_fd(r, m), replace_name(path),
                            O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);

    if (fd < 0 || fstat(fd, &m->identity) < 0)
        return err_sys(e, "%s", path);
    if (!S_ISREG(m->identity.st_mode))
        return err_set(e, ERR_DENIED, "%s is not a regular file", path);
    if (fileops_check_unused(fd, m->path, e) < 0)
        return -1;
    m->fd = take_fd(&fd);
    return 0;
}

struct replace_step *replace_add(struct replace *r, enum replace_kind kind, size_t item,
                                 const char *path, const char *to, struct error *e)
{
    struct replace_step *s;

    if (mem_grow(&r->steps, &r->steps_capacity, r->n_steps + 1, sizeof *r->steps, "steps", e) < 0)
        return NULL;
    s = &r->steps[r->n_steps++];
    *s = (struct replace_step){
        .kind = kind, .item = (uint32_t)item, .path = path, .to = to, .backing_item = REPLACE_NONE};
    return s;
}

int replace_add_remove_new(struct replace *r, size_t item, const struct replace_names *x,
                           struct error *e)
{
    const struct replace_image *m = &r->images[item];

    if (x->new.kind == ENTRY_NONE)
        return 0;
    if (!entry_marked(&x->new) || x->new.st.st_nlink != 1)
        return err_set(e, ERR_DENIED, "%s exists already and was not left by stemma", m->path_new);
    return replace_add(r, REPLACE_STEP_REMOVE_NEW, item, m->path, m->path_new, e) ? 0 : -1;
}

const struct replace_step *replace_steps(const struct replace *r, size_t *n)
{
    *n = r->n_steps;
    return r->steps;
}

uint64_t replace_bytes(const struct replace *r)
{
    return r->bytes;
}

/* ---- what was made here ---- */

static bool noted_as_qcow2(int fd)
{
    char format[sizeof "qcow2"];

    return fgetxattr(fd, FORMAT_ATTRIBUTE, format, sizeof format) == 5 &&
           memcmp(format, "qcow2", 5) == 0;
}

/* Beside `path` lies the original that was under it. */
static bool original_beside(const char *path, const struct stat *st, const char *suffix)
{
    struct error ignored;
    AUTO_FREE
    char *name = mem_printf(&ignored, "%s%s", path, suffix);
    struct stat other;

    return name != NULL && lstat(name, &other) == 0 && S_ISREG(other.st_mode) &&
           !(other.st_mode & FILEOPS_MARK) &&
           (other.st_dev != st->st_dev || other.st_ino != st->st_ino);
}

bool replace_made_overlay(const char *path)
{
    AUTO_FREE
    char *real = realpath(path, NULL);
    char magic[4];
    struct stat st;
    AUTO_FD
    int fd = real == NULL ? -1 : io_open_quietly(real, O_NONBLOCK);
    size_t length = real == NULL ? 0 : strlen(real), suffix = strlen(REPLACE_BASE);

    if (fd < 0 || fstat(fd, &st) < 0 || !S_ISREG(st.st_mode) ||
        pread(fd, magic, sizeof magic, 0) != sizeof magic ||
        memcmp(magic, "QFI\xfb", sizeof magic) != 0)
        return false;
    if (noted_as_qcow2(fd))
        return true;
    if (length > suffix && strcmp(real + length - suffix, REPLACE_BASE) == 0)
        return st.st_mode & FILEOPS_MARK;
    return original_beside(real, &st, REPLACE_OLD) || original_beside(real, &st, REPLACE_BASE);
}

/* ---- what is said about them ---- */

char *replace_backing_name(const char *folder, const char *path, struct error *e)
{
    const char *name = strrchr(path, '/') + 1;
    size_t length = (size_t)(name - path) - 1;

    if (length == 0)
        length = 1; /* the root folder */
    if (strlen(folder) != length || strncmp(folder, path, length) != 0)
        return mem_string(path, e);
    return mem_printf(e, "%s%s", strchr(name, ':') != NULL ? "./" : "", name);
}

char *replace_step_text(const struct replace_step *s, struct error *e)
{
    const char *to = s->to, *path = s->path;

    switch (s->kind) {
    case REPLACE_STEP_REMOVE_NEW:
        return mem_printf(e, "remove %s, left by an interrupted run", to);
    case REPLACE_STEP_KEEP_BASE:
    case REPLACE_STEP_KEEP_OLD:
        return mem_printf(e, "keep %s as %s", path, to);
    case REPLACE_STEP_WRITE:
        return mem_printf(e, "write %s, an overlay of %s on %s, and compare it with %s", to, path,
                          s->backing_path, path);
    case REPLACE_STEP_VERIFY:
        return mem_printf(e, "compare %s, left by an interrupted run, with %s", to, path);
    case REPLACE_STEP_NAME_BASE:
    case REPLACE_STEP_SWAP:
    case REPLACE_STEP_RESTORE:
        return mem_printf(e, "rename %s to %s", path, to);
    case REPLACE_STEP_WRITE_FRESH:
        return mem_printf(e, "write %s, an empty overlay on %s", to, path);
    case REPLACE_STEP_FREEZE:
        return mem_printf(e, "make %s read-only", to);
    case REPLACE_STEP_SETTLE:
        return mem_printf(e, "give %s its mode", to);
    case REPLACE_STEP_RESTORE_BASE:
        return mem_printf(e, "rename %s to %s, unless something stands on it", path, to);
    case REPLACE_STEP_DROP_NAME:
        return mem_printf(e, "remove %s, a second name of %s", to, path);
    case REPLACE_STEP_DROP_BASE:
        return mem_printf(e, "remove %s, unless something stands on it", to);
    case REPLACE_STEP_REMOVE_OLD:
        return mem_printf(e, "remove %s, the original of %s", to, path);
    }
    err_set(e, ERR_INTERNAL, "no step of kind %d", (int)s->kind);
    return NULL;
}
