/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Blocks and parents in all lanes that this processor has, against the public face of the BLAKE3
 * library, which fills its lanes in another way. */
#include "../test.h"

#include "base/error.h"
#include "hash/digest.h"
#include "hash/lanes.h"

#include <blake3.h>
#include <stdio.h>
#include <stdlib.h>

#define BLOCKS_MAX 70
#define ROUNDS 40

static uint64_t seed = 88172645463325252;

static uint64_t next(void)
{
    seed ^= seed << 13;
    seed ^= seed >> 7;
    seed ^= seed << 17;
    return seed;
}

static void fill(void *to, size_t n)
{
    uint8_t *p = to;

    for (size_t i = 0; i < n; i++)
        p[i] = (uint8_t)(next() >> 32);
}

/* One byte, everything, or all but a head: what a zero test could get wrong. */
static void fill_some(uint8_t *block)
{
    size_t from;

    memset(block, 0, BLOCK_SIZE);
    switch (next() % 3) {
    case 0:
        block[next() % BLOCK_SIZE] = 0x80;
        break;
    case 1:
        fill(block, BLOCK_SIZE);
        break;
    default:
        from = next() % BLOCK_SIZE;
        fill(block + from, BLOCK_SIZE - from);
        block[BLOCK_SIZE - 1] = 1;
    }
}

static struct id plain(const void *bytes, size_t length)
{
    blake3_hasher h;
    struct id id;

    blake3_hasher_init(&h);
    blake3_hasher_update(&h, bytes, length);
    blake3_hasher_finalize(&h, id.bytes, sizeof id.bytes);
    return id;
}

static struct id derived(const char *context, const void *bytes, size_t length)
{
    blake3_hasher h;
    struct id id;

    blake3_hasher_init_derive_key(&h, context);
    blake3_hasher_update(&h, bytes, length);
    blake3_hasher_finalize(&h, id.bytes, sizeof id.bytes);
    return id;
}

/* Random lists of blocks at odd addresses, some of them zero. */
static void check_blocks(void)
{
    static uint8_t bytes[BLOCKS_MAX][BLOCK_SIZE + 64];
    const uint8_t *block[BLOCKS_MAX];
    struct id out[BLOCKS_MAX + 1], expected;

    for (size_t n = 0; n <= BLOCKS_MAX; n++) {
        size_t zeros = next() % 5;

        for (size_t i = 0; i < n; i++) {
            uint8_t *p = bytes[i] + next() % 64;

            block[i] = p;
            memset(bytes[i], 0xff, sizeof bytes[i]);
            if (next() % 4 < zeros)
                memset(p, 0, BLOCK_SIZE);
            else
                fill_some(p);
        }
        memset(out, 0xaa, sizeof out);
        hash_blocks(block, n, out);
        for (size_t i = 0; i < n; i++) {
            static const uint8_t zero[BLOCK_SIZE];

            expected = plain(block[i], BLOCK_SIZE);
            if (memcmp(block[i], zero, BLOCK_SIZE) == 0)
                memset(&expected, 0, sizeof expected);
            assert_memory_equal(&out[i], &expected, sizeof expected);
        }
        memset(&expected, 0xaa, sizeof expected);
        assert_memory_equal(&out[n], &expected, sizeof expected);
    }
}

static void check_parents(unsigned level, size_t max)
{
    const size_t fanout = level == 1 ? CLUSTER_BLOCKS : ID_FANOUT;
    struct id *children = calloc(max * fanout, sizeof *children);
    struct id out[BLOCKS_MAX], expected;
    char context[64];

    assert_non_null(children);
    snprintf(context, sizeof context, "stemma identity 1 level %u", level);
    for (size_t n = 0; n <= max; n++) {
        memset(children, 0, max * fanout * sizeof *children);
        for (size_t i = 0; i < n; i++)
            if (next() % 3 != 0)
                fill(&children[i * fanout + next() % fanout], sizeof *children);
        hash_parents(level, children, n, out);
        for (size_t i = 0; i < n; i++) {
            const struct id *from = children + i * fanout;
            bool null = true;

            for (size_t c = 0; c < fanout; c++)
                null = null && id_is_null(&from[c]);
            expected = null ? (struct id){} : derived(context, from, fanout * sizeof *from);
            assert_memory_equal(&out[i], &expected, sizeof expected);
        }
    }
    free(children);
}

static int check_lanes(const struct lane_kernel *const *list, const char *whose)
{
    int n = 0;

    for (; *list != NULL; list++) {
        if (!(*list)->usable()) {
            print_message("%s %s: not in this processor\n", whose, (*list)->name);
            continue;
        }
        print_message("%s %s\n", whose, (*list)->name);
        hash_use_lanes(*list);
        check_blocks();
        check_parents(1, BLOCKS_MAX);
        n++;
    }
    hash_use_lanes(lanes_choose());
    return n;
}

static void every_instruction_set_gives_the_ids_of_the_library(void **state)
{
    (void)state;
    assert_true(check_lanes(lanes_vector, "our lanes") > 0);
#ifdef STEMMA_HAVE_BLAKE3_LANES
    assert_true(check_lanes(lanes_blake3, "the library's lanes") > 0);
#endif
}

static void parents_at_every_level_have_their_own_context(void **state)
{
    (void)state;
    for (unsigned level = 1; level < ID_LEVELS; level++)
        check_parents(level, 5);
}

static void the_instruction_set_has_a_name(void **state)
{
    static const char *const names[] = {"avx512", "avx2", "sse41", "sse2", "neon", "portable"};
    bool found = false;

    (void)state;
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        found = found || strcmp(hash_instruction_set(), names[i]) == 0;
    assert_true(found);
}

static void a_digest_in_pieces_is_the_digest_of_the_whole(void **state)
{
    uint8_t bytes[5000];
    struct digest d;
    struct id id, expected;

    (void)state;
    fill(bytes, sizeof bytes);
    memcpy(bytes + 100, "\x08\x07\x06\x05\x04\x03\x02\x01", 8);
    expected = derived("stemma test 1", bytes, sizeof bytes);
    digest_init(&d, "stemma test 1");
    digest_update(&d, bytes, 100);
    digest_u64(&d, 0x0102030405060708);
    digest_update(&d, bytes + 108, 0);
    digest_update(&d, bytes + 108, sizeof bytes - 108);
    digest_final(&d, &id);
    assert_memory_equal(&id, &expected, sizeof id);
    digest_final(&d, &id); /* may be asked for again */
    assert_memory_equal(&id, &expected, sizeof id);
}

/* Ids by index at one level, rising; turned into those of the level above, by definition. */
static size_t next_level(unsigned level, uint64_t *at, struct id *id, size_t n)
{
    static struct id children[ID_FANOUT];
    size_t parents = 0;

    for (size_t k = 0; k < n;) {
        uint64_t parent = at[k] / ID_FANOUT;

        memset(children, 0, sizeof children);
        for (; k < n && at[k] / ID_FANOUT == parent; k++)
            children[at[k] % ID_FANOUT] = id[k];
        hash_parents(level, children, 1, &id[parents]);
        at[parents++] = parent;
    }
    return parents;
}

/* Runs of random lengths and gaps, from within a node to across the levels; ids may be null. */
static void check_content(void)
{
    enum { RUNS = 8, IDS = 16384 };
    static struct id id[IDS], slow[IDS];
    static uint64_t at[IDS];
    struct id_run runs[RUNS];
    const uint64_t clusters = DISK_SIZE_MAX / CLUSTER_SIZE;
    uint64_t first = next() % 2 ? next() % clusters : next() % 2000;
    size_t n = 0, r;
    struct error e;
    struct id out;

    for (r = 0; r < RUNS; r++) {
        uint64_t count = next() % (next() % 2 ? 2000 : 3);

        first += next() % ((uint64_t)1 << next() % 44);
        first -= next() % 2 ? first % ID_FANOUT : 0;
        if (r > 0 && first < runs[r - 1].first + runs[r - 1].count)
            first = runs[r - 1].first + runs[r - 1].count;
        if (first + count > clusters)
            break;
        runs[r] = (struct id_run){first, count};
        for (uint64_t i = 0; i < count; i++, n++) {
            at[n] = first + i;
            memset(&id[n], 0, sizeof id[n]);
            if (next() % 8 != 0)
                fill(&id[n], sizeof id[n]);
        }
        first += count;
    }
    memcpy(slow, id, sizeof id);
    assert_ok(hash_content_id(runs, r, id, &out, &e), &e);
    if (n == 0)
        slow[0] = (struct id){};
    for (unsigned level = 2; level < ID_LEVELS; level++)
        n = next_level(level, at, slow, n);
    assert_memory_equal(&out, &slow[0], sizeof out);
}

static void the_content_id_of_sparse_runs_is_that_of_its_definition(void **state)
{
    (void)state;
    for (int i = 0; i < ROUNDS; i++)
        check_content();
}

static void the_last_cluster_of_2_EiB_counts_and_one_more_is_refused(void **state)
{
    const uint64_t clusters = DISK_SIZE_MAX / CLUSTER_SIZE;
    struct id id = {{1}}, out;
    struct id_run run = {clusters - 1, 1};
    struct error e;

    (void)state;
    assert_ok(hash_content_id(&run, 1, &id, &out, &e), &e);
    assert_false(id_is_null(&out));
    run.first++;
    assert_int_equal(hash_content_id(&run, 1, &id, &out, &e), -1);
    assert_int_equal(e.code, ERR_LIMIT);
    run = (struct id_run){1, UINT64_MAX};
    assert_int_equal(hash_content_id(&run, 1, &id, &out, &e), -1);
    assert_int_equal(e.code, ERR_LIMIT);
}

static void equal_content_of_other_sizes_has_one_content_id_and_two_disk_ids(void **state)
{
    struct id id[3] = {{{1}}, {{2}}, {{0}}}, a, b;
    struct id_run tight = {0, 2}, wide = {0, 3};
    struct error e;

    (void)state;
    assert_ok(hash_content_id(&tight, 1, id, &a, &e), &e);
    assert_ok(hash_content_id(&wide, 1, id, &b, &e), &e);
    assert_true(id_equal(&a, &b));
    hash_disk_id(2 * CLUSTER_SIZE, &a, &a);
    hash_disk_id(3 * CLUSTER_SIZE, &b, &b);
    assert_false(id_equal(&a, &b));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_instruction_set_gives_the_ids_of_the_library),
        cmocka_unit_test(parents_at_every_level_have_their_own_context),
        cmocka_unit_test(the_instruction_set_has_a_name),
        cmocka_unit_test(a_digest_in_pieces_is_the_digest_of_the_whole),
        cmocka_unit_test(the_content_id_of_sparse_runs_is_that_of_its_definition),
        cmocka_unit_test(the_last_cluster_of_2_EiB_counts_and_one_more_is_refused),
        cmocka_unit_test(equal_content_of_other_sizes_has_one_content_id_and_two_disk_ids),
    };

    hash_init();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
