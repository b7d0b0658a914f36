/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What is to be done to take a replacement back, or to make it final. */
#include "cluster/replace_internal.h"

#include "base/mem.h"

#include <string.h>

static int add(struct replace *r, enum replace_kind kind, size_t item, const char *path,
               const char *to, struct error *e)
{
    return replace_add(r, kind, item, path, to, e) == NULL ? -1 : 0;
}

static int resolve_all(struct replace *r, const char *const *paths, struct replace_names *names,
                       struct error *e)
{
    for (size_t i = 0; i < r->n; i++) {
        if (replace_resolve(r, &r->images[i], paths[i], e) < 0 ||
            replace_read_names(r, &r->images[i], &names[i], e) < 0)
            return -1;
    }
    return replace_refuse_twins(r, e);
}

static int refuse_foreign(const char *path, struct error *e)
{
    return err_set(e, ERR_DENIED, "%s was not made by stemma", path);
}

/* ---- undo ---- */

/* The overlay under NAME may be thrown away: nobody wrote to it, or the user says so. */
static int check_unwritten(struct replace *r, size_t item, const struct entry *image,
                           const struct entry *original, struct error *e)
{
    struct replace_image *m = &r->images[item];

    if (image->kind != ENTRY_REGULAR)
        return 0;
    if (!entry_same_time(image, original) && !r->options.force)
        return err_set(e, ERR_CHANGED,
                       "%s was written to since it was replaced: undo would lose that "
                       "(--force does it all the same)",
                       m->path);
    return replace_watch(r, m, m->path, e);
}

/* The original of a leaf or middle. */
static int undo_old(struct replace *r, size_t item, const struct replace_names *x, struct error *e)
{
    struct replace_image *m = &r->images[item];

    if (x->old.kind != ENTRY_REGULAR)
        return 0;
    if (entry_marked(&x->old))
        return refuse_foreign(m->path_old, e);
    if (entry_same(&x->image, &x->old))
        return 0;
    if (check_unwritten(r, item, &x->image, &x->old, e) < 0)
        return -1;
    return add(r, REPLACE_STEP_RESTORE, item, m->path_old, m->path, e);
}

/* Second names, once no overlay needs the base that goes with them. */
static int undo_second_names(struct replace *r, size_t item, const struct replace_names *x,
                             struct error *e)
{
    struct replace_image *m = &r->images[item];

    if ((entry_same(&x->image, &x->old) || entry_links_to(&x->old, replace_name(m->path_old))) &&
        add(r, REPLACE_STEP_DROP_NAME, item, m->path, m->path_old, e) < 0)
        return -1;
    if ((entry_same(&x->image, &x->base) || entry_links_to(&x->base, replace_name(m->path_base))) &&
        add(r, REPLACE_STEP_DROP_NAME, item, m->path, m->path_base, e) < 0)
        return -1;
    return 0;
}

/* The original of a root. Beside a NAME.stemma-old it is that of an earlier rebase. */
static int undo_root(struct replace *r, size_t item, const struct replace_names *x, struct error *e)
{
    struct replace_image *m = &r->images[item];

    if (x->base.kind != ENTRY_REGULAR || entry_marked(&x->base) ||
        entry_same(&x->image, &x->base) || x->old.kind != ENTRY_NONE)
        return 0;
    if (check_unwritten(r, item, &x->image, &x->base, e) < 0)
        return -1;
    return add(r, REPLACE_STEP_RESTORE_BASE, item, m->path_base, m->path, e);
}

static int undo_middle_base(struct replace *r, size_t item, const struct replace_names *x,
                            struct error *e)
{
    const struct replace_image *m = &r->images[item];

    if (!entry_marked(&x->base))
        return 0;
    return add(r, REPLACE_STEP_DROP_BASE, item, m->path, m->path_base, e);
}

static int undo_new(struct replace *r, size_t item, const struct replace_names *x, struct error *e)
{
    const struct replace_image *m = &r->images[item];

    if (x->image.kind == ENTRY_NONE && x->old.kind == ENTRY_NONE && x->base.kind == ENTRY_NONE)
        return err_set(e, ERR_NOT_FOUND, "%s: No such file", m->path);
    return replace_add_remove_new(r, item, x, e);
}

struct replace *replace_plan_undo(const char *const *paths, size_t n,
                                  const struct replace_options *o, struct error *e)
{
    /* leaves and middles first; then what they stood on; roots last */
    static int (*const phases[])(struct replace *, size_t, const struct replace_names *,
                                 struct error *) = {
        undo_new, undo_old, undo_middle_base, undo_second_names, undo_root,
    };
    AUTO(replace) *r = replace_new(n, o, e);
    AUTO_FREE struct replace_names *names = mem_array(n, sizeof *names, "names", e);

    if (r == NULL || names == NULL || resolve_all(r, paths, names, e) < 0)
        return NULL;
    r->undo = true;
    for (size_t phase = 0; phase < sizeof phases / sizeof *phases; phase++) {
        for (size_t i = 0; i < n; i++) {
            if (phases[phase](r, i, &names[i], e) < 0)
                return NULL;
        }
    }
    return take(r);
}

/* ---- commit ---- */

static int commit_image(struct replace *r, size_t item, const struct replace_names *x,
                        struct error *e)
{
    struct replace_image *m = &r->images[item];
    bool kept = x->old.kind != ENTRY_NONE;

    if (kept && (x->old.kind != ENTRY_REGULAR || entry_marked(&x->old)))
        return refuse_foreign(m->path_old, e);
    if (x->image.kind == ENTRY_NONE)
        return err_set(e, ERR_NOT_FOUND, "%s is missing%s%s", m->path,
                       kept ? "; its original is " : "", kept ? m->path_old : "");
    if (x->new.kind != ENTRY_NONE || x->image.kind != ENTRY_REGULAR || entry_marked(&x->image) ||
        entry_same(&x->image, &x->old) || entry_same(&x->image, &x->base))
        return err_set(e, ERR_DENIED,
                       "%s was not replaced completely: finish or undo the rebase first", m->path);
    return kept ? add(r, REPLACE_STEP_REMOVE_OLD, item, m->path, m->path_old, e) : 0;
}

struct replace *replace_plan_commit(const char *const *paths, size_t n,
                                    const struct replace_options *o, struct error *e)
{
    AUTO(replace) *r = replace_new(n, o, e);
    AUTO_FREE struct replace_names *names = mem_array(n, sizeof *names, "names", e);

    if (r == NULL || names == NULL || resolve_all(r, paths, names, e) < 0)
        return NULL;
    for (size_t i = 0; i < n; i++) {
        if (commit_image(r, i, &names[i], e) < 0)
            return NULL;
    }
    return take(r);
}
