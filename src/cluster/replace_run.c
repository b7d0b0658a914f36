/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Doing the steps. Each looks again at the names it is about to change: the plan may be old. */
#include "cluster/replace_internal.h"

#include "base/mem.h"
#include "base/pool.h"

#include <errno.h>
#include <string.h>
#include <sys/file.h>
#include <unistd.h>

#define WRITE_BITS (S_IWUSR | S_IWGRP | S_IWOTH)

struct run {
    struct replace *r;
    const struct replace_worker *w;
    const struct fileops_hook *hook;
};

/* ---- who else is at work ---- */

static int lock_folders(const struct replace *r, struct error *e)
{
    for (size_t i = 0; i < r->n_folders; i++) {
        /* where folders cannot be locked (some network file systems) O_EXCL has to do */
        if (flock(r->folders[i].fd, LOCK_EX | LOCK_NB) < 0 && errno == EWOULDBLOCK)
            return err_set(e, ERR_IN_USE, "%s: another rebase is at work there",
                           r->folders[i].path);
    }
    return 0;
}

static void unlock_folders(const struct replace *r)
{
    for (size_t i = 0; i < r->n_folders; i++)
        flock(r->folders[i].fd, LOCK_UN);
}

static bool same_identity(const struct stat *a, const struct stat *b)
{
    return a->st_dev == b->st_dev && a->st_ino == b->st_ino && a->st_size == b->st_size &&
           a->st_mtim.tv_sec == b->st_mtim.tv_sec && a->st_mtim.tv_nsec == b->st_mtim.tv_nsec;
}

/* The watched file is as it was when the plan was made, and nobody writes to it. */
static int check_watched(const struct replace_image *m, struct error *e)
{
    struct stat st;

    if (m->fd < 0)
        return 0;
    if (fstat(m->fd, &st) < 0)
        return err_sys(e, "%s", m->path);
    if (!same_identity(&st, &m->identity))
        return err_set(e, ERR_CHANGED, "%s was written to meanwhile", m->path);
    return fileops_check_unused(m->fd, m->path, e);
}

/* And it still is what its name, or its second name, stands for. */
static int check_still_named(const struct replace *r, const struct replace_image *m,
                             struct error *e)
{
    struct replace_names x;
    struct stat *st;

    if (check_watched(m, e) < 0 || replace_read_names(r, m, &x, e) < 0)
        return -1;
    st = x.image.kind == ENTRY_REGULAR ? &x.image.st
         : m->role == ROLE_ROOT        ? &x.base.st
                                       : &x.old.st;
    if (m->fd >= 0 && !same_identity(st, &m->identity))
        return err_set(e, ERR_CHANGED, "%s became another file meanwhile", m->path);
    return 0;
}

static int lock_images(const struct replace *r, struct error *e)
{
    for (size_t i = 0; i < r->n; i++) {
        const struct replace_image *m = &r->images[i];

        if (m->fd >= 0 && fileops_lock_out_writers(m->fd, m->path, e) < 0)
            return -1;
        if (check_still_named(r, m, e) < 0)
            return -1;
    }
    return 0;
}

/* ---- steps ---- */

static int write_and_verify(const struct run *run, const struct replace_step *s, int fd,
                            struct error *e)
{
    const struct replace_image *m = &run->r->images[s->item];
    bool base = s->kind == REPLACE_STEP_WRITE && m->role == ROLE_MIDDLE;

    if (run->w->write(run->w->arg, s, fd, e) < 0)
        return -1;
    if (fsync(fd) < 0)
        return err_sys(e, "%s", s->to);
    if (run->w->verify(run->w->arg, s, e) < 0)
        return err_wrap(e, "%s", s->to);
    return fileops_copy_attributes(run->hook, m->fd, fd, base ? WRITE_BITS : 0, s->to, e);
}

static int do_write(const struct run *run, const struct replace_step *s, struct error *e)
{
    const struct replace_image *m = &run->r->images[s->item];
    int folder = replace_folder_fd(run->r, m);
    AUTO_FD int fd = -1;

    if (fileops_create(run->hook, folder, replace_name(s->to), m->fd, &fd, e) < 0)
        return -1;
    if (write_and_verify(run, s, fd, e) == 0)
        return 0;
    unlinkat(folder, replace_name(s->to), 0); /* it is marked, should this fail as well */
    return -1;
}

/* The overlay takes the name of an image that has another name. */
static int do_swap(const struct run *run, const struct replace_step *s, struct error *e)
{
    const struct replace_image *m = &run->r->images[s->item];
    const char *kept = m->role == ROLE_ROOT ? m->path_base : m->path_old;
    struct replace_names x;
    const struct entry *other;

    if (check_still_named(run->r, m, e) < 0 || replace_read_names(run->r, m, &x, e) < 0)
        return -1;
    other = m->role == ROLE_ROOT ? &x.base : &x.old;
    if (!entry_same(&x.image, other) && !entry_links_to(&x.image, replace_name(kept)))
        return err_set(e, ERR_CHANGED, "%s is no longer %s", kept, m->path);
    return fileops_rename(run->hook, replace_folder_fd(run->r, m), replace_name(s->path),
                          replace_name(s->to), e);
}

static int do_chmod(const struct run *run, const struct replace_step *s, mode_t without,
                    struct error *e)
{
    int folder = replace_folder_fd(run->r, &run->r->images[s->item]);
    struct entry x;

    if (entry_read(folder, replace_name(s->to), &x, e) < 0)
        return -1;
    return fileops_chmod(run->hook, folder, replace_name(s->to), x.st.st_mode & ~without, e);
}

static int do_keep(const struct run *run, const struct replace_step *s, struct error *e)
{
    const struct replace_image *m = &run->r->images[s->item];

    if (check_watched(m, e) < 0)
        return -1;
    return fileops_keep(run->hook, replace_folder_fd(run->r, m), replace_name(s->path),
                        replace_name(s->to), e);
}

static int do_remove(const struct run *run, const struct replace_step *s, struct error *e)
{
    return fileops_unlink(run->hook, replace_folder_fd(run->r, &run->r->images[s->item]),
                          replace_name(s->to), e);
}

static int do_remove_old(const struct run *run, const struct replace_step *s, struct error *e)
{
    const struct replace_image *m = &run->r->images[s->item];
    struct replace_names x;

    if (replace_read_names(run->r, m, &x, e) < 0)
        return -1;
    if (x.image.kind != ENTRY_REGULAR || entry_same(&x.image, &x.old))
        return err_set(e, ERR_CHANGED, "%s is no longer an overlay", m->path);
    return do_remove(run, s, e);
}

/* ---- steps of undo ---- */

/* 1 when something stands on the base (told in *user), 0 when nothing does. */
static int base_is_used(const struct run *run, const char *base, const char *except, char **user,
                        struct error *e)
{
    *user = NULL;
    if (run->w->used_by(run->w->arg, base, except, user, e) < 0)
        return -1;
    return *user != NULL;
}

static int refuse_used(const struct run *run, const char *base, const char *except, struct error *e)
{
    AUTO_FREE char *user = NULL;
    int used = base_is_used(run, base, except, &user, e);

    if (used > 0)
        return err_set(e, ERR_IN_USE, "%s stands on %s: undo that first", user, base);

    return used;
}

static int check_unwritten(const struct run *run, const struct replace_image *m,
                           const struct entry *image, const struct entry *original, struct error *e)
{
    if (check_watched(m, e) < 0)
        return -1;
    if (original->kind != ENTRY_REGULAR)
        return err_set(e, ERR_CHANGED, "the original of %s is gone", m->path);
    if (image->kind == ENTRY_REGULAR && !entry_same_time(image, original) && !run->r->options.force)
        return err_set(e, ERR_CHANGED, "%s was written to since it was replaced", m->path);
    return 0;
}

static int do_restore(const struct run *run, const struct replace_step *s, struct error *e)
{
    const struct replace_image *m = &run->r->images[s->item];
    struct replace_names x;

    if (replace_read_names(run->r, m, &x, e) < 0 ||
        check_unwritten(run, m, &x.image, &x.old, e) < 0)
        return -1;
    return fileops_rename(run->hook, replace_folder_fd(run->r, m), replace_name(s->path),
                          replace_name(s->to), e);
}

/* The overlay under NAME was given the mode that the original had, and the user may have changed it
 * since. */
static int do_restore_base(const struct run *run, const struct replace_step *s, struct error *e)
{
    const struct replace_image *m = &run->r->images[s->item];
    int folder = replace_folder_fd(run->r, m);
    struct replace_names x;
    mode_t mode;

    if (refuse_used(run, m->path_base, m->path, e) < 0 ||
        replace_read_names(run->r, m, &x, e) < 0 ||
        check_unwritten(run, m, &x.image, &x.base, e) < 0)
        return -1;
    mode = x.image.kind == ENTRY_REGULAR ? x.image.st.st_mode & ~(mode_t)FILEOPS_MARK
           : x.image.kind == ENTRY_NONE  ? x.base.st.st_mode | S_IWUSR
                                         : x.base.st.st_mode;
    if ((mode & 07777) != (x.base.st.st_mode & 07777) &&
        fileops_chmod(run->hook, folder, replace_name(s->path), mode, e) < 0)
        return -1;
    return fileops_rename(run->hook, folder, replace_name(s->path), replace_name(s->to), e);
}

static int do_drop_name(const struct run *run, const struct replace_step *s, struct error *e)
{
    const struct replace_image *m = &run->r->images[s->item];

    if (s->to == m->path_base && refuse_used(run, s->to, NULL, e) < 0)
        return -1;
    return do_remove(run, s, e);
}

/* Bases of middles may stand on each other: goes round until nothing can be removed any more. What
 * is left is in use, which is no error: it is no original. */
static int drop_bases(const struct run *run, const struct replace_step *steps, size_t n,
                      struct error *e)
{
    AUTO_FREE bool *gone = mem_array(n, sizeof *gone, "steps", e);
    bool again = true;

    if (gone == NULL)
        return -1;
    while (again) {
        again = false;
        for (size_t i = 0; i < n; i++) {
            AUTO_FREE char *user = NULL;
            int used = gone[i] ? 1 : base_is_used(run, steps[i].to, NULL, &user, e);

            if (used < 0 || (used == 0 && do_remove(run, &steps[i], e) < 0))
                return -1;
            if (used == 0)
                gone[i] = again = true;
        }
    }
    return 0;
}

/* ---- all ---- */

static int do_step(const struct run *run, const struct replace_step *s, struct error *e)
{
    const struct replace_image *m = &run->r->images[s->item];

    switch (s->kind) {
    case REPLACE_STEP_REMOVE_NEW:
        return do_remove(run, s, e);
    case REPLACE_STEP_KEEP_BASE:
    case REPLACE_STEP_KEEP_OLD:
        return do_keep(run, s, e);
    case REPLACE_STEP_WRITE:
    case REPLACE_STEP_WRITE_FRESH:
        return do_write(run, s, e);
    case REPLACE_STEP_VERIFY:
        return run->w->verify(run->w->arg, s, e) < 0 ? err_wrap(e, "%s", s->to) : 0;
    case REPLACE_STEP_NAME_BASE:
        return fileops_rename_new(run->hook, replace_folder_fd(run->r, m), replace_name(s->path),
                                  replace_name(s->to), e);
    case REPLACE_STEP_SWAP:
        return do_swap(run, s, e);
    case REPLACE_STEP_FREEZE:
        return do_chmod(run, s, WRITE_BITS, e);
    case REPLACE_STEP_SETTLE:
        return do_chmod(run, s, FILEOPS_MARK, e);
    case REPLACE_STEP_RESTORE:
        return do_restore(run, s, e);
    case REPLACE_STEP_RESTORE_BASE:
        return do_restore_base(run, s, e);
    case REPLACE_STEP_DROP_NAME:
        return do_drop_name(run, s, e);
    case REPLACE_STEP_DROP_BASE:
        return drop_bases(run, s, 1, e);
    case REPLACE_STEP_REMOVE_OLD:
        return do_remove_old(run, s, e);
    }
    return err_set(e, ERR_INTERNAL, "no step of kind %d", (int)s->kind);
}

/* Steps from `at` on that are done together. */
static size_t count_together(const struct replace *r, size_t at)
{
    size_t n = 1;

    if (r->steps[at].kind != REPLACE_STEP_DROP_BASE)
        return 1;
    while (at + n < r->n_steps && r->steps[at + n].kind == REPLACE_STEP_DROP_BASE)
        n++;
    return n;
}

/* A root that others stand on is left alone, and the rest undone all the same. */
static bool goes_on_after(const struct replace *r, const struct replace_step *s,
                          const struct error *e)
{
    return r->undo && e->code == ERR_IN_USE &&
           (s->kind == REPLACE_STEP_RESTORE_BASE || s->kind == REPLACE_STEP_DROP_NAME);
}

static int do_steps(const struct run *run, const struct cancel *cancel, struct error *e)
{
    struct replace *r = run->r;
    struct error first = {};
    size_t together;

    for (size_t i = 0; i < r->n_steps; i += together) {
        const struct replace_step *s = &r->steps[i];
        int result;

        if (cancel_requested(cancel))
            return err_set(e, ERR_CANCELLED, "interrupted");
        if (run->w->begin != NULL)
            run->w->begin(run->w->arg, s);
        together = count_together(r, i);
        result = together > 1 ? drop_bases(run, s, together, e) : do_step(run, s, e);
        if (result < 0 && !goes_on_after(r, s, e))
            return -1;
        if (result < 0 && first.code == ERR_NONE)
            first = *e;
        else if (result < 0)
            problem_report_error(&r->options.problems, s->to, e);
    }
    if (first.code == ERR_NONE)
        return 0;
    *e = first;
    return -1;
}

int replace_run(struct replace *r, const struct replace_worker *w, const struct cancel *cancel,
                struct error *e)
{
    const struct run run = {r, w, &r->options.hook};
    int result;

    if (lock_folders(r, e) < 0)
        return -1;
    result = lock_images(r, e);
    if (result == 0)
        result = do_steps(&run, cancel, e);
    unlock_folders(r);
    return result;
}
