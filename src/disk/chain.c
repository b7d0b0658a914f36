/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Opens an image and what it stands on: which format, which file, one layer after another. */
#include "base/ckd.h"
#include "base/mem.h"
#include "base/text.h"
#include "disk/layer.h"

#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

/* ---- formats ---- */

/* Names that tools record or users type for a format of ours. */
static const char *canonical_format(const char *format)
{
    static const char *const aliases[][2] = {
        {"vhd", "vpc"},
        {"file", "raw"},
        {"host_device", "raw"},
        {"host_cdrom", "raw"},
    };

    for (size_t i = 0; i < sizeof aliases / sizeof *aliases; i++) {
        if (strcmp(format, aliases[i][0]) == 0)
            return aliases[i][1];
    }
    return format;
}

bool kind_by_name(const struct disk_env *env, const char *format, struct layer_kind *out)
{
    const char *name = canonical_format(format);

    for (size_t i = 0; env->drivers[i] != NULL; i++) {
        const struct disk_driver *driver = env->drivers[i];
        const char *const own[] = {driver->name, NULL};
        const char *const *f = driver->formats != NULL ? driver->formats : own;

        for (; *f != NULL; f++) {
            if (strcmp(*f, name) == 0) {
                *out = (struct layer_kind){driver, *f, false};
                return true;
            }
        }
    }
    return false;
}

void kind_list(const struct disk_env *env, char *out, size_t size)
{
    size_t used = 0;

    out[0] = 0;
    for (size_t i = 0; env->drivers[i] != NULL; i++) {
        const char *const own[] = {env->drivers[i]->name, NULL};
        const char *const *f = env->drivers[i]->formats != NULL ? env->drivers[i]->formats : own;

        for (; *f != NULL && used < size; f++)
            used += (size_t)snprintf(out + used, size - used, "%s%s", used > 0 ? ", " : "", *f);
    }
}

int kind_by_probe(const struct disk_env *env, struct host_file *f, struct layer_kind *out,
                  struct error *e)
{
    uint64_t size = f->identity.size;
    uint8_t head[PROBE_HEAD], tail[PROBE_TAIL];
    struct probe p = {
        .head = head,
        .head_length = (size_t)min_u64(size, sizeof head),
        .tail = tail,
        .tail_length = (size_t)min_u64(size, sizeof tail),
        .file_size = size,
    };

    if (host_file_pread(f, head, p.head_length, 0, e) != 0 ||
        host_file_pread(f, tail, p.tail_length, size - p.tail_length, e) != 0)
        return -1;
    for (size_t i = 0; env->drivers[i] != NULL; i++) {
        const struct disk_driver *driver = env->drivers[i];
        const char *format = driver->name;

        if (driver->probe != NULL && driver->probe(&p, &format)) {
            *out = (struct layer_kind){driver, format, true};
            return 0;
        }
    }
    return err_set(e, ERR_UNSUPPORTED, "not an image of a known format");
}

bool kind_expected_by_name(const char *name)
{
    /* Any part counts, for "vm.qcow2.old" and "vm.qcow2.1". */
    static const char *const parts[] = {
        "qcow2", "qcow", "qc2", "qed", "vmdk", "vhd",     "vhdx",     "avhd",  "avhdx",
        "vpc",   "vdi",  "hds", "hdd", "snap", "overlay", "snapshot", "delta",
    };
    const char *slash = strrchr(name, '/');
    const char *at = strchr(slash != NULL ? slash : name, '.');

    while (at != NULL) {
        size_t length = strcspn(++at, ".");

        for (size_t i = 0; i < sizeof parts / sizeof *parts; i++) {
            if (length == strlen(parts[i]) && strncasecmp(at, parts[i], length) == 0)
                return true;
        }
        at = strchr(at, '.');
    }
    return false;
}

/* ---- one layer ---- */

/* A guest can write the header of an image into its raw disk, and have us read a file of the host
 * as its "backing file". So a probe is not enough for an image that names other files. */
static int check_probed(const struct disk *d, const struct host_file *file,
                        const struct layer_kind *kind, struct error *e)
{
    bool refers = d->backing != NULL || d->backing_name != NULL || d->n_files > 1;

    if (!kind->probed || !refers || kind_expected_by_name(file->name) ||
        strcmp(file->noted_format, d->format) == 0)
        return 0;
    return err_set(e, ERR_DENIED,
                   "its first bytes are those of a %s image that refers to another file, but it is "
                   "not named like one: the guest of a raw image may have written them. "
                   "--image-format=%s reads it as that, --image-format=raw as plain bytes",
                   kind->format, kind->format);
}

static int open_fresh(const struct disk_env *env, struct host_file *file,
                      const struct layer_kind *kind, const char *snapshot, bool lazy,
                      struct disk **out, struct error *e)
{
    struct disk_options options = {.format = kind->format, .snapshot = snapshot, .lazy = lazy};
    AUTO(disk) *d = layer_new(kind->driver, kind->format, file->name, e);

    if (d == NULL || disk_add_file(d, host_file_ref(file), e) != 0 ||
        layer_open(d, env, &options, -1, e) != 0)
        return -1;
    *out = take(d);
    return 0;
}

/* The layer in `file`, without what it stands on unless it was open before. */
static int open_layer(const struct disk_env *env, struct host_file *file,
                      const struct layer_kind *kind, const char *snapshot, bool lazy,
                      struct disk **out, struct error *e)
{
    AUTO(disk) *d = registry_find(env->registry, &file->identity, kind->format, snapshot);

    if (d == NULL && open_fresh(env, file, kind, snapshot, lazy, &d, e) != 0)
        return -1;
    if (check_probed(d, file, kind, e) != 0)
        return -1;
    *out = take(d);
    return 0;
}

/* ---- the chain ---- */

int disk_open_backing(struct disk *d, const struct disk_env *env, const char *name,
                      const char *format, struct error *e)
{
    size_t before;

    (void)env;
    if (strncmp(name, "file:", 5) == 0) {
        name += 5;
    } else {
        before = strcspn(name, ":/");
        if (name[before] == ':') {
            AUTO_FREE char *shown = text_escaped(name);

            return err_set(e, ERR_UNSUPPORTED,
                           "backing file %.200s: only plain file names are followed",
                           shown != NULL ? shown : "");
        }
    }
    if (name[0] == 0)
        return err_set(e, ERR_FORMAT, "the name of the backing file is empty");
    if (strlen(name) >= PATH_MAX)
        return err_set(e, ERR_LIMIT, "the name of the backing file has %zu bytes", strlen(name));
    free(d->backing_name);
    free(d->backing_format);
    d->backing_format = NULL;
    d->backing_name = mem_string(name, e);
    if (d->backing_name == NULL)
        return -1;
    if (format != NULL && format[0] != 0)
        d->backing_format = mem_string(format, e);
    return format != NULL && format[0] != 0 && d->backing_format == NULL ? -1 : 0;
}

/* Chains are long, stacks are not: this is where recursion would be. */
struct chain {
    const struct disk_env *env;
    unsigned limit;
    bool lazy;
    struct disk *top;  /* owned */
    struct disk *last; /* the lowest layer, whose backing file is next */
    unsigned depth;    /* layers below top */
};

static int check_circle(const struct chain *c, const struct host_file *file, struct error *e)
{
    for (const struct disk *d = c->top; d != NULL; d = d->backing) {
        if (d->n_files > 0 && file_identity_same(&d->files[0]->identity, &file->identity)) {
            AUTO_FREE char *again = text_escaped(d->name);
            AUTO_FREE char *from = text_escaped(c->last->name);

            return err_set(e, ERR_FORMAT,
                           "%.180s names it as its backing file, but stands on, or is, a backing "
                           "file of %.180s: the chain comes back to itself",
                           from != NULL ? from : "", again != NULL ? again : "");
        }
    }
    return 0;
}

static int check_depth(const struct chain *c, const struct disk *d, struct error *e)
{
    unsigned depth = c->depth + 1;

    for (; d->backing != NULL && depth <= c->limit; d = d->backing)
        depth++;
    return depth <= c->limit
               ? 0
               : err_set(e, ERR_LIMIT, "more than %u backing files below one image", c->limit);
}

static int backing_kind(const struct chain *c, struct host_file *file, struct layer_kind *out,
                        struct error *e)
{
    const char *format = c->last->backing_format;

    if (format == NULL)
        return kind_by_probe(c->env, file, out, e);
    if (!kind_by_name(c->env, format, out)) {
        AUTO_FREE char *shown = text_escaped(format);

        return err_set(e, ERR_UNSUPPORTED, "its format is recorded as '%.80s', which is not known",
                       shown != NULL ? shown : "");
    }
    return 0;
}

/* Opens the backing file that c->last waits for, and goes down to it. */
static int chain_step(struct chain *c, struct error *e)
{
    AUTO(host_file) *file = NULL;
    struct layer_kind kind;

    if (cancel_requested(c->env->cancel))
        return err_set(e, ERR_CANCELLED, "interrupted");
    if (c->env->open_file(c->env->arg, c->last->files[0], c->last->backing_name, FILE_BACKING,
                          &file, e) != 0 ||
        check_circle(c, file, e) != 0 || backing_kind(c, file, &kind, e) != 0 ||
        open_layer(c->env, file, &kind, NULL, c->lazy, &c->last->backing, e) != 0 ||
        check_depth(c, c->last->backing, e) != 0)
        return -1;
    free(take(c->last->backing_name));
    c->last = c->last->backing;
    c->depth++;
    return 0;
}

static int chain_open(struct chain *c, struct error *e)
{
    while (c->last->backing_name != NULL) {
        if (chain_step(c, e) != 0) {
            AUTO_FREE char *shown = text_escaped(c->last->backing_name);

            return err_wrap(e, "backing file %.200s", shown != NULL ? shown : "");
        }
    }
    /* Only whole chains are found by others. */
    for (struct disk *d = c->top; d != NULL && d->registry == NULL; d = d->backing)
        registry_add(c->env->registry, d);
    return 0;
}

int disk_open(const struct disk_env *env, struct host_file *file,
              const struct disk_options *options, struct disk **out, struct error *e)
{
    const struct disk_limits *limits = env->limits != NULL ? env->limits : &disk_limits_default;
    struct layer_kind kind;
    AUTO(disk) *top = NULL;
    struct chain c;

    if (options->format != NULL && !kind_by_name(env, options->format, &kind)) {
        char known[200];

        kind_list(env, known, sizeof known);
        return err_set(e, ERR_USAGE, "unknown image format '%.80s'; known are %s", options->format,
                       known);
    }
    if (options->format == NULL && kind_by_probe(env, file, &kind, e) != 0)
        return -1;
    if (open_layer(env, file, &kind, options->snapshot, options->lazy, &top, e) != 0)
        return -1;
    c = (struct chain){
        .env = env, .limit = limits->chain_depth, .lazy = options->lazy, .top = top, .last = top};
    if (chain_open(&c, e) != 0)
        return -1;
    if (!options->lazy && disk_wake(top, e) != 0) /* somebody may have opened it lazily before */
        return -1;
    *out = take(top);
    return 0;
}
