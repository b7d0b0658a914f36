/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "../test.h"

#include "base/ckd.h"
#include "base/mem.h"
#include "base/record.h"
#include "cluster/kinship.h"
#include "cluster/kinship_build.h"
#include "relatives.h"

#include <stdio.h>

static struct pool *pool;

static char *text(const char *format, size_t i)
{
    struct error e;

    return mem_printf(&e, "%s-%zu", format, i);
}

/* Guests of `disks` disks each (the last has what is left; 0: images alone). */
static struct kinship named(const struct family *f, size_t disks)
{
    struct kinship k = {.n = f->n};

    k.images = calloc(f->n + 1, sizeof *k.images);
    for (size_t i = 0; i < f->n; i++) {
        k.images[i] = (struct kinship_image){
            .path = text("/images/disk", i),
            .format = text("raw", 0),
            .guest = i % 3 == 0 ? text("guest", i) : NULL,
            .backing_path = i % 7 == 3 ? text("/base", i) : NULL,
            .fixed = i % 11 == 5 ? text("block device", i) : NULL,
            .read_bytes = i * 1000,
            .allocated_bytes = f->sigs[i].data_bytes + 1000000,
            .backing = i % 7 == 3 && i % 2 == 1 ? (uint32_t)i - 1 : PLAN_NONE,
            .cached = i % 2 == 0,
            .in_use = i % 5 == 1,
        };
    }
    if (disks > 0) {
        k.leaves = calloc(f->n + 1, sizeof *k.leaves);
        for (uint32_t i = 0; i < f->n; i += (uint32_t)disks)
            k.leaves[k.n_leaves++] = (struct kinship_leaf){i, (uint32_t)min_u64(disks, f->n - i)};
    }
    return k;
}

static void build(struct kinship *k, const struct family *f, struct kinship_options o)
{
    struct error e;

    o.pool = pool;
    assert_ok(kinship_build(k, f->list, &o, &e), &e);
}

/* ---- records ---- */

struct record_list {
    struct {
        uint16_t type;
        size_t length;
        uint8_t *bytes;
    } records[4096];
    size_t n;
};

static int keep_record(void *arg, uint16_t type, const void *payload, size_t length,
                       struct error *e)
{
    struct record_list *l = arg;

    (void)e;
    assert_true(length <= RECORD_MAX);
    assert_true(type >= KINSHIP_RECORD_FIRST && type <= KINSHIP_RECORD_LAST);
    assert_true(l->n < sizeof l->records / sizeof *l->records);
    l->records[l->n].type = type;
    l->records[l->n].length = length;
    l->records[l->n].bytes = malloc(length + 1);
    memcpy(l->records[l->n++].bytes, payload, length);
    return 0;
}

static void drop_records(struct record_list *l)
{
    while (l->n > 0)
        free(l->records[--l->n].bytes);
}

static int receive_all(const struct record_list *l, struct kinship *out, struct error *e)
{
    AUTO(kinship_receiver) *r = kinship_receiver_new(e);

    assert_non_null(r);
    for (size_t i = 0; i < l->n; i++) {
        if (kinship_receive(r, l->records[i].type,
                            cursor_of(l->records[i].bytes, l->records[i].length), e) != 0)
            return -1;
    }
    return kinship_receiver_take(r, out, e);
}

static void assert_same_text(const char *a, const char *b)
{
    assert_int_equal(a == NULL, b == NULL);
    if (a != NULL)
        assert_string_equal(a, b);
}

static void assert_same_array(const void *a, const void *b, size_t n, size_t size)
{
    assert_int_equal(a == NULL, b == NULL);
    if (a != NULL)
        assert_int_equal(memcmp(a, b, n * size), 0);
}

static void assert_same(const struct kinship *a, const struct kinship *b)
{
    assert_int_equal(a->n, b->n);
    for (size_t i = 0; i < a->n; i++) {
        const struct kinship_image *x = a->images + i, *y = b->images + i;

        assert_same_text(x->path, y->path);
        assert_same_text(x->guest, y->guest);
        assert_same_text(x->format, y->format);
        assert_same_text(x->backing_path, y->backing_path);
        assert_same_text(x->fixed, y->fixed);
        assert_int_equal(x->virtual_size, y->virtual_size);
        assert_int_equal(x->data_bytes, y->data_bytes);
        assert_int_equal(x->read_bytes, y->read_bytes);
        assert_int_equal(x->allocated_bytes, y->allocated_bytes);
        assert_true(id_equal(&x->disk_id, &y->disk_id));
        assert_true(id_equal(&x->content_id, &y->content_id));
        assert_int_equal(x->backing, y->backing);
        assert_int_equal(x->cached, y->cached);
        assert_int_equal(x->in_use, y->in_use);
    }
    assert_int_equal(a->n_leaves, b->n_leaves);
    assert_same_array(a->leaves, b->leaves, a->n_leaves, sizeof *a->leaves);
    assert_same_array(a->different, b->different, a->n * a->n, 8);
    assert_same_array(a->shared, b->shared, a->n * a->n, 8);
    assert_int_equal(a->n_neighbours, b->n_neighbours);
    for (size_t i = 0; i < a->n * a->n_neighbours; i++) {
        assert_int_equal(a->neighbours[i].image, b->neighbours[i].image);
        assert_int_equal(a->neighbours[i].shared, b->neighbours[i].shared);
        assert_int_equal(a->neighbours[i].different, b->neighbours[i].different);
    }
    assert_int_equal(a->tree.n_nodes, b->tree.n_nodes);
    assert_int_equal(a->tree.root, b->tree.root);
    assert_int_equal(a->tree.n_leaves, b->tree.n_leaves);
    for (size_t i = 0; i < a->tree.n_nodes; i++) {
        assert_int_equal(a->tree.nodes[i].different, b->tree.nodes[i].different);
        assert_int_equal(a->tree.nodes[i].shared, b->tree.nodes[i].shared);
        assert_int_equal(a->tree.nodes[i].first, b->tree.nodes[i].first);
        assert_int_equal(a->tree.nodes[i].count, b->tree.nodes[i].count);
        assert_int_equal(a->tree.nodes[i].leaves, b->tree.nodes[i].leaves);
    }
    assert_int_equal(a->tree.n_children, b->tree.n_children);
    assert_same_array(a->tree.children, b->tree.children, a->tree.n_children, 4);
    assert_int_equal(a->linkage, b->linkage);
    assert_true(a->threshold == b->threshold);
    assert_same_array(a->family, b->family, a->n_leaves, 4);
    assert_int_equal(a->n_families, b->n_families);
    assert_int_equal(a->plan.steps == NULL, b->plan.steps == NULL);
    assert_int_equal(a->plan.saves_bytes, b->plan.saves_bytes);
    for (size_t i = 0; a->plan.steps != NULL && i < a->n; i++) {
        assert_int_equal(a->plan.steps[i].action, b->plan.steps[i].action);
        assert_int_equal(a->plan.steps[i].backing, b->plan.steps[i].backing);
        assert_int_equal(a->plan.steps[i].overlay_bytes, b->plan.steps[i].overlay_bytes);
        assert_int_equal(a->plan.steps[i].saves_bytes, b->plan.steps[i].saves_bytes);
    }
}

static struct kinship random_kinship(struct family *f, unsigned round)
{
    struct kinship k;

    *f = family_random(round % 8 == 0 ? 150 : random_below(20), 1 + random_below(60), 2, 3);
    k = named(f, round % 3);
    build(&k, f,
          (struct kinship_options){
              .linkage = round % 3,
              .threshold = (double)(round % 11) / 10,
              .sketch = round % 2 == 1,
              .matrix = round % 5 == 0,
              .plan = round % 4 != 0,
              .all = round % 7 == 0,
          });
    return k;
}

static void what_is_sent_is_received(void **state)
{
    static struct record_list l;

    (void)state;
    for (unsigned round = 0; round < 60; round++) {
        struct kinship k, found;
        struct family f;
        struct error e;

        k = random_kinship(&f, round);
        assert_ok(kinship_send(&k, keep_record, &l, &e), &e);
        assert_ok(receive_all(&l, &found, &e), &e);
        assert_same(&k, &found);
        kinship_release(&found);
        kinship_release(&k);
        drop_records(&l);
        family_release(&f);
    }
}

static void damaged_records_are_refused_or_harmless(void **state)
{
    static struct record_list l;

    (void)state;
    for (unsigned round = 1; round < 40; round++) {
        struct kinship k, found;
        struct family f;
        struct error e;

        k = random_kinship(&f, round);
        assert_ok(kinship_send(&k, keep_record, &l, &e), &e);
        for (unsigned damage = 0; damage < 40; damage++) {
            size_t i = random_below(l.n);
            uint16_t type = l.records[i].type;
            size_t length = l.records[i].length, at = length > 0 ? random_below(length) : 0;
            uint8_t old = l.records[i].bytes[at];

            if (damage % 4 == 0)
                l.records[i].type = KINSHIP_RECORD_FIRST + (uint16_t)random_below(12);
            else if (damage % 4 == 1)
                l.records[i].length = at;
            else
                l.records[i].bytes[at] ^= (uint8_t)(1 + random_below(255));
            if (receive_all(&l, &found, &e) == 0)
                kinship_release(&found);
            else
                assert_int_equal(e.code, ERR_PEER);
            l.records[i].type = type;
            l.records[i].length = length;
            l.records[i].bytes[at] = old;
        }
        kinship_release(&k);
        drop_records(&l);
        family_release(&f);
    }
}

static void a_stream_without_its_end_gives_nothing(void **state)
{
    static struct record_list l;
    struct family f = family_random(4, 10, 1, 3);
    struct kinship k = named(&f, 0), found;
    struct error e;

    (void)state;
    build(&k, &f, (struct kinship_options){.plan = true});
    assert_ok(kinship_send(&k, keep_record, &l, &e), &e);
    free(l.records[--l.n].bytes);
    assert_int_equal(receive_all(&l, &found, &e), -1);
    assert_int_equal(e.code, ERR_PEER);
    drop_records(&l);
    kinship_release(&k);
    family_release(&f);
}

/* ---- building ---- */

static void guests_add_up_their_disks(void **state)
{
    /* guests 0: disks 0, 1; 1: disks 2, 3; 2: disk 4 */
    const uint32_t content[] = {
        1, 2, 3, 4, //
        5, 6, 7, 0, //
        1, 2, 3, 9, //
        5, 6, 8, 0, //
        1, 0, 0, 0,
    };
    struct family f = family_new(5, 4);
    struct kinship k;

    (void)state;
    memcpy(f.content, content, sizeof content);
    for (size_t i = 0; i < 5; i++)
        family_sign(&f, i, 4 * CLUSTER_SIZE);
    k = named(&f, 2);
    build(&k, &f, (struct kinship_options){.linkage = LINKAGE_COMPLETE, .threshold = 0.5});
    assert_int_equal(k.tree.n_nodes, 5);
    /* 0 and 1 differ in one cluster of each disk and share 3 + 2 */
    assert_int_equal(k.tree.nodes[3].different, 2 * CLUSTER_SIZE);
    assert_int_equal(k.tree.nodes[3].shared, 5 * CLUSTER_SIZE);
    /* 2 lacks three clusters of the first disk and the whole second one */
    assert_int_equal(k.tree.nodes[4].different, 6 * CLUSTER_SIZE);
    assert_int_equal(k.tree.nodes[4].shared, CLUSTER_SIZE);
    assert_int_equal(k.n_families, 2);
    assert_int_equal(k.family[2], 1);
    assert_int_equal(k.images[1].data_bytes, 3 * CLUSTER_SIZE);
    kinship_release(&k);
    family_release(&f);
}

static void matrices_are_there_when_wanted(void **state)
{
    struct family f = family_random(10, 30, 2, 3);
    struct kinship k = named(&f, 0);

    (void)state;
    build(&k, &f, (struct kinship_options){.sketch = true});
    assert_null(k.different);
    assert_int_equal(k.n_neighbours > 0, 1);
    kinship_release(&k);
    k = named(&f, 0);
    build(&k, &f, (struct kinship_options){.sketch = true, .matrix = true});
    assert_non_null(k.different);
    assert_non_null(k.neighbours);
    kinship_release(&k);
    k = named(&f, 0);
    build(&k, &f, (struct kinship_options){.sketch = false});
    assert_non_null(k.shared);
    assert_null(k.neighbours);
    assert_null(k.plan.steps);
    kinship_release(&k);
    family_release(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_is_sent_is_received),
        cmocka_unit_test(damaged_records_are_refused_or_harmless),
        cmocka_unit_test(a_stream_without_its_end_gives_nothing),
        cmocka_unit_test(guests_add_up_their_disks),
        cmocka_unit_test(matrices_are_there_when_wanted),
    };
    struct error e;
    int failed;

    pool = pool_new(2, &e);
    failed = pool == NULL ? 1 : cmocka_run_group_tests(tests, NULL, NULL);
    pool_free(pool);
    return failed;
}
