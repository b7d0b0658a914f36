/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The file operations that swapping images needs (cluster/replace.h), and nothing else: names
 * relative to an open folder, links never followed, each change announced to a hook before it is
 * made, so that tests can refuse or end the process at every one of them. */
#ifndef STEMMA_CLUSTER_FILEOPS_H
#define STEMMA_CLUSTER_FILEOPS_H

#include "base/error.h"

#include <limits.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/stat.h>

/* Called before each system call that changes files: `call` is its name, `name` what it is about.
 * Returns 0 to go on, or the errno that the call fails with. */
struct fileops_hook {
    int (*before)(void *arg, const char *call, const char *name);
    void *arg;
};

/* The mark of a file that stemma made and that nobody else has written to: the sticky bit, which
 * has no meaning on a regular file, is set in the call that creates it, needs no extended
 * attributes, and survives everything but chmod. Marked files may be removed; others never are. */
#define FILEOPS_MARK S_ISVTX

enum entry_kind {
    ENTRY_NONE,    /* there is no such name */
    ENTRY_REGULAR, /* a regular file */
    ENTRY_LINK,    /* a symbolic link; `target` says where to */
    ENTRY_OTHER,
};

struct entry {
    enum entry_kind kind;
    struct stat st;            /* of the name itself */
    char target[NAME_MAX + 1]; /* ENTRY_LINK: cut when longer */
};

/* What stands under `name` in the folder. */
[[nodiscard]] int entry_read(int folder, const char *name, struct entry *out, struct error *e);

bool entry_marked(const struct entry *x);
/* Both are the same regular file. */
bool entry_same(const struct entry *a, const struct entry *b);
/* The same modification time to the nanosecond. */
bool entry_same_time(const struct entry *a, const struct entry *b);
/* A symbolic link to the name `to` in its own folder. */
bool entry_links_to(const struct entry *x, const char *to);

/* Each change is durable when the call returns: the folder is synced. */
[[nodiscard]] int fileops_rename(const struct fileops_hook *h, int folder, const char *from,
                                 const char *to, struct error *e);
/* The same, but fails when `to` exists. */
[[nodiscard]] int fileops_rename_new(const struct fileops_hook *h, int folder, const char *from,
                                     const char *to, struct error *e);
[[nodiscard]] int fileops_unlink(const struct fileops_hook *h, int folder, const char *name,
                                 struct error *e);
[[nodiscard]] int fileops_chmod(const struct fileops_hook *h, int folder, const char *name,
                                mode_t mode, struct error *e);

/* Makes the file `name` reachable as `kept` too, so that `name` can be replaced: a hard link; where
 * the file system has none, `kept` becomes a symbolic link to itself, and then the two names are
 * exchanged in one step: the file is `kept`, and `name` a symbolic link to it. Goes on where it was
 * interrupted; fails when `kept` is anything else. */
[[nodiscard]] int fileops_keep(const struct fileops_hook *h, int folder, const char *name,
                               const char *kept, struct error *e);

/* A new marked file, readable and writable by its owner. ERR_UNSUPPORTED where the mark does not
 * stick. `like` (a descriptor) decides whether it is made without copy-on-write. */
[[nodiscard]] int fileops_create(const struct fileops_hook *h, int folder, const char *name,
                                 int like, int *fd, struct error *e);

/* Owner, extended attributes (ACLs and security labels among them), mode (and the mark, less the
 * bits in `without`) and times of `from`, then fsync(). */
[[nodiscard]] int fileops_copy_attributes(const struct fileops_hook *h, int from, int to,
                                          mode_t without, const char *name, struct error *e);

/* ERR_IN_USE when somebody has the file open for writing: a QEMU that locked its bytes (see
 * block/file-posix.c of QEMU: RAW_LOCK_PERM_BASE, RAW_LOCK_SHARED_BASE), or, as far as the system
 * tells us, anyone else. */
[[nodiscard]] int fileops_check_unused(int fd, const char *path, struct error *e);

/* From now on, and until the descriptor is closed, no QEMU opens the file for writing. */
[[nodiscard]] int fileops_lock_out_writers(int fd, const char *path, struct error *e);

#endif
