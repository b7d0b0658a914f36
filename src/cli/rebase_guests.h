/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Which definitions of guests have to say something else once images were replaced: a guest that
 * is started on an overlay as if it were raw sees, and destroys, the overlay's header. */
#ifndef STEMMA_CLI_REBASE_GUESTS_H
#define STEMMA_CLI_REBASE_GUESTS_H

#include "cli/common.h"
#include "cluster/replace.h"

struct definition {
    char *guest, *file, *target, *path;
    char *format;       /* as it is defined now, or NULL */
    bool proxmox;       /* else libvirt */
    bool backing_store; /* it has a <backingStore>, which libvirt believes */
};

struct definitions_list {
    struct definition *items;
    size_t n, capacity;
};
void definitions_list_release(struct definitions_list *l);

/* The disks of the definitions named on the command line that the plan swaps. */
[[nodiscard]] int rebase_guests_find(struct session *s, const struct replace *plan,
                                     struct definitions_list *out, struct error *e);

/* True when the definition would be wrong afterwards. */
bool definition_needs_change(const struct definition *d);

/* Warnings that must be seen before anything is replaced: raw images that become qcow2. */
void rebase_guests_warn(struct session *s, const struct definitions_list *l,
                        const struct replace *plan, const struct replace_item *items);

void rebase_guests_text(struct buf *out, const struct definitions_list *l);
void rebase_guests_json(struct json *j, const struct definitions_list *l);

#endif
