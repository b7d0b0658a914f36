/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What planning (replace.c, replace_undo.c) and doing (replace_run.c) share. */
#ifndef STEMMA_CLUSTER_REPLACE_INTERNAL_H
#define STEMMA_CLUSTER_REPLACE_INTERNAL_H

#include "cluster/replace.h"

enum replace_role { ROLE_ALONE, ROLE_BASE, ROLE_ROOT, ROLE_MIDDLE, ROLE_LEAF };

struct replace_folder {
    char *path; /* absolute, without links; owned */
    int fd;
    dev_t device;
    uint64_t bytes; /* that the steps will write in it */
};

/* An image, its four names, and what is known of it. */
struct replace_image {
    const struct replace_item *item; /* NULL in undo and commit */
    enum replace_role role;
    uint32_t depth;  /* items below it in the plan */
    size_t children; /* items that will stand on it */
    size_t folder;
    char *path, *path_new, *path_base, *path_old; /* absolute; owned */
    char *backing_name, *fresh_name;              /* of steps; owned */

    bool linked;  /* it was named by a symbolic link, relative to which QEMU looks for relative
                   * backing  files: they are named in full */
    bool kept;    /* the original has its second name */
    bool based;   /* a middle's base is there */
    bool swapped; /* NAME is the new overlay */
    bool present; /* NAME exists */

    /* The file that must not change until it is swapped (the original; in undo, the overlay), or
     * -1. */
    int fd;
    struct stat identity;
};

/* The entries under the four names. */
struct replace_names {
    struct entry image, new, base, old;
};

struct replace {
    struct replace_options options;
    size_t n;
    struct replace_image *images;
    size_t n_folders, folders_capacity;
    struct replace_folder *folders;
    size_t n_steps, steps_capacity;
    struct replace_step *steps;
    uint64_t bytes;
    bool undo;
};

/* The last component of one of an image's paths. */
const char *replace_name(const char *path);

[[nodiscard]] struct replace *replace_new(size_t n, const struct replace_options *o,
                                          struct error *e);
/* Finds the image's folder and names; links are followed. */
[[nodiscard]] int replace_resolve(struct replace *r, struct replace_image *m, const char *path,
                                  struct error *e);
/* ERR_USAGE when two of the images are one. */
[[nodiscard]] int replace_refuse_twins(const struct replace *r, struct error *e);
[[nodiscard]] int replace_read_names(const struct replace *r, const struct replace_image *m,
                                     struct replace_names *out, struct error *e);
/* Opens m->fd (the file at `path`, one of its paths) and remembers its identity; ERR_IN_USE. */
[[nodiscard]] int replace_watch(const struct replace *r, struct replace_image *m, const char *path,
                                struct error *e);
/* A step for images[item], or NULL. */
struct replace_step *replace_add(struct replace *r, enum replace_kind kind, size_t item,
                                 const char *path, const char *to, struct error *e);
/* REMOVE_NEW when there is a work file, ERR_DENIED when it is not ours. */
[[nodiscard]] int replace_add_remove_new(struct replace *r, size_t item,
                                         const struct replace_names *x, struct error *e);

static inline int replace_folder_fd(const struct replace *r, const struct replace_image *m)
{
    return r->folders[m->folder].fd;
}

#endif
