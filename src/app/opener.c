/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "app/opener.h"

#include "base/io.h"
#include "base/mem.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/xattr.h>

struct opener {
    char **files; /* resolved */
    size_t n_files, files_capacity;
    char **folders; /* resolved, without a slash at the end (but "/" itself is "") */
    size_t n_folders, folders_capacity;
};

struct opener *opener_new(struct error *e)
{
    return mem_array(1, sizeof(struct opener), "the opener", e);
}

void opener_free(struct opener *o)
{
    if (o == NULL)
        return;
    for (size_t i = 0; i < o->n_files; i++)
        free(o->files[i]);
    for (size_t i = 0; i < o->n_folders; i++)
        free(o->folders[i]);
    free(o->files);
    free(o->folders);
    free(o);
}

static int add_resolved(char ***list, size_t *n, size_t *capacity, const char *path,
                        struct error *e)
{
    char *resolved = realpath(path, NULL);

    if (resolved == NULL)
        return err_sys(e, "%s", path);
    if (mem_grow(list, capacity, *n + 1, sizeof **list, "allowed files", e) != 0) {
        free(resolved);
        return -1;
    }
    if (strcmp(resolved, "/") == 0)
        resolved[0] = 0;
    (*list)[(*n)++] = resolved;
    return 0;
}

int opener_allow_file(struct opener *o, const char *path, struct error *e)
{
    return add_resolved(&o->files, &o->n_files, &o->files_capacity, path, e);
}

int opener_allow_folder(struct opener *o, const char *path, struct error *e)
{
    struct stat st;

    if (stat(path, &st) != 0)
        return err_sys(e, "%s", path);
    if (!S_ISDIR(st.st_mode))
        return err_set(e, ERR_USAGE, "%s is not a folder", path);
    return add_resolved(&o->folders, &o->n_folders, &o->folders_capacity, path, e);
}

void opened_release(struct opened *o)
{
    free(o->path);
    free(o->resolved);
    if (o->fd >= 0)
        close(o->fd);
    if (o->direct_fd >= 0)
        close(o->direct_fd);
    *o = (struct opened){.fd = -1, .direct_fd = -1};
}

/* The path of what a descriptor really is. */
static char *path_of_fd(int fd, struct error *e)
{
    char link[32], path[PATH_MAX];
    ssize_t length;

    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    length = readlink(link, path, sizeof path - 1);
    if (length < 0) {
        err_sys(e, "%s", link);
        return NULL;
    }
    path[length] = 0;
    return mem_string(path, e);
}

/* Opens for reading what `handle` (an O_PATH descriptor) stands for. */
static int reopen(int handle, int flags)
{
    char link[32];

    snprintf(link, sizeof link, "/proc/self/fd/%d", handle);
    return io_open_quietly(link, flags);
}

/* QEMU's block/file-posix.c: a process that may write holds a lock on byte 100 + 1 (permission
 * BLK_PERM_WRITE). Asking takes no lock. */
#define QEMU_LOCK_WRITE 101

static bool held_for_writing(int fd)
{
    struct flock lock = {
        .l_type = F_WRLCK, .l_whence = SEEK_SET, .l_start = QEMU_LOCK_WRITE, .l_len = 1};

    return fcntl(fd, F_OFD_GETLK, &lock) == 0 && lock.l_type != F_UNLCK;
}

static void read_noted_format(struct opened *o)
{
    ssize_t length =
        fgetxattr(o->fd, FORMAT_ATTRIBUTE, o->noted_format, sizeof o->noted_format - 1);

    o->noted_format[length < 0 ? 0 : length] = 0;
}

/* From an O_PATH handle to all that a reader needs. */
static int open_handle(int handle, struct opened *o, struct error *e)
{
    struct stat st;

    if (fstat(handle, &st) != 0)
        return err_sys(e, "fstat");
    if (S_ISDIR(st.st_mode))
        return err_set(e, ERR_FORMAT, "is a folder, not an image");
    if (!S_ISREG(st.st_mode) && !S_ISBLK(st.st_mode))
        return err_set(e, ERR_FORMAT, "is neither a regular file nor a block device");
    o->fd = reopen(handle, 0);
    if (o->fd < 0)
        return err_sys(e, "cannot open");
    if (file_identity_get(o->fd, &o->identity, e) != 0)
        return -1;
    o->direct_fd = reopen(handle, O_DIRECT); /* where the file system has it */
    o->in_use = held_for_writing(o->fd);
    read_noted_format(o);
    return 0;
}

int opener_open(struct opener *o, const char *path, struct opened *out, struct error *e)
{
    struct opened opened = {.fd = -1, .direct_fd = -1};
    AUTO_FD int handle = open(path, O_PATH | O_CLOEXEC);

    (void)o; /* what the user names needs no leave */
    if (handle < 0)
        return err_sys(e, "cannot open");
    opened.path = mem_string(path, e);
    opened.resolved = path_of_fd(handle, e);
    if (opened.path == NULL || opened.resolved == NULL || open_handle(handle, &opened, e) != 0) {
        opened_release(&opened);
        return -1;
    }
    *out = opened;
    return 0;
}

static bool below(const char *path, const char *folder)
{
    size_t length = strlen(folder);

    return strncmp(path, folder, length) == 0 && path[length] == '/';
}

static bool allowed(const struct opener *o, const char *from, const char *resolved, bool device)
{
    const char *slash = strrchr(from, '/');
    const char *name = strrchr(resolved, '/');

    /* The image's own folder, not those below it. All devices stand in one folder, whoever they
     * belong to: that says nothing. */
    if (!device && slash != NULL && name != NULL && slash - from == name - resolved &&
        memcmp(from, resolved, (size_t)(slash - from)) == 0)
        return true;
    for (size_t i = 0; i < o->n_files; i++) {
        if (strcmp(o->files[i], resolved) == 0)
            return true;
    }
    for (size_t i = 0; i < o->n_folders; i++) {
        if (below(resolved, o->folders[i]))
            return true;
    }
    return false;
}

static char *path_named(const char *from, const char *name, struct error *e)
{
    const char *slash = strrchr(from, '/');

    if (name[0] == '/' || slash == NULL)
        return mem_string(name, e);
    return mem_printf(e, "%.*s/%s", (int)(slash - from), from, name);
}

static int check_allowed(const struct opener *o, const char *from, const struct opened *opened,
                         int handle, struct error *e)
{
    const char *slash = strrchr(opened->resolved, '/');
    int folder = slash == NULL ? 0 : (int)(slash - opened->resolved);
    struct stat st;

    if (fstat(handle, &st) != 0)
        return err_sys(e, "fstat");
    if (allowed(o, from, opened->resolved, S_ISBLK(st.st_mode)))
        return 0;
    if (S_ISBLK(st.st_mode))
        return err_set(e, ERR_DENIED,
                       "%s is a block device; if the image is to be trusted with it, "
                       "--allow-backing=%.*s allows it",
                       opened->resolved, folder, opened->resolved);
    return err_set(e, ERR_DENIED,
                   "%s lies outside the image's folder; if the image is to be trusted with it, "
                   "--allow-backing=%.*s allows it",
                   opened->resolved, folder == 0 ? 1 : folder,
                   folder == 0 ? "/" : opened->resolved);
}

int opener_open_named(struct opener *o, const char *from, const char *name, struct opened *out,
                      struct error *e)
{
    struct opened opened = {.fd = -1, .direct_fd = -1};
    AUTO_FD int handle = -1;
    int rc = -1;

    opened.path = path_named(from, name, e);
    if (opened.path == NULL)
        return -1;
    handle = open(opened.path, O_PATH | O_CLOEXEC);
    if (handle < 0) {
        err_sys(e, "cannot open");
    } else {
        opened.resolved = path_of_fd(handle, e);
        if (opened.resolved != NULL)
            rc = check_allowed(o, from, &opened, handle, e);
        if (rc == 0 && open_handle(handle, &opened, e) != 0)
            rc = -1;
    }
    if (rc != 0)
        opened_release(&opened);
    else
        *out = opened;
    return rc;
}
