/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Carries a backing-file plan out: images become overlays of each other under their own names.
 *
 * It runs in the front and only handles files: names, modes, attributes, locks. The bytes of images
 * are looked at by the functions of struct replace_worker, which ask the sealed worker.
 *
 * ---- what becomes of an image ----
 *
 *   leaf    stands on another and carries none: an overlay takes its name.
 *   root    stands whole and carries others: it must never be written again, or they break. It is
 *           frozen (no write bits) as NAME.stemma-base, which the others name as their backing
 *           file; a fresh, empty overlay on it takes its name.
 *   middle  stands on another and carries others: NAME.stemma-base is its overlay, frozen; a fresh
 *           overlay on that takes its name.
 *   base    carries others already (overlays that exist name it, or it is a NAME.stemma-base): it
 *           keeps its name and is not touched; new overlays stand on it as it is.
 *   alone   neither: not touched, but for what an interrupted run left to be finished under its
 *           name (a work file, a mark, the write bits of a root).
 *
 * ---- names ----
 *
 *   NAME.stemma-new   work file. Marked (below) while it is nothing but that.
 *   NAME.stemma-base  what others stand on: of a root the original itself (not marked), of a middle
 *                     an overlay that was verified (marked). Read-only for ever.
 *   NAME.stemma-old   the original of a leaf or middle, until --commit.
 *
 * Each file that stemma makes carries a mark from the call that creates it: the sticky bit, which
 * means nothing on a regular file. The mark leaves the file under NAME as the last step. Only a
 * marked file is ever removed, but for NAME.stemma-old by --commit. Nothing is overwritten but NAME
 * and nothing but an original has been there then, which has another name by that time.
 *
 * ---- order ----
 *
 *  1. all originals that others will stand on get their second name (NAME.stemma-base: a hard link;
 *     without hard links NAME becomes, in one exchange, a symbolic link to it);
 *  2. parents first: each overlay is written as NAME.stemma-new, synced, verified through its whole
 *     chain, and given owner, mode, ACLs, attributes and times of the original. That of a middle
 *     becomes NAME.stemma-base (its original has become NAME.stemma-old as well before);
 *  3. the fresh overlays, the same way;
 *  4. roots first, each: NAME.stemma-old (leaf, middle) linked; NAME.stemma-new renamed to NAME;
 *     root: NAME.stemma-base loses its write bits; the overlay under NAME loses its mark.
 *
 * Names are durable (folders synced) before the step that relies on them.
 *
 * ---- states, from the names alone ----
 *
 * "=" is the same file, "->" a symbolic link to that name (only without hard links), X an original,
 * O an overlay with the content, F a fresh overlay, * marked, r read-only. At every moment NAME
 * opens with the content that it had.
 *
 *   NAME    .stemma-new  .stemma-base  .stemma-old
 *   X       -            -             -            untouched, or undone
 *   X       O* or F*     any           any          interrupted while writing: begins again
 *   X       any          =NAME         -            root, kept; not swapped
 *   ->base  any          X             -            the same, without hard links
 *   X       any          -> itself     -            the same, interrupted between link and exchange
 *   F*      -            X             -            root swapped, not frozen or settled
 *   F       -            Xr            -            root done
 *   X       any          any           =NAME        leaf or middle, kept; not swapped
 *   ->old   any          any           X            the same, without hard links
 *   X       any          any           -> itself    the same, interrupted between
 *   X       any          Or*           =NAME        middle, its overlay verified; not swapped
 *   O*      -            -             X            leaf swapped, not settled
 *   O       -            -             X            leaf done
 *   F*, F   -            Or*           X            middle swapped; done
 *   O       -            -             -            leaf committed
 *   F       -            Or*           -            middle committed
 *   X       -            Or*           -            middle undone while others still stand on it
 *
 * An overlay gets its original's modification time; so whoever wrote to NAME since is known by the
 * difference of the two times, and undo refuses to throw that away.
 *
 * All functions: one thread. Errors leave the files as they are at that step; the same call again
 * goes on from there, and undo leads back. */
#ifndef STEMMA_CLUSTER_REPLACE_H
#define STEMMA_CLUSTER_REPLACE_H

#include "base/auto.h"
#include "base/error.h"
#include "base/problem.h"
#include "cluster/fileops.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define REPLACE_NONE UINT32_MAX
#define REPLACE_NEW ".stemma-new"
#define REPLACE_BASE ".stemma-base"
#define REPLACE_OLD ".stemma-old"

/* One image of the plan; strings are borrowed as long as the plan lives. */
struct replace_item {
    const char *path;       /* a symbolic link is followed to the image, which is swapped there */
    uint32_t backing;       /* the item that it will stand on, or REPLACE_NONE: it stays whole */
    const char *format;     /* what it is now: "raw", "qcow2" */
    bool base;              /* overlays that exist name it: it is used under its own name */
    uint64_t virtual_size;  /* bytes */
    uint64_t overlay_bytes; /* with `backing`: the size of its overlay (plan_overlay_bytes()) */
    /* Format of NAME.stemma-base where an interrupted run has swapped NAME already: that of the
     * backing file of what stands under NAME. NULL when it is no overlay. */
    const char *base_format;
    /* The backing file of what is under NAME now, absolute; NULL when there is none or it is not
     * known. Tells an interrupted run, which goes on, from another plan, which is refused. */
    const char *stands_on;
};

enum replace_kind {
    REPLACE_STEP_REMOVE_NEW,   /* removes `to`, a marked work file of an interrupted run */
    REPLACE_STEP_KEEP_BASE,    /* gives `path` the second name `to` (NAME.stemma-base) */
    REPLACE_STEP_KEEP_OLD,     /* the same for NAME.stemma-old */
    REPLACE_STEP_WRITE,        /* writes and verifies `to`, an overlay with the content of `path` */
    REPLACE_STEP_VERIFY,       /* verifies `to`, left by an interrupted run, against `path` */
    REPLACE_STEP_NAME_BASE,    /* renames `path` to `to` (NAME.stemma-base of a middle) */
    REPLACE_STEP_WRITE_FRESH,  /* writes and verifies `to`, an empty overlay on `path` */
    REPLACE_STEP_SWAP,         /* renames `path` to `to` (NAME), which has another name by now */
    REPLACE_STEP_FREEZE,       /* takes the write bits of `to` */
    REPLACE_STEP_SETTLE,       /* takes the mark of `to` */
    REPLACE_STEP_RESTORE,      /* undo: renames the original `path` back to `to` */
    REPLACE_STEP_RESTORE_BASE, /* the same for a root, with its write bits; nothing may stand on it
                                */
    REPLACE_STEP_DROP_NAME,    /* undo: removes `to`, a second name of an original */
    REPLACE_STEP_DROP_BASE,    /* undo: removes `to`, a middle's overlay, unless something stands on
                                * it */
    REPLACE_STEP_REMOVE_OLD,   /* commit: removes `to`, the original */
};

struct replace_step {
    enum replace_kind kind;
    uint32_t item;
    const char *path, *to; /* absolute */
    /* WRITE and WRITE_FRESH: what the overlay stands on */
    uint32_t backing_item;      /* WRITE: index; WRITE_FRESH: REPLACE_NONE */
    const char *backing_path;   /* absolute */
    const char *backing_name;   /* as it is to stand in the header */
    const char *backing_format; /* "raw" or "qcow2" */
};

/* What looks at image bytes; each returns 0 or -1 with the error set. */
struct replace_worker {
    /* WRITE and WRITE_FRESH: writes the overlay to `fd`, an empty file, and nothing else. */
    int (*write)(void *arg, const struct replace_step *s, int fd, struct error *e);
    /* WRITE, WRITE_FRESH and VERIFY: reads s->path and s->to through their chains and compares. */
    int (*verify)(void *arg, const struct replace_step *s, struct error *e);
    /* Undo: sets *user (for free()) to the path of a file that has `base` as its backing file, or
     * to NULL; `except` (may be NULL) does not count. Files called .stemma-base count, too. */
    int (*used_by)(void *arg, const char *base, const char *except, char **user, struct error *e);
    /* Called before each step (for progress); may be NULL. */
    void (*begin)(void *arg, const struct replace_step *s);
    void *arg;
};

struct replace_options {
    bool force;                   /* undo although the overlay was written to */
    struct problem_sink problems; /* what does not keep the rest from being done */
    struct fileops_hook hook;     /* for tests */
};

struct replace;

/* Each looks at the names, refuses what cannot be done, and lists the steps that are left; nothing
 * is touched. ERR_IN_USE, ERR_DENIED (a name is taken, a block device, an image with several hard
 * links, a folder that may not be written), ERR_NOT_FOUND (a dangling link), ERR_IO (no space),
 * ERR_CHANGED (undo: the overlay was written to), ERR_USAGE. Messages name the image. */
[[nodiscard]] struct replace *replace_plan(const struct replace_item *items, size_t n,
                                           const struct replace_options *o, struct error *e);
/* An image that was not replaced has no steps. */
[[nodiscard]] struct replace *replace_plan_undo(const char *const *paths, size_t n,
                                                const struct replace_options *o, struct error *e);
/* The caller has seen that each image opens through its chain. */
[[nodiscard]] struct replace *replace_plan_commit(const char *const *paths, size_t n,
                                                  const struct replace_options *o, struct error *e);
void replace_free(struct replace *r);
AUTO_DEFINE(replace, replace_free);

const struct replace_step *replace_steps(const struct replace *r, size_t *n);

/* Bytes that the steps will write. */
uint64_t replace_bytes(const struct replace *r);

/* Does the steps, once. Meanwhile no QEMU can open the images for writing, and no other stemma
 * replaces in the same folders (ERR_IN_USE). ERR_CHANGED when an image changed since the plan was
 * made; before the first swap nothing is lost by any error, and a work file that was not finished
 * is removed. `cancel` may be NULL. */
struct cancel;
[[nodiscard]] int replace_run(struct replace *r, const struct replace_worker *w,
                              const struct cancel *cancel, struct error *e);

/* One line that says what the step does, for free(): "write a.img.stemma-new, ...". */
[[nodiscard]] char *replace_step_text(const struct replace_step *s, struct error *e);

/* An overlay that a rebase put there, by what only the host can have written: its attribute, its
 * mark, or the original that lies beside it. So it is read as qcow2 whatever its name says ("a.raw"
 * stays a.raw), where a mere probe would not be believed. */
bool replace_made_overlay(const char *path);

/* How an overlay in `folder` names the backing file `path` (both absolute): by its file name when
 * it lies there, so that the folder can be moved; "./" before it when QEMU would take its beginning
 * for a protocol. For free(). */
[[nodiscard]] char *replace_backing_name(const char *folder, const char *path, struct error *e);

#endif
