/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The front opens files here, for itself and for the worker. Reading changes nothing: read-only,
 * O_NOATIME where the system allows it, no lock taken. An image is hostile and may name any file of
 * the host, so a file that an image names is opened only when it lies in that image's own folder
 * (block devices do not: theirs is everybody's), was named by the user (an argument, a domain's
 * XML), or lies below a folder the user gave or allowed. */
#ifndef STEMMA_APP_OPENER_H
#define STEMMA_APP_OPENER_H

#include "base/auto.h"
#include "base/error.h"
#include "disk/env.h"
#include "disk/file.h"

struct opener;
[[nodiscard]] struct opener *opener_new(struct error *e);
void opener_free(struct opener *o);
AUTO_DEFINE(opener, opener_free);

/* Files, and everything below folders, that images may name. Both are resolved at once (links
 * followed); what does not exist is an error. */
[[nodiscard]] int opener_allow_file(struct opener *o, const char *path, struct error *e);
[[nodiscard]] int opener_allow_folder(struct opener *o, const char *path, struct error *e);

struct opened {
    char *path;     /* as given, or FOLDER/NAME for relative names; for free() */
    char *resolved; /* absolute, links followed; for free() */
    int fd;         /* owned */
    int direct_fd;  /* the same file with O_DIRECT, or -1; owned */
    struct file_identity identity;
    char noted_format[16]; /* FORMAT_ATTRIBUTE, or "" */
    bool in_use;           /* another process (qemu) holds it for writing: OFD locks as QEMU's
                            * block/file-posix.c takes them */
};
void opened_release(struct opened *o);

/* A path that the user named. Regular files and block devices only (nothing else is ever opened,
 * not even for a moment: O_PATH and fstat first). */
[[nodiscard]] int opener_open(struct opener *o, const char *path, struct opened *out,
                              struct error *e);

/* A name found in the image at `from` (its resolved path); relative names are relative to its
 * folder. What is checked is the real path of what was opened, so links and renames gain nothing.
 * ERR_DENIED with a message that names the option which would allow it (--allow-backing=FOLDER). */
[[nodiscard]] int opener_open_named(struct opener *o, const char *from, const char *name,
                                    struct opened *out, struct error *e);

#endif
