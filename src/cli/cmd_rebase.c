/* SPDX-License-Identifier: GPL-2.0-or-later */
/* stemma rebase [--output DIR | --replace | --undo | --commit] IMAGE... */
#include "base/mem.h"
#include "base/text.h"
#include "cli/common.h"
#include "cli/in_use.h"
#include "cli/kin.h"
#include "cli/rebase_guests.h"
#include "cli/rebase_output.h"
#include "cli/rebase_run.h"
#include "cli/rebase_text.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

struct rebase_options {
    struct common_options common;
    const char *output;
    bool replace, undo, commit, all, force;
    struct strings in_use;
};

#define AT(field) offsetof(struct rebase_options, field)

static const struct option_row rows[] = {
    {OPTION_STRING, "output", 'o', "DIR",
     "write the overlays into DIR and leave the originals as they are", AT(output)},
    {OPTION_FLAG, "replace", 0, NULL,
     "put the overlays in the originals' places; what was there is kept as NAME.stemma-old",
     AT(replace)},
    {OPTION_FLAG, "undo", 0, NULL, "put the originals back", AT(undo)},
    {OPTION_FLAG, "commit", 0, NULL, "remove the originals that were kept: there is no undo then",
     AT(commit)},
    {OPTION_FLAG, "all", 0, NULL, "existing backing files may be changed too", AT(all)},
    {OPTION_FLAG, "force", 0, NULL,
     "undo: also what was written to since, which is lost with the overlay", AT(force)},
    {OPTION_LIST, "in-use", 0, "IMAGE",
     "IMAGE runs: nothing is made to stand on it, and it is not replaced (repeatable)", AT(in_use)},
    {},
};

struct rebase {
    struct session *session;
    const struct rebase_options *o;
    struct kinship k;
    char **outputs; /* --output: by image; NULL entries */
    uint64_t *sizes;
    struct replace_item *items; /* --replace, and the dry run */
    uint32_t *item_of;          /* image -> item, or REPLACE_NONE */
    size_t n_items;
    char **formats, **bases; /* base_format and stands_on of items; owned */
    struct replace *plan;
    struct definitions_list definitions;
    bool done;
};

static void rebase_release(struct rebase *r)
{
    for (size_t i = 0; i < r->k.n; i++) {
        if (r->outputs != NULL)
            free(r->outputs[i]);
    }
    for (size_t i = 0; r->formats != NULL && r->bases != NULL && i < r->n_items; i++) {
        free(r->formats[i]);
        free(r->bases[i]);
    }
    free(r->bases);
    definitions_list_release(&r->definitions);
    free(r->formats);
    free(r->outputs);
    free(r->sizes);
    free(r->items);
    free(r->item_of);
    replace_free(r->plan);
    kinship_release(&r->k);
}

/* ---- what is to be done ---- */

/* An image that a guest writes to, or that the user says is in use, is not replaced. It is a leaf
 * in every plan, and may be one in overlays that are written elsewhere. */
static bool left_out(const struct rebase *r, size_t image)
{
    return r->o->output == NULL && r->k.images[image].in_use;
}

static bool user_says_in_use(const struct session *s, const char *name)
{
    for (size_t i = 0; s->in_use != NULL && i < s->sources.n; i++) {
        if (s->in_use[i] && strcmp(s->sources.items[i].name, name) == 0)
            return true;
    }
    return false;
}

static const char *why_left_alone(const struct rebase *r, size_t image)
{
    return left_out(r, image) ? "in use" : r->k.images[image].fixed;
}

static bool has_end(const char *text, const char *end)
{
    size_t n = text == NULL ? 0 : strlen(text), m = strlen(end);

    return n > m && strcmp(text + n - m, end) == 0;
}

/* An image takes part when it gets a backing file, becomes one, or was left half-way by an
 * interrupted run (its backing file is a frozen base). */
static void mark_parts(const struct rebase *r, bool *part, bool *base)
{
    const struct kinship *k = &r->k;

    for (size_t i = 0; i < k->n; i++) {
        const struct plan_step *s = &k->plan.steps[i];

        if (s->action == PLAN_REBASE && !left_out(r, i)) {
            part[i] = true;
            if (s->backing < k->n)
                part[s->backing] = true;
        }
        if (s->action == PLAN_KEEP && k->images[i].backing < k->n)
            base[k->images[i].backing] = true;
        if (has_end(k->images[i].backing_path, REPLACE_BASE) && !left_out(r, i))
            part[i] = true;
        if (has_end(k->images[i].path, REPLACE_BASE))
            base[i] = true;
    }
}

static int make_items(struct rebase *r, struct error *e)
{
    const struct kinship *k = &r->k;
    AUTO_FREE bool *part = mem_array(k->n, sizeof *part, "the plan", e);
    AUTO_FREE bool *base = mem_array(k->n, sizeof *base, "the plan", e);

    r->items = mem_array(k->n, sizeof *r->items, "the plan", e);
    r->item_of = mem_array(k->n, sizeof *r->item_of, "the plan", e);
    r->formats = mem_array(k->n, sizeof *r->formats, "the plan", e);
    r->bases = mem_array(k->n, sizeof *r->bases, "the plan", e);
    if (part == NULL || base == NULL || r->items == NULL || r->item_of == NULL ||
        r->formats == NULL || r->bases == NULL)
        return -1;
    mark_parts(r, part, base);
    for (size_t i = 0; i < k->n; i++) {
        if (!part[i]) {
            r->item_of[i] = REPLACE_NONE;
            continue;
        }
        r->item_of[i] = (uint32_t)r->n_items;
        r->items[r->n_items++] = (struct replace_item){
            .path = k->images[i].path,
            .backing = REPLACE_NONE,
            .format = k->images[i].format,
            .base = base[i],
            .virtual_size = k->images[i].virtual_size,
        };
    }
    for (size_t i = 0; i < k->n; i++) {
        if (r->item_of[i] == REPLACE_NONE || k->plan.steps[i].action != PLAN_REBASE)
            continue;
        r->items[r->item_of[i]].backing = r->item_of[k->plan.steps[i].backing];
        r->items[r->item_of[i]].overlay_bytes = k->plan.steps[i].overlay_bytes;
    }
    return 0;
}

/* The formats of frozen bases under images that an interrupted run has swapped already. */
static int find_base_formats(struct rebase *r, struct error *e)
{
    const struct kinship *k = &r->k;
    AUTO_FREE struct inspected *images = mem_array(1, sizeof *images, "images", e);

    if (images == NULL)
        return -1;
    for (size_t i = 0; i < k->n; i++) {
        struct source source = {
            .name = k->images[i].path, .path = k->images[i].path, .format = k->images[i].format};
        uint32_t item = r->item_of[i];

        if (item == REPLACE_NONE || !has_end(k->images[i].backing_path, REPLACE_BASE))
            continue;
        images[0] = (struct inspected){};
        if (rebase_inspect(r->session, &source, 1, images, e) != 0)
            return -1;
        if (images[0].has_backing) {
            r->formats[item] = mem_string(images[0].backing_format, e);
            r->bases[item] = realpath(k->images[i].backing_path, NULL);
            if (r->formats[item] == NULL)
                return -1;
            r->items[item].base_format = r->formats[item];
            r->items[item].stands_on = r->bases[item];
        }
    }
    return 0;
}

static int plan_replacement(struct rebase *r, struct error *e)
{
    struct replace_options options = {.force = r->o->force,
                                      .problems = r->session->sources.problems};

    if (make_items(r, e) != 0 || find_base_formats(r, e) != 0)
        return -1;
    r->plan = replace_plan(r->items, r->n_items, &options, e);
    return r->plan == NULL ? -1 : 0;
}

static int plan_output(struct rebase *r, struct error *e)
{
    if (mkdir(r->o->output, 0777) != 0 && errno != EEXIST)
        return err_sys(e, "--output=%s", r->o->output);
    r->outputs = mem_array(r->k.n, sizeof *r->outputs, "the overlays", e);
    r->sizes = mem_array(r->k.n, sizeof *r->sizes, "the overlays", e);
    if (r->outputs == NULL || r->sizes == NULL)
        return -1;
    return rebase_output_names(&r->k, r->o->output, r->outputs, e);
}

/* ---- output ---- */

static void json_images(const struct rebase *r, struct json *j)
{
    const struct kinship *k = &r->k;

    json_array(j, "images");
    for (size_t i = 0; i < k->n; i++) {
        const struct plan_step *s = &k->plan.steps[i];

        json_object(j, NULL);
        json_string(j, "path", k->images[i].path);
        json_string(j, "backing", s->backing < k->n ? k->images[s->backing].path : NULL);
        json_bool(j, "rebased", s->action == PLAN_REBASE && !left_out(r, i));
        json_bool(j, "in_use", k->images[i].in_use);
        json_string(j, "left_alone", why_left_alone(r, i));
        json_u64(j, "overlay_bytes", s->overlay_bytes);
        json_u64(j, "saves_bytes", s->saves_bytes);
        if (r->outputs != NULL && r->outputs[i] != NULL) {
            json_string(j, "overlay", r->outputs[i]);
            if (r->sizes[i] != 0)
                json_u64(j, "written_bytes", r->sizes[i]);
        }
        json_object_end(j);
    }
    json_array_end(j);
}

static void print_json(const struct rebase *r, struct buf *out)
{
    const struct replace_step *steps = NULL;
    struct json j;
    size_t n = 0;

    json_init(&j, out);
    json_object(&j, NULL);
    json_bool(&j, "dry_run", !r->done);
    json_images(r, &j);
    json_u64(&j, "saves_bytes", r->k.plan.saves_bytes);
    if (r->plan != NULL)
        steps = replace_steps(r->plan, &n);
    rebase_json_steps(&j, steps, n);
    rebase_guests_json(&j, &r->definitions);
    session_json(r->session, &j);
    json_object_end(&j);
    buf_put_u8(out, '\n');
}

static void print_outputs(const struct rebase *r, struct buf *out)
{
    char size[TEXT_SIZE_MAX];

    for (size_t i = 0; i < r->k.n; i++) {
        AUTO_FREE char *image = shown(r->k.images[i].path);
        AUTO_FREE char *to = r->outputs[i] == NULL ? NULL : shown(r->outputs[i]);
        AUTO_FREE char *backing =
            to == NULL ? NULL : shown(rebase_output_backing(&r->k, r->outputs, i));

        if (to == NULL)
            continue;
        buf_printf(
            out, "%s\n  -> %s  (%s%s) on %s\n", image, to,
            text_size(size, r->sizes[i] != 0 ? r->sizes[i] : r->k.plan.steps[i].overlay_bytes),
            r->sizes[i] != 0 ? ", verified" : ", not written", backing);
    }
}

/* What the plan would have taken, but for what stands here. */
static void print_left_alone(const struct rebase *r, struct buf *out)
{
    bool first = true;

    for (size_t i = 0; i < r->k.n; i++) {
        const char *why = why_left_alone(r, i);
        AUTO_FREE
        char *name = why == NULL ? NULL : shown(r->k.images[i].path);

        if (why == NULL)
            continue;
        if (first)
            buf_printf(out, "Left alone:\n");
        buf_printf(out, "  %s: %s\n", name, why);
        first = false;
    }
}

static size_t count_rebased(const struct rebase *r, uint64_t *saves)
{
    size_t rebased = 0;

    *saves = 0;
    for (size_t i = 0; i < r->k.n; i++) {
        if (r->k.plan.steps[i].action == PLAN_REBASE && !left_out(r, i)) {
            *saves += r->k.plan.steps[i].saves_bytes;
            rebased++;
        }
    }
    return rebased;
}

static int print_replacement(const struct rebase *r, struct buf *out, struct error *e)
{
    char bytes[TEXT_SIZE_MAX];
    size_t n;
    const struct replace_step *steps = replace_steps(r->plan, &n);

    if (n == 0) {
        buf_printf(out, "Nothing to do: no image would get smaller as an overlay of another.\n");
        print_left_alone(r, out);
        return 0;
    }
    if (rebase_text_steps(out, r->done ? "Done" : "Would do (dry run)", steps, n, r->items, r->done,
                          e) != 0)
        return -1;
    print_left_alone(r, out);
    if (!r->done) {
        buf_printf(out, "Needs %s meanwhile.\n", text_size(bytes, replace_bytes(r->plan)));
    }
    return 0;
}

static int print_text(const struct rebase *r, struct buf *out, struct error *e)
{
    char size[TEXT_SIZE_MAX];
    uint64_t saves;
    size_t n = 0, rebased = count_rebased(r, &saves);

    if (r->plan != NULL)
        (void)replace_steps(r->plan, &n);
    if (r->outputs != NULL)
        print_outputs(r, out);
    else if (print_replacement(r, out, e) != 0)
        return -1;
    if (r->outputs == NULL && n == 0)
        return 0;
    buf_printf(out, "%zu of %zu images as overlays: saves %s%s\n", rebased, r->k.n,
               text_size(size, saves),
               r->outputs != NULL ? " once the originals are gone"
               : r->done          ? " after 'stemma rebase --commit'"
                                  : "");
    if (!r->done && r->outputs == NULL)
        buf_printf(
            out, "'--output=DIR' writes the overlays elsewhere, '--replace' puts them in place.\n");
    rebase_guests_text(out, &r->definitions);
    return 0;
}

/* ---- the ways to run ---- */

static int finish(struct rebase *r)
{
    struct buf out = {};
    struct error e;

    if (r->o->common.json) {
        print_json(r, &out);
    } else if (print_text(r, &out, &e) != 0) {
        buf_release(&out);
        return session_fail(r->session, "", &e);
    }
    return print_document(&out, session_status(r->session, 0));
}

/* Only images that nobody writes to are touched; the others can be. */
static void tell_in_use(const struct rebase *r)
{
    for (size_t i = 0; i < r->k.n; i++) {
        const char *path = r->k.images[i].path;
        struct error e;

        if (r->k.plan.steps[i].action != PLAN_REBASE || !left_out(r, i) ||
            user_says_in_use(r->session, path))
            continue;
        err_set(&e, ERR_IN_USE,
                "in use, so it stays as it is; shut its guest down and run this again (--in-use "
                "says that it is meant to stay)");
        session_tell(r->session, path, &e);
    }
}

static int carry_out(struct rebase *r, struct error *e)
{
    struct rebase_worker context = {r->session, r->items};
    struct replace_worker worker = {.write = rebase_worker_write,
                                    .verify = rebase_worker_verify,
                                    .used_by = rebase_worker_used_by,
                                    .arg = &context};

    if (replace_run(r->plan, &worker, &r->session->cancel, e) != 0)
        return -1;
    r->done = true;
    return 0;
}

/* An image that has more names than ours (replace.h) would live on under them, unchanged. */
static bool has_other_names(const char *path)
{
    static const char *const ours[] = {REPLACE_BASE, REPLACE_OLD};
    AUTO_FREE
    char *real = realpath(path, NULL);
    struct error ignored;
    struct stat st, other;
    nlink_t names = 1;

    if (real == NULL || stat(real, &st) != 0 || !S_ISREG(st.st_mode) || st.st_nlink == 1)
        return false;
    for (size_t i = 0; i < 2; i++) {
        AUTO_FREE
        char *name = mem_printf(&ignored, "%s%s", real, ours[i]);

        names += name != NULL && lstat(name, &other) == 0 && other.st_dev == st.st_dev &&
                 other.st_ino == st.st_ino;
    }
    return st.st_nlink > names;
}

/* What no replacement can touch is no part of the plan, so that the others can be. */
static int leave_linked_alone(struct session *s, struct error *e)
{
    for (size_t i = 0; i < s->sources.n; i++) {
        struct source *source = &s->sources.items[i];

        if (source->path == NULL || source->fixed != NULL || !has_other_names(source->path))
            continue;
        source->fixed = mem_string("has other hard links, which would keep the old image", e);
        if (source->fixed == NULL)
            return -1;
    }
    return 0;
}

static int rebase(struct rebase *r)
{
    struct session *s = r->session;
    struct job job = {
        .linkage = LINKAGE_SINGLE, .threshold = 0.9, .all = r->o->all, .images_only = true};
    struct error e;

    if (r->o->output == NULL && leave_linked_alone(s, &e) != 0)
        return session_fail(s, "", &e);
    if (mark_in_use(s, &r->o->in_use, &e) != 0 || kin_find(s, &job, &r->k, &e) != 0)
        return session_fail(s, "", &e);
    if (r->o->output != NULL) {
        if (plan_output(r, &e) != 0 || rebase_output_write(s, &r->k, r->outputs, r->sizes, &e) != 0)
            return session_fail(s, "", &e);
        r->done = true;
        return finish(r);
    }
    if (plan_replacement(r, &e) != 0 || rebase_guests_find(s, r->plan, &r->definitions, &e) != 0)
        return session_fail(s, "", &e);
    rebase_guests_warn(s, &r->definitions, r->plan, r->items);
    if (r->o->replace) {
        tell_in_use(r);
        if (carry_out(r, &e) != 0)
            return session_fail(s, "", &e);
    }
    return finish(r);
}

/* --undo and --commit go by names; commit only where the overlay opens with all it stands on. */
static int undo_or_commit(struct rebase *r)
{
    struct session *s = r->session;
    struct replace_options options = {.force = r->o->force, .problems = s->sources.problems};
    struct error e;
    AUTO_FREE const char **paths = mem_array(s->sources.n, sizeof *paths, "images", &e);
    AUTO_FREE struct inspected *images = mem_array(s->sources.n, sizeof *images, "images", &e);
    size_t n = 0;

    if (paths == NULL || images == NULL)
        return session_fail(s, "", &e);
    if (r->o->commit && rebase_inspect(s, s->sources.items, s->sources.n, images, &e) != 0)
        return session_fail(s, "", &e);
    for (size_t i = 0; i < s->sources.n; i++) {
        if (s->sources.items[i].path != NULL && (r->o->undo || images[i].known) &&
            !has_end(s->sources.items[i].path, REPLACE_BASE))
            paths[n++] = s->sources.items[i].path;
    }
    r->plan = r->o->undo ? replace_plan_undo(paths, n, &options, &e)
                         : replace_plan_commit(paths, n, &options, &e);
    if (r->plan == NULL || carry_out(r, &e) != 0)
        return session_fail(s, "", &e);
    return 0;
}

static int finish_undo_or_commit(struct rebase *r)
{
    struct buf out = {};
    struct json j;
    struct error e;
    size_t n;
    const struct replace_step *steps = replace_steps(r->plan, &n);

    if (r->o->common.json) {
        json_init(&j, &out);
        json_object(&j, NULL);
        rebase_json_steps(&j, steps, n);
        session_json(r->session, &j);
        json_object_end(&j);
        buf_put_u8(&out, '\n');
    } else if (n == 0) {
        buf_printf(&out, "Nothing to do: no image here was replaced.\n");
    } else if (rebase_text_steps(&out,
                                 r->o->undo ? "Undone" : "The originals that were kept are gone",
                                 steps, n, NULL, true, &e) != 0) {
        buf_release(&out);
        return session_fail(r->session, "", &e);
    }
    return print_document(&out, session_status(r->session, 0));
}

static int check_options(const struct rebase_options *o, struct error *e)
{
    if ((o->output != NULL) + o->replace + o->undo + o->commit > 1)
        return err_set(e, ERR_USAGE, "--output, --replace, --undo and --commit exclude each other");
    if (o->force && !o->undo)
        return err_set(e, ERR_USAGE, "--force goes with --undo");
    return 0;
}

static int run(void *options, const struct strings *arguments)
{
    const struct rebase_options *o = options;
    struct session s;
    struct rebase r = {.session = &s, .o = o};
    struct error e;
    int status = session_open(&s, &o->common, arguments);

    if (status == 0 && check_options(o, &e) != 0) {
        status = session_fail(&s, "", &e);
    } else if (status == 0 && s.sources.n == 0 && !s.failed) {
        err_set(&e, ERR_USAGE, "there is no image");
        status = session_fail(&s, "", &e);
    } else if (status == 0 && (o->undo || o->commit)) {
        status = undo_or_commit(&r);
        if (status == 0)
            status = finish_undo_or_commit(&r);
    } else if (status == 0) {
        status = rebase(&r);
    }
    rebase_release(&r);
    session_close(&s);
    return status;
}

const struct command command_rebase = {
    .name = "rebase",
    .arguments = "IMAGE|DIR...",
    .summary = "make images overlays of each other, as the plan of `tree` says",
    .about =
        "Carries out the plan that `stemma tree --plan` shows: images become qcow2 overlays that "
        "hold "
        "only what they do not share with the image they stand on. Without --output or --replace "
        "nothing is written: it tells what would be done.\n\n"
        "Every overlay is compared with its original, byte by byte and through its whole chain, "
        "before "
        "it counts. --replace then puts it under the original's name; an image that others stand "
        "on is "
        "frozen, read-only, as NAME.stemma-base, with a fresh overlay under its name, because "
        "writing "
        "to it would break the others. The originals are kept as NAME.stemma-old: --undo puts them "
        "back, --commit removes them. Interrupted at any moment, no original is lost, and the same "
        "command goes on from there. Images in use or with internal snapshots are left alone.",
    .options = rows,
    .common = true,
    .options_size = sizeof(struct rebase_options),
    .min_arguments = 0,
    .max_arguments = SIZE_MAX,
    .run = run,
};
