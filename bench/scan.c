/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Measures scan_disk() on an image beside hash_blocks() and hash_parents() over a bare mapping of
 * the raw file with the same content: alternating, medians, CPU seconds and wall time.
 * usage: bench-scan [--threads=N] [--rounds=N] RAW [IMAGE]...
 *            JSON: for each image and the mapping, medians in seconds and the ratio to the mapping
 *        bench-scan --mapping RAW
 *            hashes the mapping once and prints nothing: for whoever measures the process
 *        bench-scan --read FILE.sig...
 *            reads signature files and tells seconds and peak memory */
#include "../tests/disk/env_files.h"

#include "base/ckd.h"
#include "disk/reader.h"
#include "sig/scan.h"

#include <fcntl.h>
#include <getopt.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <time.h>

enum { ROUNDS_MAX = 99, IMAGES_MAX = 8, ITEM = 1 << 20, ITEM_BLOCKS = ITEM / BLOCK_SIZE };

struct times {
    double cpu[ROUNDS_MAX], wall[ROUNDS_MAX];
};

static double cpu_now(void)
{
    struct rusage r;

    getrusage(RUSAGE_SELF, &r);
    return (double)(r.ru_utime.tv_sec + r.ru_stime.tv_sec) +
           (double)(r.ru_utime.tv_usec + r.ru_stime.tv_usec) * 1e-6;
}

static double wall_now(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

static int compare_doubles(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;

    return x < y ? -1 : x > y;
}

static double median(double *values, size_t n)
{
    qsort(values, n, sizeof *values, compare_doubles);
    return values[n / 2];
}

/* What must be there at the least: the data of the raw file, from its mapping, hashed. */
static int hash_mapping(const char *path, struct error *e)
{
    AUTO_FD int fd = open(path, O_RDONLY | O_CLOEXEC);
    const uint8_t *map;
    uint64_t size;
    struct stat st;

    static const uint8_t *block[ITEM_BLOCKS];
    static struct id ids[ITEM_BLOCKS], clusters[ITEM_BLOCKS / CLUSTER_BLOCKS];

    if (fd < 0 || fstat(fd, &st) != 0)
        return err_sys(e, "%s", path);
    size = (uint64_t)st.st_size;
    map = mmap(NULL, size, PROT_READ, MAP_SHARED, fd, 0);
    if (map == MAP_FAILED)
        return err_sys(e, "mmap");
    for (off_t data = lseek(fd, 0, SEEK_DATA); data >= 0;) {
        off_t hole = lseek(fd, data, SEEK_HOLE);

        data = data / CLUSTER_SIZE * CLUSTER_SIZE;
        for (uint64_t at = (uint64_t)data; at < (uint64_t)hole; at += ITEM) {
            size_t clusters_here = (size_t)div_up(min_u64((uint64_t)hole - at, ITEM), CLUSTER_SIZE);
            size_t n = min_u64(clusters_here * CLUSTER_BLOCKS, (size - at) / BLOCK_SIZE);

            for (size_t i = 0; i < n; i++)
                block[i] = map + at + i * BLOCK_SIZE;
            hash_blocks(block, n, ids);
            hash_parents(1, ids, n / CLUSTER_BLOCKS, clusters);
        }
        data = lseek(fd, hole, SEEK_DATA);
    }
    munmap((void *)(uintptr_t)map, size);
    return 0;
}

static int scan_chain(struct disk *d, const struct scan_options *o, struct sig **out,
                      struct error *e)
{
    AUTO(sig) *base = NULL;

    if (disk_backing(d) != NULL && scan_chain(disk_backing(d), o, &base, e) != 0)
        return -1;
    return scan_disk(d, base, o, out, e);
}

static int scan_image(const char *path, const struct scan_options *o, struct id *content,
                      struct error *e)
{
    struct test_env t;
    int status = -1;

    if (test_env_init(&t, e) != 0)
        return -1;
    {
        AUTO(disk) *d = NULL;
        AUTO(sig) *s = NULL;

        if (test_env_open(&t, path, NULL, NULL, &d, e) == 0 && scan_chain(d, o, &s, e) == 0) {
            *content = s->content;
            status = 0;
        }
    }
    test_env_release(&t);
    return status;
}

static void print_times(const char *name, struct times *t, struct times *mapping, size_t rounds)
{
    double cpu = median(t->cpu, rounds), wall = median(t->wall, rounds);

    printf("  {\"name\":\"%s\",\"cpu_s\":%.4f,\"wall_s\":%.4f,\"mapping_cpu_over_this\":%.3f,"
           "\"mapping_wall_over_this\":%.3f}",
           name, cpu, wall, median(mapping->cpu, rounds) / cpu,
           median(mapping->wall, rounds) / wall);
}

static int bench_scan(size_t threads, size_t rounds, int n, char **paths, struct error *e)
{
    static struct times times[IMAGES_MAX + 1];
    AUTO(pool) *pool = pool_new(threads, e);
    struct scan_options o = {.pool = pool};
    AUTO_FD int fd = open(paths[0], O_RDONLY | O_CLOEXEC);
    const uint8_t *map;
    struct stat st;

    if (pool == NULL || fd < 0 || fstat(fd, &st) != 0 || n > IMAGES_MAX)
        return err_sys(e, "%s", paths[0]);
    map = mmap(NULL, (size_t)st.st_size, PROT_READ, MAP_SHARED, fd, 0);
    if (map == MAP_FAILED)
        return err_sys(e, "mmap");
    for (size_t round = 0; round < rounds; round++) {
        for (int i = -1; i < n; i++) {
            double cpu = cpu_now(), wall = wall_now();
            struct id id;

            if ((i < 0 ? hash_mapping(paths[0], e) : scan_image(paths[i], &o, &id, e)) != 0)
                return -1;
            times[i + 1].cpu[round] = cpu_now() - cpu;
            times[i + 1].wall[round] = wall_now() - wall;
        }
    }
    printf("{\"threads\":%zu,\"rounds\":%zu,\"instruction_set\":\"%s\",\"results\":[\n", threads,
           rounds, hash_instruction_set());
    print_times("hash_blocks over a mapping", &times[0], &times[0], rounds);
    for (int i = 0; i < n; i++) {
        printf(",\n");
        print_times(paths[i], &times[i + 1], &times[0], rounds);
    }
    printf("\n]}\n");
    return 0;
}

static int bench_read(int n, char **paths, struct error *e)
{
    struct sig **sigs = calloc((size_t)n, sizeof(struct sig *));
    double cpu = cpu_now(), wall = wall_now();
    struct rusage r;
    uint64_t ids = 0;

    for (int i = 0; i < n; i++) {
        AUTO_FD int fd = open(paths[i], O_RDONLY | O_CLOEXEC);

        if (fd < 0 || sig_read(fd, paths[i], &sigs[i], e) != 0)
            return -1;
        ids += sigs[i]->n_ids;
    }
    cpu = cpu_now() - cpu;
    wall = wall_now() - wall;
    getrusage(RUSAGE_SELF, &r);
    printf("{\"files\":%d,\"ids\":%" PRIu64 ",\"cpu_s\":%.3f,\"wall_s\":%.3f,\"peak_kib\":%ld}\n",
           n, ids, cpu, wall, r.ru_maxrss);
    for (int i = 0; i < n; i++)
        sig_unref(sigs[i]);
    free(sigs);
    return 0;
}

int main(int argc, char **argv)
{
    static const struct option table[] = {
        {"threads", required_argument, NULL, 't'},
        {"rounds", required_argument, NULL, 'r'},
        {"mapping", no_argument, NULL, 'm'},
        {"read", no_argument, NULL, 'R'},
        {},
    };
    size_t threads = 1, rounds = 7;
    struct error e = {};
    bool read = false, mapping = false;
    int c;

    while ((c = getopt_long(argc, argv, "", table, NULL)) != -1) {
        if (c == 't')
            threads = strtoul(optarg, NULL, 10);
        else if (c == 'r')
            rounds = min_u64(strtoul(optarg, NULL, 10), ROUNDS_MAX);
        else if (c == 'm')
            mapping = true;
        else if (c == 'R')
            read = true;
        else
            return 2;
    }
    if (optind == argc || threads == 0 || rounds == 0)
        return 2;
    hash_init();
    if (reader_init(&e) != 0 || sig_init(&e) != 0 ||
        (mapping ? hash_mapping(argv[optind], &e)
         : read  ? bench_read(argc - optind, argv + optind, &e)
                 : bench_scan(threads, rounds, argc - optind, argv + optind, &e)) != 0) {
        fprintf(stderr, "bench-scan: %s\n", e.msg);
        return 3;
    }
    return 0;
}
