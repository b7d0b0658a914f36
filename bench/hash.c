/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Measures hash_blocks() against the BLAKE3 library's public face at 64 KiB and the bare lanes, on
 * data in the L2 cache and in memory, and with part-zero clusters. Prints JSON: GB (1e9) of
 * non-zero data per CPU second, median of the rounds, taken in turn. usage: bench-hash [ROUNDS] */
#include "hash/lanes.h"
#include "hash/zero.h"

#include <blake3.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#define L2_BYTES ((size_t)512 << 10)
#define MEMORY_BYTES ((size_t)256 << 20)
#define ROUND_BYTES ((size_t)256 << 20) /* each round hashes this much */
#define ROUNDS_MAX 99
#define BATCH 256 /* blocks that a call gets: 1 MiB */

struct input {
    const uint8_t *bytes;
    size_t length;
    size_t data; /* bytes of it that are not zero */
    struct id *ids;
};

static double cpu_seconds(void)
{
    struct timespec t;

    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
    return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

static void blocks_of(const struct input *in, size_t batch)
{
    const uint8_t *block[BATCH];
    size_t n = in->length / BLOCK_SIZE;

    for (size_t i = 0; i < n; i += batch) {
        size_t k = n - i < batch ? n - i : batch;

        for (size_t j = 0; j < k; j++)
            block[j] = in->bytes + (i + j) * BLOCK_SIZE;
        hash_blocks(block, k, in->ids + i);
    }
}

static void run_blocks(const struct input *in)
{
    blocks_of(in, BATCH);
}

static void run_blocks_by_cluster(const struct input *in)
{
    blocks_of(in, CLUSTER_BLOCKS);
}

static void run_blocks_and_clusters(const struct input *in)
{
    blocks_of(in, BATCH);
    hash_parents(1, in->ids, in->length / CLUSTER_SIZE, in->ids + in->length / BLOCK_SIZE);
}

static void run_lanes(const struct input *in)
{
    const struct lane_kernel *k = lanes_choose();
    const uint8_t *block[LANES_MAX];

    for (size_t i = 0; i < in->length / BLOCK_SIZE; i += LANES_MAX) {
        for (size_t j = 0; j < LANES_MAX; j++)
            block[j] = in->bytes + (i + j) * BLOCK_SIZE;
        k->blocks(block, LANES_MAX, in->ids + i);
    }
}

static void run_public_64k(const struct input *in)
{
    for (size_t i = 0; i < in->length / CLUSTER_SIZE; i++) {
        blake3_hasher h;

        blake3_hasher_init(&h);
        blake3_hasher_update(&h, in->bytes + i * CLUSTER_SIZE, CLUSTER_SIZE);
        blake3_hasher_finalize(&h, in->ids[i].bytes, sizeof in->ids[i].bytes);
    }
}

static void run_zero_test(const struct input *in)
{
    for (size_t i = 0; i < in->length; i += BLOCK_SIZE)
        in->ids[i / BLOCK_SIZE].bytes[0] = zero_test(in->bytes + i, BLOCK_SIZE);
}

typedef void subject(const struct input *in);

static const struct {
    const char *name;
    subject *run;
} subjects[] = {
    {"public_64k", run_public_64k},
    {"lanes_alone", run_lanes},
    {"hash_blocks", run_blocks},
    {"hash_blocks_by_cluster", run_blocks_by_cluster},
    {"hash_blocks_and_clusters", run_blocks_and_clusters},
    {"zero_test", run_zero_test},
};

#define SUBJECTS (sizeof subjects / sizeof *subjects)

static int by_value(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;

    return (x > y) - (x < y);
}

static void measure(const char *where, const struct input *in, int rounds)
{
    static double gb[SUBJECTS][ROUNDS_MAX];
    size_t times = ROUND_BYTES / in->length;

    for (int r = 0; r < rounds; r++)
        for (size_t s = 0; s < SUBJECTS; s++) {
            double start = cpu_seconds();

            for (size_t i = 0; i < times; i++)
                subjects[s].run(in);
            /* an all-zero input counts its zeros */
            gb[s][r] = (double)times * (double)(in->data ? in->data : in->length) /
                       (cpu_seconds() - start) / 1e9;
        }
    printf("\"%s\":{", where);
    for (size_t s = 0; s < SUBJECTS; s++) {
        qsort(gb[s], (size_t)rounds, sizeof gb[s][0], by_value);
        printf("%s\"%s\":%.3f", s ? "," : "", subjects[s].name, gb[s][rounds / 2]);
    }
    printf("}");
}

/* Per cent of the blocks become zero. */
static size_t make(uint8_t *bytes, size_t length, unsigned zero_percent)
{
    uint64_t x = 88172645463325252;
    size_t data = 0;

    for (size_t i = 0; i < length; i += sizeof x) {
        static bool zero;

        x ^= x << 13;
        x ^= x >> 7;
        x ^= x << 17;
        if (i % BLOCK_SIZE == 0) {
            zero = (x >> 32) % 100 < zero_percent;
            data += zero ? 0 : BLOCK_SIZE;
        }
        memcpy(bytes + i, zero ? &(uint64_t){0} : &x, sizeof x);
    }
    return data;
}

int main(int argc, char **argv)
{
    static const unsigned percents[] = {25, 50, 75, 100};
    int rounds = argc > 1 ? atoi(argv[1]) : 7;
    uint8_t *bytes = aligned_alloc(CLUSTER_SIZE, MEMORY_BYTES);
    struct id *ids = calloc(MEMORY_BYTES / BLOCK_SIZE * 2, sizeof *ids);
    struct input in = {bytes, L2_BYTES, 0, ids};

    if (bytes == NULL || ids == NULL || rounds < 1 || rounds > ROUNDS_MAX)
        return 2;
    hash_init();
    printf("{\"instruction_set\":\"%s\",\"rounds\":%d,", hash_instruction_set(), rounds);
    in.data = make(bytes, MEMORY_BYTES, 0) * L2_BYTES / MEMORY_BYTES;
    measure("l2", &in, rounds);
    for (const struct lane_kernel *const *k = lanes_vector; *k != NULL; k++) {
        char name[32];

        if (!(*k)->usable())
            continue;
        hash_use_lanes(*k);
        snprintf(name, sizeof name, "l2_own_%s", (*k)->name);
        printf(",\n");
        measure(name, &in, rounds);
    }
    hash_use_lanes(lanes_choose());
    printf(",\n");
    in.length = in.data = MEMORY_BYTES;
    measure("memory", &in, rounds);
    in.length = 8 * L2_BYTES;
    for (size_t p = 0; p < sizeof percents / sizeof *percents; p++) {
        char name[32];

        in.data = make(bytes, in.length, percents[p]);
        snprintf(name, sizeof name, "zero_%u_percent", percents[p]);
        printf(",\n");
        measure(name, &in, rounds);
    }
    printf("}\n");
    free(ids);
    free(bytes);
    return 0;
}
