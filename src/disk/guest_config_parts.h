/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What the parsers of guest definitions share. */
#ifndef STEMMA_DISK_GUEST_CONFIG_PARTS_H
#define STEMMA_DISK_GUEST_CONFIG_PARTS_H

#include "disk/guest_config.h"

#include <string.h>

/* Bytes of one definition or of storage.cfg. */
#define GUEST_INPUT_MAX (1u << 20)

/* A guest with nothing in it, appended to the list; NULL on failure. */
[[nodiscard]] struct guest *guest_list_add(struct guest_list *l, size_t *capacity, struct error *e);

/* A disk with nothing in it, appended to the guest. ERR_LIMIT, ERR_MEMORY: NULL. */
[[nodiscard]] struct guest_disk *guest_add_disk(struct guest *g, size_t *capacity, struct error *e);

void guest_disk_release(struct guest_disk *d);

/* A copy of `length` bytes, which hold no NUL, as a string for free(); `what` says what they are.
 * ERR_LIMIT, ERR_MEMORY: NULL. */
[[nodiscard]] char *guest_string(const char *bytes, size_t length, const char *what,
                                 struct error *e);

/* Appends a copy of the name to the disk's files of the chain. */
[[nodiscard]] int guest_disk_add_backing(struct guest_disk *d, const char *name, struct error *e);

/* ERR_FORMAT for a disk or guest that lacks what each has; ERR_LIMIT for one that does not fit a
 * record. The parsers ask it of each guest, so that encoding cannot fail for its size. */
[[nodiscard]] int guest_check(const struct guest *g, struct error *e);

/* ---- lines of Proxmox VE's files ---- */

/* A run of bytes inside a file, not ended by a NUL. */
struct span {
    const char *at;
    size_t length;
};

static inline struct span span_of(const char *text)
{
    return (struct span){text, strlen(text)};
}

static inline bool span_is(struct span s, const char *text)
{
    return s.length == strlen(text) && memcmp(s.at, text, s.length) == 0;
}

/* What stands before the first `end`, which *rest then begins behind; all of it when there is none.
 */
static inline struct span span_until(struct span *rest, char end)
{
    const char *found = rest->length == 0 ? NULL : memchr(rest->at, end, rest->length);
    size_t n = found == NULL ? rest->length : (size_t)(found - rest->at);
    struct span s = {rest->at, n};
    size_t skipped = found == NULL ? n : n + 1;

    if (skipped > 0)
        *rest = (struct span){rest->at + skipped, rest->length - skipped};
    return s;
}

/* Without the blanks at both ends. */
struct span span_trimmed(struct span s);

/* How many of its first bytes stand in `set`. */
size_t span_spn(struct span s, const char *set);

/* The file as a span. ERR_LIMIT above GUEST_INPUT_MAX, ERR_FORMAT with a NUL in it. */
[[nodiscard]] int span_of_file(const void *bytes, size_t length, struct span *out, struct error *e);

#endif
