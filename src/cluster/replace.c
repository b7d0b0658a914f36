/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What is to be done to replace images by overlays, from what stands under their names. */
#include "cluster/replace_internal.h"

#include "base/ckd.h"
#include "base/mem.h"
#include "base/text.h"
#include "disk/qcow2_write.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/statvfs.h>
#include <unistd.h>

#define WRITE_BITS (S_IWUSR | S_IWGRP | S_IWOTH)

/* ---- roles ---- */

static bool has_suffix(const char *text, const char *suffix)
{
    size_t n = strlen(text), m = strlen(suffix);

    return n >= m && strcmp(text + n - m, suffix) == 0;
}

static int set_role(struct replace_image *m, struct error *e)
{
    bool backed = m->item->backing != REPLACE_NONE, carries = m->children > 0;

    if (m->item->base && backed)
        return err_set(e, ERR_USAGE, "%s carries overlays already: it has to stay as it is",
                       m->path);
    if (m->item->base)
        m->role = carries ? ROLE_BASE : ROLE_ALONE;
    else if (backed)
        m->role = carries ? ROLE_MIDDLE : ROLE_LEAF;
    else
        m->role = carries ? ROLE_ROOT : ROLE_ALONE;
    if (m->role == ROLE_ALONE || m->role == ROLE_BASE)
        return 0;
    if (has_suffix(m->path, REPLACE_NEW) || has_suffix(m->path, REPLACE_OLD) ||
        has_suffix(m->path, REPLACE_BASE))
        return err_set(e, ERR_USAGE, "%s belongs to another image", m->path);
    return 0;
}

static int set_roles(struct replace *r, struct error *e)
{
    for (size_t i = 0; i < r->n; i++) {
        uint32_t up = r->images[i].item->backing;
        uint32_t depth = 0;

        if (up != REPLACE_NONE && up >= r->n)
            return err_set(e, ERR_INTERNAL, "a plan with a backing file that is not in it");
        if (up != REPLACE_NONE)
            r->images[up].children++;
        for (; up != REPLACE_NONE && up < r->n; up = r->images[up].item->backing) {
            if (++depth > r->n)
                return err_set(e, ERR_INTERNAL, "a plan that goes in a circle");
        }
        r->images[i].depth = depth;
    }
    for (size_t i = 0; i < r->n; i++) {
        if (set_role(&r->images[i], e) < 0)
            return -1;
    }
    return 0;
}

/* ---- how far an interrupted run came ---- */

/* What stands on `m` names this. */
static const char *base_path(const struct replace_image *m)
{
    return m->role == ROLE_BASE ? m->path : m->path_base;
}

static int refuse_taken(const char *path, struct error *e)
{
    return err_set(e, ERR_DENIED,
                   "%s exists already; see whether --undo or --commit was meant for it", path);
}

/* Where the original stands that got the second name `kept` (of path), or is going to. Sets kept
 * and swapped. */
static int inspect_kept(struct replace_image *m, const struct entry *image,
                        const struct entry *kept, const char *path, struct error *e)
{
    if (kept->kind == ENTRY_NONE || entry_links_to(kept, replace_name(path)))
        return 0;
    if (kept->kind != ENTRY_REGULAR || entry_marked(kept))
        return refuse_taken(path, e);
    if (entry_links_to(image, replace_name(path)) || entry_same(image, kept)) {
        m->kept = true;
        return 0;
    }
    if (image->kind != ENTRY_REGULAR || !entry_same_time(image, kept))
        return refuse_taken(path, e);
    m->kept = m->swapped = true;
    return 0;
}

/* The overlay of a middle that others stand on. */
static int inspect_middle_base(struct replace_image *m, const struct replace_names *x,
                               struct error *e)
{
    const struct entry *original = m->kept ? &x->old : &x->image;

    if (x->base.kind == ENTRY_NONE && m->swapped)
        return err_set(e, ERR_NOT_FOUND, "%s is missing: %s stands on it", m->path_base, m->path);
    if (x->base.kind == ENTRY_NONE)
        return 0;
    if (!entry_marked(&x->base) || !entry_same_time(&x->base, original))
        return refuse_taken(m->path_base, e);
    m->based = true;
    return 0;
}

/* The original is a regular file that has no names but ours. */
static int check_original(const struct replace_image *m, const struct replace_names *x,
                          const struct entry *original, struct error *e)
{
    size_t names = 1;

    if (original->kind == ENTRY_NONE)
        return err_set(e, ERR_NOT_FOUND, "%s: No such file", m->path);
    if (original->kind == ENTRY_OTHER && S_ISBLK(original->st.st_mode))
        return err_set(e, ERR_DENIED, "%s is a block device, which cannot be replaced", m->path);
    if (original->kind != ENTRY_REGULAR)
        return err_set(e, ERR_DENIED, "%s is not a regular file", m->path);
    if (entry_marked(original))
        return err_set(e, ERR_DENIED, "%s has the sticky bit, which stemma uses as its mark",
                       m->path);
    names += entry_same(&x->image, &x->base);
    names += entry_same(&x->image, &x->old);
    if (original->st.st_nlink > names)
        return err_set(e, ERR_DENIED,
                       "%s has other hard links, which would go on naming the old image", m->path);
    return 0;
}

/* An overlay that stands on something else than the plan wants is no work of an interrupted run. */
static int check_same_plan(const struct replace *r, const struct replace_image *m, struct error *e)
{
    const char *now = m->item->stands_on;

    if (!m->swapped || m->role != ROLE_LEAF || now == NULL ||
        strcmp(now, base_path(&r->images[m->item->backing])) == 0)
        return 0;
    return refuse_taken(m->path_old, e);
}

/* What is under NAME stands on NAME.stemma-base already, be that of a root or of a middle whose own
 * base is not among the items: more can stand on it, whatever was written to NAME since. */
static bool stands_on_own_base(const struct replace_image *m, const struct replace_names *x)
{
    return m->item->stands_on != NULL && strcmp(m->item->stands_on, m->path_base) == 0 &&
           m->item->base_format != NULL && x->image.kind == ENTRY_REGULAR &&
           x->base.kind == ENTRY_REGULAR && !entry_same(&x->image, &x->base);
}

static int inspect_root(struct replace_image *m, const struct replace_names *x, struct error *e)
{
    if (stands_on_own_base(m, x)) {
        m->kept = m->swapped = true;
        return 0;
    }
    if (x->old.kind == ENTRY_REGULAR && x->image.kind == ENTRY_REGULAR &&
        !entry_same(&x->image, &x->old))
        return err_set(e, ERR_DENIED,
                       "%s was replaced before, and others are to stand on it now: --commit or "
                       "--undo that first",
                       m->path);
    return inspect_kept(m, &x->image, &x->base, m->path_base, e);
}

static int inspect_image(struct replace *r, size_t item, struct replace_names *x, struct error *e)
{
    struct replace_image *m = &r->images[item];
    bool root = m->role == ROLE_ROOT;
    const char *kept = root ? m->path_base : m->path_old;

    if (replace_read_names(r, m, x, e) < 0)
        return -1;
    if (m->role == ROLE_ALONE)
        return 0;
    if (m->role == ROLE_BASE)
        return replace_watch(r, m, m->path, e);
    if ((root ? inspect_root(m, x, e) : inspect_kept(m, &x->image, &x->old, kept, e)) < 0)
        return -1;
    if (m->role == ROLE_MIDDLE && inspect_middle_base(m, x, e) < 0)
        return -1;
    if (m->swapped && root && m->item->base_format == NULL)
        return refuse_taken(m->path_base, e);
    if (m->swapped)
        return check_same_plan(r, m, e);
    if (x->image.kind == ENTRY_LINK)
        return check_original(m, x, root ? &x->base : &x->old, e) < 0
                   ? -1
                   : replace_watch(r, m, kept, e);
    return check_original(m, x, &x->image, e) < 0 ? -1 : replace_watch(r, m, m->path, e);
}

/* ---- the steps ---- */

static const char *base_format(const struct replace_image *m)
{
    if (m->role == ROLE_MIDDLE)
        return "qcow2";
    return m->role == ROLE_ROOT && m->swapped ? m->item->base_format : m->item->format;
}

static int count_bytes(struct replace *r, const struct replace_image *m, uint64_t bytes,
                       struct error *e)
{
    struct replace_folder *f = &r->folders[m->folder];

    if (ckd_add(&f->bytes, f->bytes, bytes) || ckd_add(&r->bytes, r->bytes, bytes))
        return err_set(e, ERR_LIMIT, "the plan writes more than 16 EiB");
    return 0;
}

/* How the overlay under the image's name is to call what it stands on. */
static char *name_of_backing(const struct replace *r, const struct replace_image *m,
                             const char *backing, struct error *e)
{
    if (m->linked)
        return mem_string(backing, e);
    return replace_backing_name(r->folders[m->folder].path, backing, e);
}

static int add_write(struct replace *r, size_t item, struct error *e)
{
    struct replace_image *m = &r->images[item];
    const struct replace_image *up = &r->images[m->item->backing];
    struct replace_step *s;

    m->backing_name = name_of_backing(r, m, base_path(up), e);
    if (m->backing_name == NULL ||
        (s = replace_add(r, REPLACE_STEP_WRITE, item, m->path, m->path_new, e)) == NULL)
        return -1;
    s->backing_item = m->item->backing;
    s->backing_path = base_path(up);
    s->backing_name = m->backing_name;
    s->backing_format = base_format(up);
    return count_bytes(r, m, m->item->overlay_bytes, e);
}

static int add_fresh(struct replace *r, size_t item, struct error *e)
{
    struct replace_image *m = &r->images[item];
    struct replace_step *s;

    m->fresh_name = name_of_backing(r, m, m->path_base, e);
    if (m->fresh_name == NULL ||
        (s = replace_add(r, REPLACE_STEP_WRITE_FRESH, item, m->path_base, m->path_new, e)) == NULL)
        return -1;
    s->backing_path = m->path_base;
    s->backing_name = m->fresh_name;
    s->backing_format = base_format(m);
    return count_bytes(r, m, qcow2_written_size(m->item->virtual_size, 0, 0), e);
}

static int add(struct replace *r, enum replace_kind kind, size_t item, const char *path,
               const char *to, struct error *e)
{
    return replace_add(r, kind, item, path, to, e) == NULL ? -1 : 0;
}

/* Writes the content of a leaf or a middle. */
static int add_content(struct replace *r, size_t item, struct error *e)
{
    struct replace_image *m = &r->images[item];

    if (m->swapped || (m->role != ROLE_LEAF && m->role != ROLE_MIDDLE))
        return 0;
    if (m->role == ROLE_LEAF)
        return add_write(r, item, e);
    if (m->based) {
        if (add(r, REPLACE_STEP_VERIFY, item, m->path, m->path_base, e) < 0)
            return -1;
    } else if (add_write(r, item, e) < 0) {
        return -1;
    }
    /* in this order: a base that is an overlay never stands beside an original without another name
     */
    if (!m->kept && add(r, REPLACE_STEP_KEEP_OLD, item, m->path, m->path_old, e) < 0)
        return -1;
    return m->based ? 0 : add(r, REPLACE_STEP_NAME_BASE, item, m->path_new, m->path_base, e);
}

/* What a run that was interrupted after the swap left to be done, whatever the plan is now. */
static int add_finish(struct replace *r, size_t item, const struct replace_names *x,
                      struct error *e)
{
    const struct replace_image *m = &r->images[item];
    const struct entry *original = x->old.kind != ENTRY_NONE ? &x->old : &x->base;
    bool marked = entry_marked(&x->image);

    if (m->item->base || original->kind != ENTRY_REGULAR || entry_marked(original) ||
        x->image.kind != ENTRY_REGULAR || entry_same(&x->image, original))
        return 0;
    if (original == &x->base && (marked || entry_same_time(&x->image, original)) &&
        x->base.st.st_mode & WRITE_BITS &&
        add(r, REPLACE_STEP_FREEZE, item, m->path, m->path_base, e) < 0)
        return -1;
    return marked ? add(r, REPLACE_STEP_SETTLE, item, m->path, m->path, e) : 0;
}

static int add_swap(struct replace *r, size_t item, const struct replace_names *x, struct error *e)
{
    struct replace_image *m = &r->images[item];
    bool freeze = !m->swapped || x->base.st.st_mode & WRITE_BITS;
    bool settle = !m->swapped || entry_marked(&x->image);

    if (m->role == ROLE_ALONE)
        return add_finish(r, item, x, e);
    if (m->role == ROLE_BASE)
        return 0;
    if (m->role == ROLE_LEAF && !m->kept &&
        add(r, REPLACE_STEP_KEEP_OLD, item, m->path, m->path_old, e) < 0)
        return -1;
    if (!m->swapped && add(r, REPLACE_STEP_SWAP, item, m->path_new, m->path, e) < 0)
        return -1;
    if (m->role == ROLE_ROOT && freeze &&
        add(r, REPLACE_STEP_FREEZE, item, m->path, m->path_base, e) < 0)
        return -1;
    return settle ? add(r, REPLACE_STEP_SETTLE, item, m->path, m->path, e) : 0;
}

/* Items, those below others first. */
static uint32_t *order_by_depth(const struct replace *r, struct error *e)
{
    uint32_t *order = mem_array(r->n, sizeof *order, "an order", e);
    AUTO_FREE size_t *start = mem_array(r->n + 2, sizeof *start, "an order", e);

    if (order == NULL || start == NULL) {
        free(order);
        return NULL;
    }
    for (size_t i = 0; i < r->n; i++)
        start[r->images[i].depth + 1]++;
    for (size_t d = 1; d <= r->n; d++)
        start[d] += start[d - 1];
    for (size_t i = 0; i < r->n; i++)
        order[start[r->images[i].depth]++] = (uint32_t)i;
    return order;
}

static int add_steps(struct replace *r, const struct replace_names *names, struct error *e)
{
    AUTO_FREE uint32_t *order = order_by_depth(r, e);

    if (order == NULL)
        return -1;
    for (size_t i = 0; i < r->n; i++) {
        const struct replace_image *m = &r->images[i];

        bool foreign = m->role == ROLE_ALONE && !entry_marked(&names[i].new);

        if (m->role != ROLE_BASE && !foreign && replace_add_remove_new(r, i, &names[i], e) < 0)
            return -1;
    }
    for (size_t i = 0; i < r->n; i++) {
        const struct replace_image *m = &r->images[i];

        if (m->role == ROLE_ROOT && !m->kept &&
            add(r, REPLACE_STEP_KEEP_BASE, i, m->path, m->path_base, e) < 0)
            return -1;
    }
    for (size_t i = 0; i < r->n; i++) {
        if (add_content(r, order[i], e) < 0)
            return -1;
    }
    for (size_t i = 0; i < r->n; i++) {
        const struct replace_image *m = &r->images[order[i]];

        if (!m->swapped && (m->role == ROLE_ROOT || m->role == ROLE_MIDDLE) &&
            add_fresh(r, order[i], e) < 0)
            return -1;
    }
    for (size_t i = 0; i < r->n; i++) {
        if (add_swap(r, order[i], &names[order[i]], e) < 0)
            return -1;
    }
    return 0;
}

/* ---- whether there is room, and a right to write ---- */

static int check_room(const struct replace *r, size_t first, struct error *e)
{
    struct statvfs fs;
    uint64_t needed = 0, available;
    char have[TEXT_SIZE_MAX], need[TEXT_SIZE_MAX];

    for (size_t i = 0; i < r->n_folders; i++) {
        if (r->folders[i].device != r->folders[first].device)
            continue;
        if (i < first)
            return 0; /* counted with that one */
        needed += r->folders[i].bytes;
    }
    if (fstatvfs(r->folders[first].fd, &fs) < 0)
        return err_sys(e, "%s", r->folders[first].path);
    if (!ckd_mul(&available, (uint64_t)fs.f_bavail, (uint64_t)fs.f_frsize) && available < needed) {
        err_set(e, ERR_IO, "%s: the overlays need %s, and %s are free", r->folders[first].path,
                text_size(need, needed), text_size(have, available));
        e->sys = ENOSPC;
        return -1;
    }
    return 0;
}

static int check_folders(const struct replace *r, struct error *e)
{
    for (size_t i = 0; i < r->n_folders; i++) {
        const struct replace_folder *f = &r->folders[i];

        if (f->bytes > 0 && faccessat(f->fd, ".", W_OK | X_OK, AT_EACCESS) < 0)
            return err_sys(e, "cannot write in %s", f->path);
        if (f->bytes > 0 && check_room(r, i, e) < 0)
            return -1;
    }
    return 0;
}

struct replace *replace_plan(const struct replace_item *items, size_t n,
                             const struct replace_options *o, struct error *e)
{
    AUTO(replace) *r = replace_new(n, o, e);
    AUTO_FREE struct replace_names *names = mem_array(n, sizeof *names, "names", e);

    if (r == NULL || names == NULL)
        return NULL;
    for (size_t i = 0; i < n; i++) {
        r->images[i].item = &items[i];
        if (replace_resolve(r, &r->images[i], items[i].path, e) < 0)
            return NULL;
    }
    if (replace_refuse_twins(r, e) < 0 || set_roles(r, e) < 0)
        return NULL;
    for (size_t i = 0; i < n; i++) {
        if (inspect_image(r, i, &names[i], e) < 0)
            return NULL;
    }
    if (add_steps(r, names, e) < 0 || check_folders(r, e) < 0)
        return NULL;
    return take(r);
}
