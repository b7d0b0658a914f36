/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "cluster/fileops.h"

#include "base/auto.h"
#include "base/mem.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/xattr.h>
#include <unistd.h>

/* QEMU's block/file-posix.c: a process that writes holds byte 100 + 1, one that resizes 100 + 3; a
 * process that does not share these holds 200 + 1 and 200 + 3. All are read locks. */
#define QEMU_PERM_BASE 100
#define QEMU_SHARED_BASE 200
static const int qemu_permissions[] = {1, 3};

/* ---- what is there ---- */

int entry_read(int folder, const char *name, struct entry *out, struct error *e)
{
    struct entry x = {};

    if (fstatat(folder, name, &x.st, AT_SYMLINK_NOFOLLOW) < 0) {
        if (errno != ENOENT)
            return err_sys(e, "%s", name);
    } else if (S_ISREG(x.st.st_mode)) {
        x.kind = ENTRY_REGULAR;
    } else if (S_ISLNK(x.st.st_mode)) {
        x.kind = ENTRY_LINK;
        if (readlinkat(folder, name, x.target, sizeof x.target - 1) < 0)
            return err_sys(e, "%s", name);
    } else {
        x.kind = ENTRY_OTHER;
    }
    *out = x;
    return 0;
}

bool entry_marked(const struct entry *x)
{
    return x->kind == ENTRY_REGULAR && x->st.st_mode & FILEOPS_MARK;
}

bool entry_same(const struct entry *a, const struct entry *b)
{
    return a->kind == ENTRY_REGULAR && b->kind == ENTRY_REGULAR && a->st.st_dev == b->st.st_dev &&
           a->st.st_ino == b->st.st_ino;
}

bool entry_same_time(const struct entry *a, const struct entry *b)
{
    return a->st.st_mtim.tv_sec == b->st.st_mtim.tv_sec &&
           a->st.st_mtim.tv_nsec == b->st.st_mtim.tv_nsec;
}

bool entry_links_to(const struct entry *x, const char *to)
{
    return x->kind == ENTRY_LINK && strcmp(x->target, to) == 0;
}

/* ---- changes of names ---- */

/* 0, or -1 with errno set when the hook wants the call to fail. */
static int announce(const struct fileops_hook *h, const char *call, const char *name)
{
    int failure = h == NULL || h->before == NULL ? 0 : h->before(h->arg, call, name);

    if (failure == 0)
        return 0;
    errno = failure;
    return -1;
}

/* Names are durable only when their folder is. */
static int sync_folder(const struct fileops_hook *h, int folder, const char *name, struct error *e)
{
    if (announce(h, "fsync", name) < 0 || fsync(folder) < 0)
        return err_sys(e, "cannot sync the folder of %s", name);
    return 0;
}

static int rename_with(const struct fileops_hook *h, int folder, const char *from, const char *to,
                       unsigned flags, struct error *e)
{
    if (announce(h, "rename", to) < 0 || renameat2(folder, from, folder, to, flags) < 0)
        return err_sys(e, "cannot rename %s to %s", from, to);
    return sync_folder(h, folder, to, e);
}

int fileops_rename(const struct fileops_hook *h, int folder, const char *from, const char *to,
                   struct error *e)
{
    return rename_with(h, folder, from, to, 0, e);
}

int fileops_rename_new(const struct fileops_hook *h, int folder, const char *from, const char *to,
                       struct error *e)
{
    return rename_with(h, folder, from, to, RENAME_NOREPLACE, e);
}

int fileops_unlink(const struct fileops_hook *h, int folder, const char *name, struct error *e)
{
    if (announce(h, "unlink", name) < 0 || unlinkat(folder, name, 0) < 0)
        return err_sys(e, "cannot remove %s", name);
    return sync_folder(h, folder, name, e);
}

static bool no_hard_links(int sys)
{
    return sys == EPERM || sys == EOPNOTSUPP || sys == ENOSYS || sys == EMLINK;
}

int fileops_keep(const struct fileops_hook *h, int folder, const char *name, const char *kept,
                 struct error *e)
{
    struct entry x;

    if (entry_read(folder, kept, &x, e) < 0)
        return -1;
    if (x.kind == ENTRY_NONE) {
        if (announce(h, "link", kept) == 0 && linkat(folder, name, folder, kept, 0) == 0)
            return sync_folder(h, folder, kept, e);
        if (!no_hard_links(errno))
            return err_sys(e, "cannot link %s to %s", name, kept);
        if (announce(h, "symlink", kept) < 0 || symlinkat(kept, folder, kept) < 0)
            return err_sys(e, "%s: the file system has neither hard nor symbolic links", name);
    } else if (!entry_links_to(&x, kept)) {
        return err_set(e, ERR_DENIED, "%s exists already", kept);
    }
    return rename_with(h, folder, name, kept, RENAME_EXCHANGE, e);
}

/* ---- changes of files ---- */

int fileops_chmod(const struct fileops_hook *h, int folder, const char *name, mode_t mode,
                  struct error *e)
{
    AUTO_FD int fd = openat(folder, name, O_PATH | O_NOFOLLOW | O_CLOEXEC);
    char path[64];
    struct stat st;

    /* fchmodat() cannot refuse links, and the file may be readable to nobody */
    if (fd < 0 || fstat(fd, &st) < 0)
        return err_sys(e, "%s", name);
    if (!S_ISREG(st.st_mode))
        return err_set(e, ERR_DENIED, "%s is not a regular file", name);
    snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
    if (announce(h, "chmod", name) < 0 || chmod(path, mode & 07777) < 0)
        return err_sys(e, "cannot change the mode of %s", name);
    return 0;
}

/* On btrfs images are often kept without copy-on-write, which can be asked for only while a file is
 * empty. Elsewhere there is no such flag, and it is no reason to fail. */
static void copy_no_cow(int from, int to)
{
#ifdef FS_NOCOW_FL
    int flags = 0, new_flags = 0;

    if (ioctl(from, FS_IOC_GETFLAGS, &flags) < 0 || !(flags & FS_NOCOW_FL))
        return;
    if (ioctl(to, FS_IOC_GETFLAGS, &new_flags) < 0)
        return;
    new_flags |= FS_NOCOW_FL;
    (void)ioctl(to, FS_IOC_SETFLAGS, &new_flags);
#endif
}

int fileops_create(const struct fileops_hook *h, int folder, const char *name, int like, int *out,
                   struct error *e)
{
    AUTO_FD int fd = -1;
    struct stat st;

    if (announce(h, "create", name) < 0 ||
        (fd = openat(folder, name, O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC,
                     FILEOPS_MARK | 0600)) < 0)
        return err_sys(e, "cannot create %s", name);
    if (fstat(fd, &st) < 0)
        return err_sys(e, "%s", name);
    if (!(st.st_mode & FILEOPS_MARK)) {
        unlinkat(folder, name, 0);
        return err_set(e, ERR_UNSUPPORTED, "%s: the file system does not keep modes", name);
    }
    copy_no_cow(like, fd);
    *out = take_fd(&fd);
    return 0;
}

/* What the kernel derives from the content must not be carried to another content. */
static bool is_of_content(const char *attribute)
{
    return strcmp(attribute, "security.ima") == 0 || strcmp(attribute, "security.evm") == 0;
}

/* A folder's default ACL gave the new file one that the old does not have. */
static int drop_inherited_acl(const struct fileops_hook *h, int from, int to, const char *name,
                              struct error *e)
{
    static const char acl[] = "system.posix_acl_access";

    if (fgetxattr(from, acl, NULL, 0) >= 0 || fgetxattr(to, acl, NULL, 0) < 0)
        return 0;
    if (announce(h, "removexattr", name) < 0 || fremovexattr(to, acl) < 0)
        return err_sys(e, "cannot remove the ACL of %s", name);
    return 0;
}

#define XATTR_BYTES_MAX 65536 /* the kernel's own limit, of a list and of a value */

static int copy_attribute(const struct fileops_hook *h, int from, int to, const char *attribute,
                          char *old, char *present, const char *name, struct error *e)
{
    ssize_t n = fgetxattr(from, attribute, old, XATTR_BYTES_MAX), m;

    if (n < 0)
        return err_sys(e, "cannot read the attribute %s of %s", attribute, name);
    m = fgetxattr(to, attribute, present, XATTR_BYTES_MAX);
    if (m == n && memcmp(old, present, (size_t)n) == 0)
        return 0; /* what the folder's defaults gave it already may not need a right to set */
    if (announce(h, "setxattr", name) < 0 || fsetxattr(to, attribute, old, (size_t)n, 0) < 0)
        return err_sys(e, "cannot set the attribute %s of %s", attribute, name);
    return 0;
}

static int copy_xattrs(const struct fileops_hook *h, int from, int to, const char *name,
                       struct error *e)
{
    AUTO_FREE char *list = mem_array(3, XATTR_BYTES_MAX, "extended attributes", e);
    ssize_t length;

    if (list == NULL)
        return -1;
    length = flistxattr(from, list, XATTR_BYTES_MAX);
    if (length < 0 && errno == EOPNOTSUPP)
        return 0;
    if (length < 0)
        return err_sys(e, "cannot list the attributes of %s", name);
    for (char *a = list; a < list + length; a += strlen(a) + 1) {
        if (!is_of_content(a) && copy_attribute(h, from, to, a, list + XATTR_BYTES_MAX,
                                                list + 2 * XATTR_BYTES_MAX, name, e) < 0)
            return -1;
    }
    return 0;
}

int fileops_copy_attributes(const struct fileops_hook *h, int from, int to, mode_t without,
                            const char *name, struct error *e)
{
    struct stat st, now;

    if (fstat(from, &st) < 0 || fstat(to, &now) < 0)
        return err_sys(e, "%s", name);
    if ((st.st_uid != now.st_uid || st.st_gid != now.st_gid) &&
        (announce(h, "chown", name) < 0 || fchown(to, st.st_uid, st.st_gid) < 0))
        return err_sys(e, "cannot give %s its owner", name);
    if (copy_xattrs(h, from, to, name, e) < 0 || drop_inherited_acl(h, from, to, name, e) < 0)
        return -1;
    /* after the owner, whose change takes set-id bits away; the mark stays until it is swapped in
     */
    if (announce(h, "chmod", name) < 0 ||
        fchmod(to, ((st.st_mode & 07777) & ~without) | FILEOPS_MARK) < 0)
        return err_sys(e, "cannot change the mode of %s", name);
    if (announce(h, "utimens", name) < 0 ||
        futimens(to, (const struct timespec[2]){st.st_atim, st.st_mtim}) < 0)
        return err_sys(e, "cannot set the times of %s", name);
    if (announce(h, "fsync", name) < 0 || fsync(to) < 0)
        return err_sys(e, "cannot sync %s", name);
    return 0;
}

/* ---- who uses it ---- */

/* Leases are given for files that nobody has open for writing; the system says so only to the
 * owner, and not on every file system. */
static bool open_for_writing(int fd)
{
    /* should it be broken in this moment: the signal is one that is ignored unless wanted */
    if (fcntl(fd, F_SETSIG, SIGURG) < 0)
        return false;
    if (fcntl(fd, F_SETLEASE, F_RDLCK) == 0) {
        (void)fcntl(fd, F_SETLEASE, F_UNLCK);
        return false;
    }
    return errno == EAGAIN;
}

int fileops_check_unused(int fd, const char *path, struct error *e)
{
    for (size_t i = 0; i < sizeof qemu_permissions / sizeof *qemu_permissions; i++) {
        struct flock lock = {
            .l_type = F_WRLCK,
            .l_whence = SEEK_SET,
            .l_start = QEMU_PERM_BASE + qemu_permissions[i],
            .l_len = 1,
        };

        if (fcntl(fd, F_OFD_GETLK, &lock) == 0 && lock.l_type != F_UNLCK)
            return err_set(e, ERR_IN_USE, "%s is in use: a virtual machine writes to it", path);
    }
    if (open_for_writing(fd))
        return err_set(e, ERR_IN_USE, "%s is in use: a process has it open for writing", path);
    return 0;
}

int fileops_lock_out_writers(int fd, const char *path, struct error *e)
{
    for (size_t i = 0; i < sizeof qemu_permissions / sizeof *qemu_permissions; i++) {
        struct flock lock = {
            .l_type = F_RDLCK,
            .l_whence = SEEK_SET,
            .l_start = QEMU_SHARED_BASE + qemu_permissions[i],
            .l_len = 1,
        };

        /* a file system without locks has no QEMU that relies on them either */
        if (fcntl(fd, F_OFD_SETLK, &lock) < 0 && (errno == EAGAIN || errno == EACCES))
            return err_set(e, ERR_IN_USE, "%s is locked", path);
    }
    return fileops_check_unused(fd, path, e);
}
