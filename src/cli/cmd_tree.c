/* SPDX-License-Identifier: GPL-2.0-or-later */
/* stemma tree IMAGE|DIR|FILE.sig... */
#include "cli/common.h"
#include "cli/in_use.h"
#include "cli/kin.h"

#include <stdio.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <unistd.h>

/* In the order of the words in --format's argument. */
enum tree_format {
    FORMAT_TEXT,
    FORMAT_JSON,
    FORMAT_NEWICK,
    FORMAT_DOT,
    FORMAT_SVG,
    FORMAT_HTML,
};

struct tree_options {
    struct common_options common;
    unsigned format;
    unsigned linkage;
    double threshold;
    bool plan, all, sketch, matrix, ascii;
    unsigned colour;
    uint64_t columns;
    struct strings in_use;
};

#define AT(field) offsetof(struct tree_options, field)

static const struct option_row rows[] = {
    {OPTION_CHOICE, "format", 0, "text|json|newick|dot|svg|html", "what to print", AT(format)},
    {OPTION_CHOICE, "linkage", 0, "single|average|complete",
     "distance of two groups: their nearest members, the mean, or their farthest", AT(linkage)},
    {OPTION_PERCENT, "threshold", 0, "N",
     "images of which more than N per cent differ are unrelated (90)", AT(threshold)},
    {OPTION_FLAG, "plan", 0, NULL,
     "add the plan: which image should be the backing file of which, and what that saves",
     AT(plan)},
    {OPTION_FLAG, "all", 0, NULL, "the plan may also change existing backing files", AT(all)},
    {OPTION_LIST, "in-use", 0, "IMAGE",
     "IMAGE runs: nothing may be made to stand on it (repeatable)", AT(in_use)},
    {OPTION_FLAG, "sketch", 0, NULL,
     "for thousands of images: estimate from 4096 clusters, exact among the nearest", AT(sketch)},
    {OPTION_FLAG, "matrix", 0, NULL,
     "JSON: print both matrices also above 1,000 images and with --sketch", AT(matrix)},
    {OPTION_FLAG, "ascii", 0, NULL, "text: no box drawing characters", AT(ascii)},
    {OPTION_CHOICE, "color", 0, "auto|always|never", "text: colours on a terminal", AT(colour)},
    {OPTION_NUMBER, "columns", 0, "N", "text: width of a line (the terminal's)", AT(columns)},
    {},
};

static void defaults(void *options)
{
    struct tree_options *o = options;

    o->threshold = 90;
}

static size_t terminal_columns(const struct tree_options *o)
{
    const char *columns = getenv("COLUMNS");
    struct winsize size;

    if (o->columns != 0)
        return (size_t)o->columns;
    if (ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_col > 0)
        return size.ws_col;
    if (columns != NULL && atoi(columns) > 0)
        return (size_t)atoi(columns);
    return 80;
}

static int draw(struct buf *out, const struct kinship *k, const struct tree_options *o,
                const struct session *s, struct error *e)
{
    AUTO_FREE struct draw_problem *problems = session_problems(s);
    struct draw_options options = {
        .columns = terminal_columns(o),
        .ascii = o->ascii,
        .colour = o->colour == 1 ||
                  (o->colour == 0 && isatty(STDOUT_FILENO) && getenv("NO_COLOR") == NULL),
        .plan = o->plan,
        .problems = problems,
        .n_problems = problems == NULL ? 0 : s->n_told,
    };

    switch (o->common.json ? FORMAT_JSON : (enum tree_format)o->format) {
    case FORMAT_TEXT:
        return draw_text(out, k, &options, e);
    case FORMAT_JSON:
        return draw_json(out, k, &options, e);
    case FORMAT_NEWICK:
        return draw_newick(out, k, e);
    case FORMAT_DOT:
        return draw_dot(out, k, e);
    case FORMAT_SVG:
        return draw_svg(out, k, e);
    case FORMAT_HTML:
        return draw_html(out, k, &options, e);
    }
    return err_set(e, ERR_INTERNAL, "no such format");
}

static int tree(struct session *s, const struct tree_options *o)
{
    struct job job = {
        .linkage = (enum linkage)o->linkage,
        .threshold = o->threshold / 100,
        .all = o->all,
        .sketch = o->sketch,
        .matrix = o->matrix,
    };
    struct kinship k = {};
    struct buf out = {};
    struct error e;
    int rc;

    if (mark_in_use(s, &o->in_use, &e) != 0)
        return session_fail(s, "", &e);
    if (s->sources.n == 0 && !s->failed) {
        err_set(&e, ERR_USAGE, "there is no image to look at");
        return session_fail(s, "", &e);
    }
    rc = kin_find(s, &job, &k, &e);
    if (rc == 0)
        rc = draw(&out, &k, o, s, &e);
    kinship_release(&k);
    if (rc != 0) {
        buf_release(&out);
        return session_fail(s, "", &e);
    }
    return print_document(&out, session_status(s, 0));
}

static int run(void *options, const struct strings *arguments)
{
    struct tree_options *o = options;
    struct session s;
    int status;

    if (o->format == FORMAT_JSON)
        o->common.json = true;
    status = session_open(&s, &o->common, arguments);
    if (status == 0)
        status = tree(&s, o);
    session_close(&s);
    return status;
}

const struct command command_tree = {
    .name = "tree",
    .arguments = "IMAGE|DIR|FILE.sig...",
    .summary = "find which disk images are clones of which, and what backing files would save",
    .about =
        "Reads disk images of any format (each part of each file once), compares all of them "
        "cluster by "
        "cluster of 64 KiB at the same position, and draws their family tree: which were cloned "
        "from "
        "which, how much differs, what is shared. Unrelated images stand apart. Folders are walked "
        "for "
        "images; signature files stand for images elsewhere.\n\n"
        "With --plan it also works out the tree of backing files that takes least space; `stemma "
        "rebase` carries it out. Signatures are cached: an unchanged image is not read again.",
    .options = rows,
    .common = true,
    .options_size = sizeof(struct tree_options),
    .defaults = defaults,
    .min_arguments = 0,
    .max_arguments = SIZE_MAX,
    .run = run,
};
