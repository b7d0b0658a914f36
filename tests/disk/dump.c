/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Shows what the disk layer makes of an image, for tests that compare it with qemu-img.
 * usage: disk-dump [--snapshot=NAME] [--format=NAME] [--threads=N] [--deny] map|bytes|info IMAGE
 *   map    one JSON object a line: start, length, depth, zero, data, compressed, offset
 *   bytes  the whole disk on standard output; each thread reads all in pieces of its own sizes
 *   info   JSON object: size, format, snapshots, extents
 * --deny refuses every file that the image names.
 * An error goes to standard error as "CODE: MESSAGE" (exit 3), a problem as "problem: MESSAGE". */
#include "base/ckd.h"
#include "base/io.h"
#include "base/mem.h"
#include "disk/disk.h"
#include "env_files.h"

#include <getopt.h>
#include <inttypes.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>

enum { THREADS_MAX = 16, PIECE_MAX = 300000 };

static int dump_map(struct disk *top, struct error *e)
{
    uint64_t length;

    for (uint64_t at = 0; at < disk_size(top); at += length) {
        struct disk *d = top;
        struct extent x;
        int depth = 0;

        length = UINT64_MAX;
        for (;;) {
            if (disk_extent(d, at, &x, e) != 0)
                return -1;
            length = min_u64(length, x.length);
            if ((x.flags & EXTENT_BASE) == 0)
                break;
            d = disk_backing(d);
            if (at >= disk_size(d)) { /* qemu tells it of the layer above */
                x.flags = EXTENT_ZERO;
                break;
            }
            length = min_u64(length, disk_size(d) - at);
            depth++;
        }
        printf("{\"start\":%" PRIu64 ",\"length\":%" PRIu64 ",\"depth\":%d,\"zero\":%s,"
               "\"data\":%s,\"compressed\":%s",
               at, length, depth, x.flags & EXTENT_ZERO ? "true" : "false",
               x.flags & EXTENT_ZERO ? "false" : "true",
               x.flags & EXTENT_COMPRESSED ? "true" : "false");
        if (x.flags & EXTENT_LOCATED)
            printf(",\"offset\":%" PRIu64, x.host_offset);
        printf("}\n");
    }
    return 0;
}

struct copy {
    struct disk *disk;
    pthread_t thread;
    uint8_t *bytes; /* the whole disk */
    uint64_t random;
    int status;
    struct error error;
};

/* Each thread reads the whole disk, in pieces of its own sizes. */
static void *copy_all(void *arg)
{
    struct copy *c = arg;
    uint64_t at = 0, size = disk_size(c->disk);

    while (at < size && c->status == 0) {
        size_t n;

        c->random = c->random * 6364136223846793005u + 1442695040888963407u;
        n = (size_t)min_u64(1 + (c->random >> 33) % PIECE_MAX, size - at);
        c->status = disk_pread(c->disk, c->bytes + at, n, at, &c->error);
        at += n;
    }
    return NULL;
}

static int dump_bytes(struct disk *d, size_t threads, struct error *e)
{
    struct copy copies[THREADS_MAX] = {};
    int status = 0;

    for (size_t i = 0; i < threads; i++) {
        struct copy *c = &copies[i];

        c->disk = d;
        c->random = i;
        c->bytes = mem_array(disk_size(d), 1, "the disk", e);
        if (c->bytes == NULL || pthread_create(&c->thread, NULL, copy_all, c) != 0)
            abort();
    }
    for (size_t i = 0; i < threads; i++) {
        pthread_join(copies[i].thread, NULL);
        if (status == 0 && copies[i].status != 0) {
            *e = copies[i].error;
            status = -1;
        }
    }
    for (size_t i = 1; i < threads && status == 0; i++) {
        if (memcmp(copies[i].bytes, copies[0].bytes, disk_size(d)) != 0)
            status = err_set(e, ERR_INTERNAL, "thread %zu read other bytes than thread 0", i);
    }
    if (status == 0)
        status = io_write(1, copies[0].bytes, disk_size(d), e);
    for (size_t i = 0; i < threads; i++)
        free(copies[i].bytes);
    return status;
}

static int dump_info(struct disk *d, struct error *e)
{
    uint64_t n = 0;
    struct extent x;

    for (uint64_t at = 0; at < disk_size(d); at += x.length, n++) {
        if (disk_extent(d, at, &x, e) != 0)
            return -1;
    }
    printf("{\"size\":%" PRIu64 ",\"format\":\"%s\",\"snapshots\":%zu,\"extents\":%" PRIu64 "}\n",
           disk_size(d), disk_format(d), disk_snapshots(d), n);
    return 0;
}

static void print_problem(void *arg, const struct problem *p)
{
    (void)arg;
    fprintf(stderr, "problem: %s: %s\n", err_code_name(p->code), p->text);
}

static int show(struct disk *d, const char *what, size_t threads, struct error *e)
{
    if (strcmp(what, "map") == 0)
        return dump_map(d, e);
    if (strcmp(what, "info") == 0)
        return dump_info(d, e);
    return dump_bytes(d, threads, e);
}

static int open_denied(void *arg, const struct host_file *from, const char *name,
                       enum file_reason reason, struct host_file **out, struct error *e)
{
    (void)arg;
    (void)from;
    (void)reason;
    (void)out;
    return err_set(e, ERR_DENIED, "%s is not allowed", name);
}

static int run(const char *what, const char *path, const struct disk_options *options,
               size_t threads, bool deny, struct error *e)
{
    AUTO(disk) *d = NULL;
    struct test_env t;
    int status;

    if (test_env_init(&t, e) != 0)
        return -1;
    t.env.problems = (struct problem_sink){print_problem, NULL};
    if (deny)
        t.env.open_file = open_denied;
    status = test_env_open(&t, path, options->format, options->snapshot, &d, e);
    if (status == 0)
        status = show(d, what, threads, e);
    disk_close(take(d));
    test_env_release(&t);
    return status;
}

int main(int argc, char **argv)
{
    static const struct option table[] = {
        {"snapshot", required_argument, NULL, 's'},
        {"format", required_argument, NULL, 'f'},
        {"deny", no_argument, NULL, 'd'},
        {"threads", required_argument, NULL, 't'},
        {},
    };
    struct disk_options options = {};
    size_t threads = 1;
    bool deny = false;
    struct error e;
    int c;

    while ((c = getopt_long(argc, argv, "", table, NULL)) != -1) {
        if (c == 's')
            options.snapshot = optarg;
        else if (c == 'f')
            options.format = optarg;
        else if (c == 'd')
            deny = true;
        else if (c == 't')
            threads = min_u64(strtoul(optarg, NULL, 10), THREADS_MAX);
        else
            return 2;
    }
    if (argc - optind != 2 || threads == 0)
        return 2;
    if (run(argv[optind], argv[optind + 1], &options, threads, deny, &e) != 0) {
        fprintf(stderr, "%s: %s\n", err_code_name(e.code), e.msg);
        return 3;
    }
    return 0;
}
