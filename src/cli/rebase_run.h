/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What `stemma rebase` has the worker do: write overlays, verify them, look at images. */
#ifndef STEMMA_CLI_REBASE_RUN_H
#define STEMMA_CLI_REBASE_RUN_H

#include "cli/common.h"
#include "cluster/replace.h"

/* What an image is. */
struct inspected {
    bool known; /* false: it could not be opened (told) */
    char format[16];
    uint64_t size;
    uint32_t snapshots;
    bool in_use, has_backing;
    struct file_identity backing;
    char backing_format[16];
};

/* Each of the session's sources [0, n) of `sources`. out[n] is the caller's. */
[[nodiscard]] int rebase_inspect(struct session *s, const struct source *sources, size_t n,
                                 struct inspected *out, struct error *e);

/* Writes an overlay with the content of `child` that stands on `backing` to fd (an empty file).
 * `empty`: a fresh layer on `child` itself (then `backing` is not looked at). */
[[nodiscard]] int rebase_write(struct session *s, const char *child, const char *child_format,
                               const char *backing, const char *backing_format,
                               const char *backing_name, bool empty, int fd, struct error *e);

/* Every byte of `overlay`, through its whole chain, against `original`. */
[[nodiscard]] int rebase_verify(struct session *s, const char *original,
                                const char *original_format, const char *overlay, struct error *e);

/* The functions of struct replace_worker; arg: */
struct rebase_worker {
    struct session *session;
    const struct replace_item *items; /* NULL for undo and commit */
};
int rebase_worker_write(void *arg, const struct replace_step *s, int fd, struct error *e);
int rebase_worker_verify(void *arg, const struct replace_step *s, struct error *e);
int rebase_worker_used_by(void *arg, const char *base, const char *except, char **user,
                          struct error *e);

#endif
