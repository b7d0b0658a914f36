/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "cluster/linkage.h"

#include "base/auto.h"
#include "base/ckd.h"
#include "base/mem.h"

#include <string.h>

/* Sorts by height and keeps the order of equal ones (a merge sort without recursion). */
static int sort_merges(struct linkage_merge *merges, size_t n, struct error *e)
{
    AUTO_FREE struct linkage_merge *other = mem_array(n, sizeof *other, "tree", e);

    if (other == NULL)
        return -1;
    for (size_t width = 1; width < n; width *= 2) {
        for (size_t at = 0; at < n; at += 2 * width) {
            size_t middle = (size_t)min_u64(at + width, n),
                   end = (size_t)min_u64(at + 2 * width, n);
            size_t i = at, j = middle;

            for (size_t k = at; k < end; k++) {
                bool left = j == end || (i < middle && merges[i].height <= merges[j].height);

                other[k] = left ? merges[i++] : merges[j++];
            }
        }
        memcpy(merges, other, n * sizeof *merges);
    }
    return 0;
}

/* The distance of two leaves, strangers beyond all kin. */
static uint64_t distance(const struct dendrogram_input *in, size_t i, size_t j)
{
    uint64_t d = in->different(in->arg, i, j);

    if (in->kin <= 0 || share_of(in->shared(in->arg, i, j), d) >= in->kin)
        return d;
    return min_u64(d, LINKAGE_STRANGERS - 2) + LINKAGE_STRANGERS;
}

static int merges_single(const struct dendrogram_input *in, struct linkage_merge *out,
                         struct error *e)
{
    size_t n = in->n, left = n - 1;
    AUTO_FREE struct linkage_merge *nearest = mem_array(n, sizeof *nearest, "tree", e);
    uint32_t current = 0;

    if (nearest == NULL)
        return -1;
    for (uint32_t i = 0; i < left; i++)
        nearest[i] = (struct linkage_merge){UINT64_MAX, i + 1, 0};
    while (left > 0) {
        size_t best = 0;

        for (size_t k = 0; k < left; k++) {
            uint64_t d = distance(in, current, nearest[k].a);

            if (d < nearest[k].height) {
                nearest[k].height = d;
                nearest[k].b = current;
            }
            if (nearest[k].height < nearest[best].height)
                best = k;
        }
        out[n - 1 - left] = nearest[best];
        current = nearest[best].a;
        nearest[best] = nearest[--left];
    }
    return sort_merges(out, n - 1, e);
}

/* Clusters while the chain runs. A cluster is named by one of its leaves; distance[] is a triangle:
 * of clusters i > j at i (i - 1) / 2 + j the largest distance or the sum of all distances, the
 * latter >> shift. */
struct chain {
    enum linkage linkage;
    size_t n;
    uint64_t *distance;
    uint32_t *size; /* leaves; 0: joined into another */
    uint32_t *stack;
    size_t depth;
    unsigned shift;
};

static uint64_t *distance_of(const struct chain *c, size_t i, size_t j)
{
    return i > j ? c->distance + i * (i - 1) / 2 + j : c->distance + j * (j - 1) / 2 + i;
}

/* Sums of at most n^2 / 4 distances must fit in 64 bits. Zero bits that all distances end in cost
 * nothing to drop; only distances beyond that (2^39 bytes between each two of 10,000 disks) are
 * rounded. */
static void chain_scale(struct chain *c)
{
    size_t n = c->n * (c->n - 1) / 2;
    uint64_t all = 0, limit = UINT64_MAX / max_u64(1, (uint64_t)c->n * c->n / 4 + 1);
    unsigned zeros;

    for (size_t k = 0; k < n; k++)
        all |= c->distance[k];
    zeros = all == 0 ? 0 : (unsigned)__builtin_ctzll(all);
    for (c->shift = 0; all >> c->shift > limit / 2; c->shift++)
        ;
    if (c->shift < zeros && c->shift > 0)
        c->shift = zeros;
    for (size_t k = 0; k < n; k++)
        c->distance[k] >>= c->shift;
}

/* Is cluster x nearer to a common one than cluster y? With sums, d / size: the common cluster's own
 * size is the same on both sides. Exact, so that equal means are equal. */
static bool nearer(const struct chain *c, uint64_t dx, uint32_t x, uint64_t dy, uint32_t y)
{
    if (c->linkage == LINKAGE_COMPLETE)
        return dx < dy;
    return (unsigned __int128)dx * c->size[y] < (unsigned __int128)dy * c->size[x];
}

/* The cluster nearest to `from`: of equally near ones `preferred`, then the smallest. */
static uint32_t chain_nearest(const struct chain *c, uint32_t from, uint32_t preferred)
{
    uint32_t best = preferred;
    uint64_t least = preferred == UINT32_MAX ? 0 : *distance_of(c, from, preferred);

    for (uint32_t j = 0; j < c->n; j++) {
        uint64_t d;

        if (c->size[j] == 0 || j == from)
            continue;
        d = *distance_of(c, from, j);
        if (best == UINT32_MAX || nearer(c, d, j, least, best)) {
            best = j;
            least = d;
        }
    }
    return best;
}

/* Cluster b becomes part of cluster a. */
static struct linkage_merge chain_join(struct chain *c, uint32_t a, uint32_t b)
{
    uint64_t d = *distance_of(c, a, b);
    struct linkage_merge m = {.height = d, .a = a, .b = b};

    if (c->linkage == LINKAGE_AVERAGE)
        m.height =
            (uint64_t)(((unsigned __int128)d << c->shift) / ((uint64_t)c->size[a] * c->size[b]));
    for (uint32_t j = 0; j < c->n; j++) {
        uint64_t *mine, other;

        if (c->size[j] == 0 || j == a || j == b)
            continue;
        mine = distance_of(c, a, j);
        other = *distance_of(c, b, j);
        *mine = c->linkage == LINKAGE_COMPLETE ? max_u64(*mine, other) : *mine + other;
    }
    c->size[a] += c->size[b];
    c->size[b] = 0;
    return m;
}

static void chain_run(struct chain *c, struct linkage_merge *out)
{
    uint32_t first = 0; /* no smaller cluster is left */

    for (size_t k = 0; k + 1 < c->n;) {
        uint32_t top, previous = UINT32_MAX, near;

        while (c->depth == 0 && c->size[first] == 0)
            first++;
        if (c->depth == 0)
            c->stack[c->depth++] = first;
        top = c->stack[c->depth - 1];
        if (c->depth > 1)
            previous = c->stack[c->depth - 2];
        near = chain_nearest(c, top, previous);
        if (near != previous) {
            c->stack[c->depth++] = near;
            continue;
        }
        c->depth -= 2;
        out[k++] = chain_join(c, (uint32_t)min_u64(top, near), (uint32_t)max_u64(top, near));
    }
}

static uint32_t set_root(uint32_t *set, uint32_t i)
{
    while (set[i] != i)
        i = set[i] = set[set[i]];
    return i;
}

/* For means: leaves that no chain of kin leads to each other lie farther apart than any others, all
 * by the same power of two, so that their means are still exact: *apart, or 0. */
static int push_apart(const struct dendrogram_input *in, struct chain *c, uint64_t *apart,
                      struct error *e)
{
    AUTO_FREE uint32_t *set = mem_array(c->n, sizeof *set, "tree", e);
    uint64_t all = 0;

    if (set == NULL)
        return -1;
    for (uint32_t i = 0; i < c->n; i++)
        set[i] = i;
    for (uint32_t i = 0; i < c->n; i++) {
        for (uint32_t j = 0; j < i; j++) {
            uint32_t a = set_root(set, i), b = set_root(set, j);
            uint64_t d = *distance_of(c, i, j);

            all |= d;
            if (a != b && share_of(in->shared(in->arg, i, j), d) >= in->kin)
                set[max_u64(a, b)] = (uint32_t)min_u64(a, b);
        }
    }
    if (all >> 62 != 0)
        return 0; /* no room: no disks are so large */
    for (*apart = 1; *apart <= all;)
        *apart *= 2;
    for (uint32_t i = 0; i < c->n; i++) {
        for (uint32_t j = 0; j < i; j++) {
            if (set_root(set, i) != set_root(set, j))
                *distance_of(c, i, j) += *apart;
        }
    }
    return 0;
}

static int merges_chain(const struct dendrogram_input *in, enum linkage linkage,
                        struct linkage_merge *out, struct error *e)
{
    size_t n = in->n;
    AUTO_FREE uint64_t *distances = mem_array(n * (n - 1) / 2, sizeof *distances, "distances", e);
    AUTO_FREE uint32_t *size = mem_array(n, sizeof *size, "tree", e);
    AUTO_FREE uint32_t *stack = mem_array(n, sizeof *stack, "tree", e);
    struct chain c = {.linkage = linkage, .n = n, .distance = distances, .size = size};
    uint64_t apart = 0;

    c.stack = stack;
    if (distances == NULL || size == NULL || stack == NULL)
        return -1;
    for (size_t i = 0, k = 0; i < n; i++) {
        size[i] = 1;
        for (size_t j = 0; j < i; j++)
            distances[k++] =
                linkage == LINKAGE_COMPLETE ? distance(in, i, j) : in->different(in->arg, i, j);
    }
    if (linkage == LINKAGE_AVERAGE && in->kin > 0 && push_apart(in, &c, &apart, e) != 0)
        return -1;
    if (linkage == LINKAGE_AVERAGE)
        chain_scale(&c);
    chain_run(&c, out);
    for (size_t k = 0; apart != 0 && k < n - 1; k++) {
        if (out[k].height >= apart)
            out[k].height += LINKAGE_STRANGERS - apart;
    }
    return sort_merges(out, n - 1, e);
}

int linkage_merges(const struct dendrogram_input *input, enum linkage linkage,
                   struct linkage_merge *out, struct error *e)
{
    if (input->n < 2)
        return 0;
    if (linkage == LINKAGE_SINGLE)
        return merges_single(input, out, e);
    return merges_chain(input, linkage, out, e);
}
