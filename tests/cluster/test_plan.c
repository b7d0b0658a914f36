/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "../test.h"

#include "cluster/plan.h"
#include "cluster/relation.h"
#include "disk/qcow2_write.h"
#include "relatives.h"

#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#define IMAGES 32
#define NEVER UINT64_C(0x3fffffffffffffff)

static struct pool *pool;

static uint64_t own_clusters(const struct family *f, size_t child, size_t parent)
{
    uint64_t n = 0;

    for (uint64_t p = 0; p < f->clusters; p++) {
        uint32_t content = family_at(f, child, p);

        n += content != 0 && (parent == PLAN_NONE || content != family_at(f, parent, p));
    }
    return n;
}

static bool shares(const struct family *f, size_t child, size_t parent)
{
    return own_clusters(f, child, parent) < own_clusters(f, child, PLAN_NONE);
}

/* ---- the smallest arborescence by contracting cycles (Chu-Liu, Edmonds) ---- */

struct graph {
    size_t n;
    uint64_t cost[IMAGES + 1][IMAGES + 1]; /* [from][to] */
};

/* One round: the cheapest way into each node; groups nodes that form a cycle. Returns how many
 * groups, n when there is no cycle. */
static size_t cheapest(const struct graph *g, size_t root, uint64_t *in, size_t *group)
{
    size_t from[IMAGES + 1], seen[IMAGES + 1], n = 0;

    for (size_t v = 0; v < g->n; v++) {
        in[v] = v == root ? 0 : NEVER;
        from[v] = v;
        group[v] = seen[v] = SIZE_MAX;
        for (size_t u = 0; u < g->n && v != root; u++) {
            if (u != v && g->cost[u][v] < in[v]) {
                in[v] = g->cost[u][v];
                from[v] = u;
            }
        }
    }
    for (size_t v = 0; v < g->n; v++) {
        size_t x = v;

        for (; seen[x] != v && group[x] == SIZE_MAX && x != root; x = from[x])
            seen[x] = v;
        if (x != root && group[x] == SIZE_MAX) {
            for (size_t u = from[x]; u != x; u = from[u])
                group[u] = n;
            group[x] = n++;
        }
    }
    if (n == 0)
        return g->n;
    for (size_t v = 0; v < g->n; v++) {
        if (group[v] == SIZE_MAX)
            group[v] = n++;
    }
    return n;
}

static uint64_t edmonds(struct graph g, size_t root)
{
    uint64_t total = 0, in[IMAGES + 1];
    size_t group[IMAGES + 1];

    for (;;) {
        static struct graph next;
        size_t n = cheapest(&g, root, in, group);

        for (size_t v = 0; v < g.n; v++)
            total += in[v];
        if (n == g.n)
            return total;
        next.n = n;
        for (size_t u = 0; u <= IMAGES; u++) {
            for (size_t v = 0; v <= IMAGES; v++)
                next.cost[u][v] = NEVER;
        }
        for (size_t u = 0; u < g.n; u++) {
            for (size_t v = 0; v < g.n; v++) {
                uint64_t *cost = &next.cost[group[u]][group[v]];

                if (group[u] != group[v] && g.cost[u][v] < NEVER && g.cost[u][v] - in[v] < *cost)
                    *cost = g.cost[u][v] - in[v];
            }
        }
        root = group[root];
        g = next;
    }
}

/* ---- instances ---- */

struct instance {
    struct family f;
    struct plan_image images[IMAGES];
    struct relation relation;
};

/* `busy`: of 8 images how many are in use, overlays, or fixed. */
static void instance_make(struct instance *x, size_t n, unsigned busy)
{
    struct error e;

    *x = (struct instance){.f = family_random(n, 60, 1 + n / 8, 3)};
    for (size_t i = 0; i < n; i++) {
        struct plan_image *image = x->images + i;

        image->allocated = (own_clusters(&x->f, i, PLAN_NONE) + 20) * CLUSTER_SIZE;
        image->in_use = random_below(8) < busy;
        if (random_below(16) < busy)
            image->fixed = "block device";
        if (i > 0 && random_below(8) < busy) {
            image->has_backing = true;
            image->backing = random_below(5) == 0 ? PLAN_NONE : (uint32_t)random_below(i);
        }
    }
    assert_ok(relation_compute(x->f.list, n, pool, NULL, NULL, &x->relation, &e), &e);
}

static void instance_release(struct instance *x)
{
    family_release(&x->f);
    relation_release(&x->relation);
}

static bool is_base(const struct instance *x, size_t i)
{
    for (size_t k = 0; k < x->f.n; k++) {
        if (x->images[k].has_backing && x->images[k].backing == i)
            return true;
    }
    return false;
}

/* Node 0 is "on its own", node i + 1 image i. What must stay costs nothing and has one way in. */
static struct graph instance_graph(const struct instance *x)
{
    struct graph g = {.n = x->f.n + 1};

    for (size_t u = 0; u <= IMAGES; u++) {
        for (size_t v = 0; v <= IMAGES; v++)
            g.cost[u][v] = NEVER;
    }
    for (size_t c = 0; c < x->f.n; c++) {
        const struct plan_image *child = x->images + c;

        if (child->has_backing || child->fixed != NULL || is_base(x, c)) {
            bool known = child->has_backing && child->backing < x->f.n;

            g.cost[known ? child->backing + 1 : 0][c + 1] = 0;
            continue;
        }
        g.cost[0][c + 1] = own_clusters(&x->f, c, PLAN_NONE);
        for (size_t p = 0; p < x->f.n; p++) {
            if (p != c && !x->images[p].in_use && x->images[p].fixed == NULL)
                g.cost[p + 1][c + 1] = own_clusters(&x->f, c, p);
        }
    }
    return g;
}

/* The plan's own cost in the graph; checks that it can be carried out. */
static uint64_t plan_cost(const struct instance *x, const struct graph *g, const struct plan *plan)
{
    uint64_t total = 0, saves = 0;

    for (size_t i = 0; i < x->f.n; i++) {
        const struct plan_step *step = plan->steps + i;
        uint32_t up = step->backing;
        size_t depth = 0;

        total += g->cost[up == PLAN_NONE ? 0 : up + 1][i + 1];
        for (; up != PLAN_NONE; up = plan->steps[up].backing)
            assert_true(depth++ < x->f.n);
        assert_int_equal(step->action == PLAN_FIXED, x->images[i].fixed != NULL);
        if (step->action == PLAN_REBASE) {
            assert_int_equal(step->overlay_bytes,
                             plan_overlay_bytes(x->f.list[i], x->f.list[step->backing]));
            assert_true(shares(&x->f, i, step->backing));
        } else {
            assert_int_equal(step->overlay_bytes, x->images[i].allocated);
        }
        assert_int_equal(step->saves_bytes, x->images[i].allocated - step->overlay_bytes);
        saves += step->saves_bytes;
    }
    assert_int_equal(saves, plan->saves_bytes);
    return total;
}

static struct plan instance_plan(const struct instance *x, bool all)
{
    struct plan plan;
    struct error e;

    assert_ok(plan_compute(x->images, x->f.list, x->f.n, &x->relation, NULL, all, &plan, &e), &e);
    return plan;
}

static void plans_are_as_small_as_any_arborescence(void **state)
{
    (void)state;
    for (unsigned round = 0; round < 400; round++) {
        struct instance x;
        struct graph g;
        struct plan plan;

        instance_make(&x, random_below(31), round % 4);
        g = instance_graph(&x);
        plan = instance_plan(&x, false);
        assert_int_equal(plan_cost(&x, &g, &plan), edmonds(g, 0));
        plan_release(&plan);
        instance_release(&x);
    }
}

/* Every way to give each of n images a parent, less those with circles. */
static uint64_t try_all(const struct graph *g)
{
    size_t n = g->n - 1, ways = 1;
    uint64_t best = NEVER;

    for (size_t i = 0; i < n; i++)
        ways *= n + 1;
    for (size_t way = 0; way < ways; way++) {
        size_t up[IMAGES + 1] = {0}, rest = way;
        uint64_t total = 0;
        bool good = true;

        for (size_t i = 1; i <= n; i++, rest /= n + 1) {
            up[i] = rest % (n + 1);
            good = good && g->cost[up[i]][i] < NEVER;
            total += g->cost[up[i]][i];
        }
        for (size_t i = 1; i <= n && good; i++) {
            size_t at = i, depth = 0;

            while (at != 0 && depth++ <= n)
                at = up[at];
            good = at == 0;
        }
        if (good && total < best)
            best = total;
    }
    return best;
}

static void plans_are_as_small_as_the_best_of_all_forests(void **state)
{
    (void)state;
    for (unsigned round = 0; round < 40; round++) {
        struct instance x;
        struct graph g;
        struct plan plan;

        instance_make(&x, 1 + random_below(6), round % 4);
        g = instance_graph(&x);
        plan = instance_plan(&x, false);
        assert_int_equal(plan_cost(&x, &g, &plan), try_all(&g));
        plan_release(&plan);
        instance_release(&x);
    }
}

static void freeing_what_exists_never_costs_more(void **state)
{
    (void)state;
    for (unsigned round = 0; round < 200; round++) {
        struct instance x;
        struct plan kept, freed;
        uint64_t kept_total = 0, freed_total = 0;

        instance_make(&x, 1 + random_below(20), 2);
        for (size_t i = 0; i < x.f.n; i++) {
            const struct plan_image *image = x.images + i;

            if (image->has_backing && image->backing < x.f.n)
                x.images[i].allocated = plan_overlay_bytes(x.f.list[i], x.f.list[image->backing]) +
                                        random_below(3) * CLUSTER_SIZE;
        }
        kept = instance_plan(&x, false);
        freed = instance_plan(&x, true);
        for (size_t i = 0; i < x.f.n; i++) {
            size_t depth = 0;

            kept_total += kept.steps[i].overlay_bytes;
            freed_total += freed.steps[i].overlay_bytes;
            for (uint32_t up = (uint32_t)i; up != PLAN_NONE; up = freed.steps[up].backing)
                assert_true(depth++ <= x.f.n);
            if (x.images[i].has_backing && x.images[i].backing < x.f.n)
                assert_true(freed.steps[i].backing != PLAN_NONE);
        }
        assert_true(freed_total <= kept_total);
        plan_release(&kept);
        plan_release(&freed);
        instance_release(&x);
    }
}

/* ---- by hand ---- */

/* Images of 40 clusters, each a row of numbers: changed[i] clusters differ from image of[i]. */
static void hand_made(struct instance *x, size_t n, const uint32_t *of, const uint64_t *changed)
{
    struct error e;
    uint32_t fresh = 0;

    *x = (struct instance){.f = family_new(n, 40)};
    for (size_t i = 0; i < n; i++) {
        uint32_t *row = x->f.content + i * 40;

        if (of[i] != PLAN_NONE)
            memcpy(row, x->f.content + of[i] * 40, 40 * sizeof *row);
        for (uint64_t p = 0; p < changed[i]; p++)
            row[(i * 5 + p) % 40] = ++fresh;
        family_sign(&x->f, i, 40 * CLUSTER_SIZE);
        x->images[i].allocated = 40 * CLUSTER_SIZE;
    }
    assert_ok(relation_compute(x->f.list, n, pool, NULL, NULL, &x->relation, &e), &e);
}

static void assert_backings(const struct instance *x, bool all, const uint32_t *expected)
{
    struct plan plan = instance_plan(x, all);

    for (size_t i = 0; i < x->f.n; i++) {
        if (plan.steps[i].backing != expected[i])
            fail_msg("image %zu stands on %d, not %d", i, (int)plan.steps[i].backing,
                     (int)expected[i]);
    }
    plan_release(&plan);
}

static void the_middle_of_a_chain_is_its_root(void **state)
{
    const uint32_t of[] = {PLAN_NONE, 0, 1, 2, 3};
    const uint64_t changed[] = {40, 5, 5, 5, 5};
    struct instance x;

    (void)state;
    hand_made(&x, 5, of, changed);
    assert_backings(&x, false, (uint32_t[]){1, 2, PLAN_NONE, 2, 3});
    instance_release(&x);
}

static void identical_images_stand_on_the_first(void **state)
{
    const uint32_t of[] = {PLAN_NONE, 0, 0, 0};
    const uint64_t changed[] = {40, 0, 0, 0};
    struct instance x;

    (void)state;
    hand_made(&x, 4, of, changed);
    assert_backings(&x, false, (uint32_t[]){PLAN_NONE, 0, 0, 0});
    instance_release(&x);
}

static void strangers_stay_alone(void **state)
{
    const uint32_t of[] = {PLAN_NONE, PLAN_NONE, PLAN_NONE};
    const uint64_t changed[] = {40, 40, 40};
    struct instance x;

    (void)state;
    hand_made(&x, 3, of, changed);
    assert_backings(&x, false, (uint32_t[]){PLAN_NONE, PLAN_NONE, PLAN_NONE});
    instance_release(&x);
}

static void nothing_stands_on_an_image_in_use(void **state)
{
    const uint32_t of[] = {PLAN_NONE, 0, 0, 0};
    const uint64_t changed[] = {40, 4, 4, 4};
    struct instance x;

    (void)state;
    hand_made(&x, 4, of, changed);
    x.images[0].in_use = true;
    assert_backings(&x, false, (uint32_t[]){1, PLAN_NONE, 1, 1});
    instance_release(&x);
}

static void an_existing_overlay_keeps_its_base_where_it_is(void **state)
{
    const uint32_t of[] = {PLAN_NONE, 0, 0};
    const uint64_t changed[] = {40, 4, 4};
    struct instance x;

    (void)state;
    hand_made(&x, 3, of, changed);
    x.images[1].has_backing = true;
    x.images[1].backing = 2;
    x.images[1].allocated = plan_overlay_bytes(x.f.list[1], x.f.list[2]);
    assert_backings(&x, false, (uint32_t[]){2, 2, PLAN_NONE});
    assert_backings(&x, true, (uint32_t[]){PLAN_NONE, 0, 0});
    instance_release(&x);
}

static void what_stands_already_saves_nothing_more(void **state)
{
    const uint32_t of[] = {PLAN_NONE, 0, 0};
    const uint64_t changed[] = {40, 4, 4};
    struct instance x;
    struct plan plan;

    (void)state;
    hand_made(&x, 3, of, changed);
    x.images[1].has_backing = true;
    x.images[1].backing = 0;
    x.images[1].allocated = plan_overlay_bytes(x.f.list[1], x.f.list[0]);
    plan = instance_plan(&x, false);
    assert_int_equal(plan.steps[1].action, PLAN_KEEP);
    assert_int_equal(plan.steps[1].saves_bytes, 0);
    assert_int_equal(plan.steps[2].action, PLAN_REBASE);
    assert_int_equal(plan.steps[2].backing, 0);
    /* 40 clusters less an overlay with 4 */
    assert_in_range(plan.steps[2].saves_bytes, 30 * CLUSTER_SIZE, 36 * CLUSTER_SIZE);
    assert_int_equal(plan.saves_bytes, plan.steps[2].saves_bytes);
    plan_release(&plan);
    instance_release(&x);
}

static void a_small_compressed_image_is_the_root(void **state)
{
    const uint32_t of[] = {PLAN_NONE, 0, 0, 0};
    const uint64_t changed[] = {40, 4, 4, 4};
    struct instance x;

    (void)state;
    hand_made(&x, 4, of, changed);
    x.images[3].allocated = 12 * CLUSTER_SIZE;
    assert_backings(&x, false, (uint32_t[]){3, 0, 0, PLAN_NONE});
    instance_release(&x);
}

static void a_circle_of_backing_files_is_an_error(void **state)
{
    const uint32_t of[] = {PLAN_NONE, 0};
    const uint64_t changed[] = {40, 4};
    struct instance x;
    struct plan plan;
    struct error e;

    (void)state;
    hand_made(&x, 2, of, changed);
    x.images[0].has_backing = x.images[1].has_backing = true;
    x.images[0].backing = 1;
    assert_int_equal(plan_compute(x.images, x.f.list, 2, &x.relation, NULL, false, &plan, &e), -1);
    assert_int_equal(e.code, ERR_FORMAT);
    instance_release(&x);
}

/* ---- sizes: the writer is asked to write them ---- */

static uint64_t written_bytes(const struct family *f, size_t child, size_t parent)
{
    static uint8_t bytes[CLUSTER_SIZE];
    struct qcow2_write_options o = {
        .virtual_size = f->sigs[child].size, .backing_name = "base", .backing_format = "raw"};
    char path[] = "/tmp/stemma-test-XXXXXX";
    AUTO_FD int fd = mkstemp(path);
    struct stat st;
    struct error e;
    AUTO(qcow2_writer) *w = qcow2_writer_new(fd, &o, &e);

    unlink(path);
    assert_non_null(w);
    bytes[7] = 1;
    for (uint64_t p = 0; p * CLUSTER_SIZE < f->sigs[child].size; p++) {
        uint32_t mine = family_at(f, child, p), below = family_at(f, parent, p);

        if (mine == below)
            continue;
        if (mine != 0)
            assert_ok(qcow2_write_data(w, p, bytes, &e), &e);
        else
            assert_ok(qcow2_write_zero(w, p, &e), &e);
    }
    assert_ok(qcow2_write_finish(w, &e), &e);
    assert_int_equal(fstat(fd, &st), 0);
    return (uint64_t)st.st_size;
}

static void overlay_sizes_are_what_the_writer_makes(void **state)
{
    (void)state;
    for (unsigned round = 0; round < 40; round++) {
        struct family f = family_random(2, 1 + random_below(40), 1, 3);

        assert_int_equal(plan_overlay_bytes(f.list[0], f.list[1]), written_bytes(&f, 0, 1));
        family_release(&f);
    }
    for (unsigned round = 0; round < 10; round++) {
        struct family f = family_new(2, 40000);

        /* few clusters over many tables; zeros that hide data too */
        for (size_t i = 0; i < 2; i++) {
            for (unsigned k = 0; k < 20; k++) {
                f.content[i * f.clusters + random_below(f.clusters)] = 1 + k;
                f.content[i * f.clusters + random_below(2) * 8192 + k] = k % 3;
            }
            family_sign(&f, i, (30000 + random_below(10000)) * CLUSTER_SIZE + 512);
        }
        assert_int_equal(plan_overlay_bytes(f.list[0], f.list[1]), written_bytes(&f, 0, 1));
        family_release(&f);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(plans_are_as_small_as_any_arborescence),
        cmocka_unit_test(plans_are_as_small_as_the_best_of_all_forests),
        cmocka_unit_test(freeing_what_exists_never_costs_more),
        cmocka_unit_test(the_middle_of_a_chain_is_its_root),
        cmocka_unit_test(identical_images_stand_on_the_first),
        cmocka_unit_test(strangers_stay_alone),
        cmocka_unit_test(nothing_stands_on_an_image_in_use),
        cmocka_unit_test(an_existing_overlay_keeps_its_base_where_it_is),
        cmocka_unit_test(what_stands_already_saves_nothing_more),
        cmocka_unit_test(a_small_compressed_image_is_the_root),
        cmocka_unit_test(a_circle_of_backing_files_is_an_error),
        cmocka_unit_test(overlay_sizes_are_what_the_writer_makes),
    };
    struct error e;
    int failed;

    pool = pool_new(2, &e);
    failed = pool == NULL ? 1 : cmocka_run_group_tests(tests, NULL, NULL);
    pool_free(pool);
    return failed;
}
