/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What must hold of any guest that a parser returned. */
#ifndef STEMMA_FUZZ_GUESTS_H
#define STEMMA_FUZZ_GUESTS_H

#include "base/auto.h"
#include "base/record.h"
#include "disk/guest_config.h"

#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t length);

static inline void require(bool holds)
{
    if (!holds)
        __builtin_trap();
}

static inline void check_guest(const struct guest *g)
{
    require(g->name[0] != 0 && strlen(g->name) <= GUEST_STRING_MAX);
    require(g->n_disks <= GUEST_DISKS_MAX);
    for (size_t i = 0; i < g->n_disks; i++) {
        const struct guest_disk *d = &g->disks[i];
        size_t n = 0;

        require(strlen(d->target) <= GUEST_STRING_MAX && strlen(d->source) <= GUEST_STRING_MAX);
        require(d->format == NULL || strlen(d->format) <= GUEST_STRING_MAX);
        while (d->backing != NULL && d->backing[n] != NULL)
            require(strlen(d->backing[n++]) <= GUEST_STRING_MAX);
        require(n <= GUEST_BACKING_MAX && (d->backing == NULL) == (n == 0));
    }
}

/* They reach the front as they are. */
static inline void check_guests(const struct guest_list *l)
{
    for (size_t i = 0; i < l->n; i++) {
        AUTO_BUF b = {}, again = {};
        struct guest g = {};
        struct error e;
        struct cursor c;

        check_guest(&l->guests[i]);
        for (size_t k = 0; k < l->guests[i].n_disks; k++)
            require(l->guests[i].disks[k].target[0] != 0);
        require(guest_encode(&b, &l->guests[i]) == 0 && b.length <= GUEST_ENCODED_MAX);
        c = cursor_of(b.bytes, b.length);
        require(guest_decode(&c, &g, &e) == 0 && cursor_left(&c) == 0);
        require(guest_encode(&again, &g) == 0 && again.length == b.length &&
                memcmp(again.bytes, b.bytes, b.length) == 0);
        guest_release(&g);
    }
}

#endif
