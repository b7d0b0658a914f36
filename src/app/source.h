/* SPDX-License-Identifier: GPL-2.0-or-later */
/* SOURCE arguments: what the user named, found and put in order (stemma(1), SOURCES). A string is
 * tried as a URI, as an existing path, then as the longest existing prefix before an `@`. Folders
 * are walked in name order without following links: files with an image's magic, or named .raw or
 * .img, or .sig; extents that a VMDK descriptor in the same walk names, and stemma's own leftovers,
 * are not images of their own. The only look the front takes at foreign bytes is comparing fixed
 * magic at fixed places. */
#ifndef STEMMA_APP_SOURCE_H
#define STEMMA_APP_SOURCE_H

#include "app/opener.h"
#include "base/error.h"
#include "base/problem.h"
#include "disk/guest_config.h"

struct source {
    char *name;     /* as output shows it: the path as given or found, the URI */
    char *path;     /* what to open; NULL for NBD */
    char *snapshot; /* or NULL */
    char *format;   /* --image-format or the domain's driver type; NULL: probe */
    char *guest;    /* or NULL */
    char *fixed;    /* why a plan leaves it alone, or NULL */
    /* NBD: */
    char *export_name;
    char *nbd_host, *nbd_port; /* TCP */
    char *nbd_socket;          /* unix */
};

struct source_set {
    struct source *items;
    size_t n, capacity;
    struct opener *opener;        /* borrowed; what was named is allowed there */
    const char *image_format;     /* borrowed: --image-format, or NULL */
    struct problem_sink problems; /* unreadable folders and the like */
};
void source_set_release(struct source_set *s);

/* One argument: any number of sources is added. ERR_NOT_FOUND, ERR_USAGE. */
[[nodiscard]] int source_add(struct source_set *s, const char *argument, struct error *e);

/* The disks of a guest, with its format, backing chain and name; disks that cannot be opened are
 * problems. */
[[nodiscard]] int source_add_guest(struct source_set *s, const struct guest *g, struct error *e);

/* Connects to the source's NBD server. */
[[nodiscard]] int source_connect(const struct source *s, int *socket, struct error *e);

#endif
