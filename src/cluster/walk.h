/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Walks over the runs of one signature or of two at once; shared by the modules of cluster/. */
#ifndef STEMMA_CLUSTER_WALK_H
#define STEMMA_CLUSTER_WALK_H

#include "base/ckd.h"
#include "sig/sig.h"

/* The id of a cluster, NULL for zeros; `run` moves forward only (start it with sig_find). */
static inline const struct id *walk_at(const struct sig *s, size_t *run, uint64_t cluster)
{
    const struct sig_run *r;

    while (*run < s->n_runs && s->runs[*run].first + s->runs[*run].count <= cluster)
        (*run)++;
    r = s->runs + *run;
    if (*run == s->n_runs || r->first > cluster)
        return NULL;
    return s->ids + r->at + (cluster - r->first);
}

/* Two signatures side by side: clusters [first, first + count) have the ids a[0..count) and
 * b[0..count); NULL: zero throughout. */
struct walk_pair {
    const struct sig *left, *right;
    size_t left_run, right_run;
    uint64_t first, count;
    const struct id *a, *b;
};

static inline struct walk_pair walk_pair_of(const struct sig *left, const struct sig *right)
{
    return (struct walk_pair){.left = left, .right = right};
}

/* One side at `at`: its ids there, and in *end where that (data or zeros) ends. */
static inline const struct id *walk_side(const struct sig *s, size_t *run, uint64_t at,
                                         uint64_t *end)
{
    const struct id *ids = walk_at(s, run, at);

    if (*run == s->n_runs)
        *end = UINT64_MAX;
    else if (ids == NULL)
        *end = s->runs[*run].first;
    else
        *end = s->runs[*run].first + s->runs[*run].count;
    return ids;
}

/* The next stretch where at least one has data; false at the end. */
static inline bool walk_pair_next(struct walk_pair *w)
{
    uint64_t at = w->first + w->count;

    for (;;) {
        uint64_t left_end, right_end;

        w->a = walk_side(w->left, &w->left_run, at, &left_end);
        w->b = walk_side(w->right, &w->right_run, at, &right_end);
        if (w->a != NULL || w->b != NULL) {
            w->first = at;
            w->count = min_u64(left_end, right_end) - at;
            return true;
        }
        at = min_u64(left_end, right_end);
        if (at == UINT64_MAX)
            return false;
    }
}

#endif
