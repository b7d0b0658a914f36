/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Reads docs/formats/identity.md (its path is the argument) and holds the code against it. The
 * vectors there are computed by tests/hash/identity_vectors.py. */
#include "../test.h"
#include "base/error.h"
#include "hash/id.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#define CLUSTERS_MAX 128

static const char *doc_path;

/* A disk's clusters that are not zero, rising, with their ids at level 0 and 1. */
struct content {
    uint64_t size;
    size_t n;
    uint64_t cluster[CLUSTERS_MAX];
    uint8_t bytes[CLUSTERS_MAX][CLUSTER_SIZE];
    struct id block[CLUSTERS_MAX][CLUSTER_BLOCKS];
    struct id id[CLUSTERS_MAX];
};

static uint8_t pattern(uint64_t i)
{
    return (uint8_t)(131 * i + i / 256 + 1);
}

static void put(struct content *c, uint64_t offset, uint8_t byte)
{
    if (c->n == 0 || c->cluster[c->n - 1] != offset / CLUSTER_SIZE) {
        assert_true(c->n < CLUSTERS_MAX);
        c->cluster[c->n++] = offset / CLUSTER_SIZE;
    }
    c->bytes[c->n - 1][offset % CLUSTER_SIZE] = byte;
}

static void put_many(struct content *c, uint64_t offset, const void *from, size_t n)
{
    for (size_t i = 0; i < n; i++)
        put(c, offset + i, ((const uint8_t *)from)[i]);
}

static void hash_all(struct content *c)
{
    for (size_t k = 0; k < c->n; k++) {
        const uint8_t *block[CLUSTER_BLOCKS];

        for (size_t i = 0; i < CLUSTER_BLOCKS; i++)
            block[i] = c->bytes[k] + i * BLOCK_SIZE;
        hash_blocks(block, CLUSTER_BLOCKS, c->block[k]);
    }
    hash_parents(1, c->block[0], c->n, c->id);
}

static struct content *make(const char *name, uint64_t size)
{
    struct content *c = calloc(1, sizeof *c), *of = NULL;

    assert_non_null(c);
    c->size = size;
    if (strcmp(name, "pattern") == 0) {
        for (uint64_t i = 0; i < size; i++)
            put(c, i, pattern(i));
    } else if (strcmp(name, "ends") == 0) {
        for (uint64_t i = 0; i < BLOCK_SIZE; i++)
            put(c, i, pattern(i));
        for (uint64_t i = 0; i < BLOCK_SIZE; i++)
            put(c, size - BLOCK_SIZE + i, pattern(i));
    } else if (strcmp(name, "dots") == 0) {
        for (unsigned i = 0; i < 128; i++)
            put(c, (uint64_t)i * CLUSTER_SIZE, (uint8_t)(i + 1));
    } else if (strcmp(name, "forged-clusters") == 0) {
        of = make("dots", 128 * CLUSTER_SIZE);
        put_many(c, 0, of->id, 128 * sizeof *of->id);
    } else if (strcmp(name, "forged-blocks") == 0) {
        of = make("pattern", CLUSTER_SIZE);
        put_many(c, 0, of->block[0], CLUSTER_BLOCKS * sizeof **of->block);
    } else {
        assert_string_equal(name, "zero");
    }
    free(of);
    hash_all(c);
    return c;
}

/* Any id, from its clusters upward: only parents that hold something are looked at. */
static struct id find(const struct content *c, unsigned level, uint64_t index)
{
    static struct id children[ID_FANOUT];
    struct id id[CLUSTERS_MAX];
    uint64_t at[CLUSTERS_MAX];
    size_t n = c->n;

    for (size_t k = 0; k < n; k++)
        if (level == 0 && c->cluster[k] == index / CLUSTER_BLOCKS)
            return c->block[k][index % CLUSTER_BLOCKS];
    memcpy(id, c->id, sizeof id);
    memcpy(at, c->cluster, sizeof at);
    for (unsigned l = 2; l <= level; l++) {
        size_t parents = 0;

        for (size_t k = 0; k < n;) {
            uint64_t parent = at[k] / ID_FANOUT;

            memset(children, 0, sizeof children);
            for (; k < n && at[k] / ID_FANOUT == parent; k++)
                children[at[k] % ID_FANOUT] = id[k];
            hash_parents(l, children, 1, &id[parents]);
            at[parents++] = parent;
        }
        n = parents;
    }
    for (size_t k = 0; level > 0 && k < n; k++)
        if (at[k] == index)
            return id[k];
    return (struct id){};
}

static struct id content_id(const struct content *c)
{
    struct id_run runs[CLUSTERS_MAX];
    struct error e;
    struct id id;

    for (size_t k = 0; k < c->n; k++)
        runs[k] = (struct id_run){c->cluster[k], 1};
    assert_ok(hash_content_id(runs, c->n, c->id, &id, &e), &e);
    return id;
}

static void check_line(const struct content *c, const char *what, const char *expected)
{
    struct id id;
    uint64_t index;
    unsigned level;
    char hex[65];

    if (strcmp(what, "content") == 0) {
        struct id slow = find(c, 6, 0);

        id = content_id(c);
        assert_memory_equal(&id, &slow, sizeof id);
    } else if (strcmp(what, "disk") == 0) {
        id = content_id(c);
        hash_disk_id(c->size, &id, &id);
    } else {
        assert_int_equal(sscanf(what, "id%u(%" SCNu64 ")", &level, &index), 2);
        id = find(c, level, index);
    }
    id_to_hex(&id, hex);
    assert_string_equal(hex, expected);
}

static void ids_are_those_of_the_page(void **state)
{
    FILE *f = fopen(doc_path, "r");
    struct content *c = NULL;
    char line[256], name[64], hex[65];
    int vectors = 0, ids = 0;
    uint64_t size;

    (void)state;
    assert_non_null(f);
    while (fgets(line, sizeof line, f) != NULL) {
        if (sscanf(line, "vector %63s %" SCNu64, name, &size) == 2) {
            free(c);
            c = make(name, size);
            vectors++;
        } else if (c != NULL && sscanf(line, "  %63s %64[0-9a-f]", name, hex) == 2) {
            check_line(c, name, hex);
            ids++;
        }
    }
    free(c);
    fclose(f);
    assert_true(vectors >= 15 && ids >= 80);
}

static void a_list_of_ids_in_a_block_is_not_their_parent(void **state)
{
    struct content *c[4] = {make("dots", 128 * CLUSTER_SIZE), make("forged-clusters", BLOCK_SIZE),
                            make("pattern", CLUSTER_SIZE), make("forged-blocks", 512)};
    struct id honest, forged;

    (void)state;
    for (int i = 0; i < 4; i += 2) {
        honest = find(c[i], i == 0 ? 2 : 1, 0);
        for (unsigned level = 0; level < ID_LEVELS; level++) {
            forged = find(c[i + 1], level, 0);
            assert_false(id_equal(&honest, &forged));
        }
    }
    for (int i = 0; i < 4; i++)
        free(c[i]);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(ids_are_those_of_the_page),
        cmocka_unit_test(a_list_of_ids_in_a_block_is_not_their_parent),
    };

    if (argc != 2)
        return 2;
    doc_path = argv[1];
    hash_init();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
