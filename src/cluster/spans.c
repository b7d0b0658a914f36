/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "base/ckd.h"
#include "base/mem.h"
#include "cluster/labels.h"

#include <string.h>

void spans_release(struct spans *u)
{
    free(u->spans);
    *u = (struct spans){0};
}

/* Adds [first, first + count) behind the others, joined with the last where they touch. */
static void spans_push(struct spans *u, uint64_t first, uint64_t count)
{
    struct span *last = u->n > 0 ? u->spans + u->n - 1 : NULL;

    if (last != NULL && first <= last->first + last->count) {
        last->count = max_u64(last->count, first + count - last->first);
        return;
    }
    u->spans[u->n++] = (struct span){.first = first, .count = count};
}

static int spans_of(const struct sig *s, struct spans *out, struct error *e)
{
    out->spans = mem_array(s->n_runs, sizeof *out->spans, "positions", e);
    if (out->spans == NULL)
        return -1;
    for (size_t k = 0; k < s->n_runs; k++)
        spans_push(out, s->runs[k].first, s->runs[k].count);
    return 0;
}

/* *a becomes the union of both, *b empty. */
static int spans_merge(struct spans *a, struct spans *b, struct error *e)
{
    struct spans sum = {.spans = mem_array(a->n + b->n, sizeof *sum.spans, "positions", e)};
    struct span *smaller;

    if (sum.spans == NULL)
        return -1;
    for (size_t i = 0, j = 0; i < a->n || j < b->n;) {
        bool left = j == b->n || (i < a->n && a->spans[i].first <= b->spans[j].first);
        const struct span *next = left ? a->spans + i++ : b->spans + j++;

        spans_push(&sum, next->first, next->count);
    }
    spans_release(a);
    spans_release(b);
    /* kin share most of their runs: do not keep room for all of them */
    smaller = realloc(sum.spans, (sum.n + 1) * sizeof *smaller);
    if (smaller != NULL)
        sum.spans = smaller;
    *a = sum;
    return 0;
}

/* One list of 2^k disks for each bit k that is set in the count of disks so far, so that each run
 * is merged log n times. */
#define LISTS 64

static int spans_gather(const struct sig *const *sigs, size_t n, struct spans lists[LISTS],
                        struct error *e)
{
    for (size_t i = 0; i < n; i++) {
        size_t depth = 0;
        struct spans more = {0};

        if (spans_of(sigs[i], &more, e) != 0)
            return -1;
        for (; (i >> depth & 1) != 0; depth++) {
            if (spans_merge(&more, lists + depth, e) != 0) {
                spans_release(&more);
                return -1;
            }
        }
        lists[depth] = more;
    }
    for (size_t depth = 1; depth < LISTS; depth++) {
        if (spans_merge(lists, lists + depth, e) != 0)
            return -1;
    }
    return 0;
}

int spans_union(const struct sig *const *sigs, size_t n, struct spans *out, struct error *e)
{
    struct spans lists[LISTS] = {0};
    int status = spans_gather(sigs, n, lists, e);

    if (status == 0) {
        *out = lists[0];
        lists[0] = (struct spans){0};
        for (size_t k = 0; k < out->n; k++) {
            out->spans[k].before = out->positions;
            out->positions += out->spans[k].count;
        }
    }
    for (size_t depth = 0; depth < LISTS; depth++)
        spans_release(lists + depth);
    return status;
}

/* The span that holds the position of that rank. */
static size_t spans_find(const struct spans *u, uint64_t rank)
{
    size_t low = 0, high = u->n;

    while (high - low > 1) {
        size_t middle = low + (high - low) / 2;

        if (u->spans[middle].before <= rank)
            low = middle;
        else
            high = middle;
    }
    return low;
}

uint64_t spans_position(const struct spans *u, uint64_t rank)
{
    const struct span *s = u->spans + spans_find(u, rank);

    return s->first + (rank - s->before);
}

void spans_positions(const struct spans *u, uint64_t rank, size_t n, uint64_t *out)
{
    if (n == 0)
        return;
    for (const struct span *s = u->spans + spans_find(u, rank); n > 0; s++) {
        uint64_t skip = rank - s->before;
        uint64_t here = min_u64(s->count - skip, n);

        for (uint64_t k = 0; k < here; k++)
            *out++ = s->first + skip + k;
        rank += here;
        n -= (size_t)here;
    }
}
