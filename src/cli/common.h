/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What every command that reads images shares: source options, the session with its worker,
 * progress, problems, exit status. */
#ifndef STEMMA_CLI_COMMON_H
#define STEMMA_CLI_COMMON_H

#include "app/front.h"
#include "base/json.h"
#include "cli/command.h"
#include "cluster/draw.h"

/* Stands first in the options of every command with `common`. */
struct common_options {
    const char *image_format;
    struct strings allow_backing;
    struct strings domains;
    bool all_domains;
    struct strings domain_xml;
    const char *pve_conf;
    const char *cache;
    const char *progress;
    unsigned sandbox; /* enum sandbox_mode */
    uint64_t threads;
    bool json;
};
extern const struct option_row common_option_rows[];

/* An error or a warning of this run, as JSON documents list them. */
struct told {
    char *path, *text;
    const char *code;
    bool warning;
};

struct session {
    const struct common_options *o;
    struct opener *opener;
    struct source_set sources;
    bool *in_use; /* of each source, as the user said; NULL: none */
    struct cache_folder *cache;
    struct front *front;
    struct cancel cancel;

    struct told *told;
    size_t n_told, told_capacity;
    bool failed;         /* something did: exit 3 */
    bool quiet;          /* sources that fail are not told, but kept in `untold` */
    struct error untold; /* the last of them; ERR_NONE: none */

    struct bar *bar;
};

/* Finds the sources of the arguments, and starts what reading them needs. On error everything that
 * can be said has been said; the status is what to exit with. 0: go on. */
[[nodiscard]] int session_open(struct session *s, const struct common_options *o,
                               const struct strings *arguments);
void session_close(struct session *s);

/* Says `stemma: WHAT: WHY` and remembers it for the document. */
void session_tell(struct session *s, const char *what, const struct error *e);
/* The status for an error that ends the command, told. */
int session_fail(struct session *s, const char *what, const struct error *e);
/* The same when what ends it was told already, and s->failed is set: the document is the first
 * error.
 */
int session_failed(const struct session *s);
/* 3 when something failed, 130 when interrupted, else `status`. */
int session_status(const struct session *s, int status);

/* Runs a job over sources [first, first + n). `again` and `record` as in front_results; failures
 * are told. */
[[nodiscard]] int session_run(struct session *s, struct job *job, const struct source *sources,
                              const bool *in_use, size_t n, const struct front_outputs *outputs,
                              int (*record)(void *arg, uint16_t type, struct cursor payload,
                                            struct error *e),
                              void (*again)(void *arg), void *arg, struct error *e);

/* "errors" and "warnings" of a document. */
void session_json(const struct session *s, struct json *j);
/* The same for the drawings; array for free(). NULL when memory is short. */
struct draw_problem *session_problems(const struct session *s);

/* {"error":{..}} when there is no document. */
void print_json_error(const char *path, const struct error *e);

/* Writes the whole document to standard output and releases it; the status to exit with. */
int print_document(struct buf *document, int status);

/* A name fit for a terminal, for free(). */
char *shown(const char *name);

#endif
