/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Signs and compares images, for tests that judge the result by other means.
 * usage: sig-tool [--threads=N] [--format=NAME] sign IMAGE OUT [IMAGE OUT]...
 *            writes signature files; a line for each: read bytes of the image's own files
 *        sig-tool [--threads=N] compare|exact A B
 *            one JSON object
 * An error goes to standard error as "CODE: MESSAGE" (exit 3). */
#include "../disk/env_files.h"

#include "disk/reader.h"
#include "sig/compare.h"
#include "sig/library.h"

#include <fcntl.h>
#include <getopt.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

struct tool {
    struct test_env env;
    struct scan_options scan;
    struct progress progress;
    struct sig_library *library;
    const char *format;
};

static int sign(struct tool *t, const char *image, struct disk **d, struct sig **s,
                struct sig_origin *origin, struct error *e)
{
    if (test_env_open(&t->env, image, t->format, NULL, d, e) != 0)
        return -1;
    return sig_library_get(t->library, *d, s, origin, e);
}

static int sign_to(struct tool *t, const char *image, const char *path, struct error *e)
{
    AUTO(disk) *d = NULL;
    AUTO(sig) *s = NULL;
    struct sig_origin origin;
    AUTO_FD int fd = open(path, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);

    if (fd < 0)
        return err_sys(e, "%s", path);
    if (sign(t, image, &d, &s, &origin, e) != 0 || sig_write(s, fd, e) != 0)
        return -1;
    printf("%" PRIu64 "\n", origin.read_bytes);
    return 0;
}

static void print_comparison(const struct comparison *c)
{
    printf("{\"equal\":%" PRIu64 ",\"zero\":%" PRIu64 ",\"different\":%" PRIu64 ",\"first\":",
           c->equal_bytes, c->zero_bytes, c->different_bytes);
    if (c->first_difference == UINT64_MAX)
        printf("null");
    else
        printf("%" PRIu64, c->first_difference);
    printf(",\"ranges\":[");
    for (size_t i = 0; i < c->n_ranges; i++)
        printf("%s[%" PRIu64 ",%" PRIu64 "]", i > 0 ? "," : "", c->ranges[i].offset,
               c->ranges[i].length);
    printf("]}\n");
}

static int compare(struct tool *t, char **paths, bool exact, struct error *e)
{
    AUTO(disk) *a = NULL, *b = NULL;
    AUTO(sig) *s = NULL, *r = NULL;
    struct comparison by_cluster, c;
    struct sig_origin origin;

    if (sign(t, paths[0], &a, &s, &origin, e) != 0 || sign(t, paths[1], &b, &r, &origin, e) != 0 ||
        compare_signatures(s, r, &by_cluster, e) != 0)
        return -1;
    if (!exact) {
        print_comparison(&by_cluster);
        comparison_release(&by_cluster);
        return 0;
    }
    if (compare_exact(a, b, &by_cluster, &t->scan, &c, e) != 0)
        return -1;
    comparison_release(&by_cluster);
    print_comparison(&c);
    comparison_release(&c);
    return 0;
}

static int run(struct tool *t, int n, char **args, struct error *e)
{
    if (strcmp(args[0], "sign") != 0)
        return n == 3 ? compare(t, args + 1, strcmp(args[0], "exact") == 0, e)
                      : err_set(e, ERR_USAGE, "two images");
    for (int i = 1; i + 1 < n; i += 2) {
        if (sign_to(t, args[i], args[i + 1], e) != 0)
            return -1;
    }
    if (t->progress.done != t->progress.total)
        return err_set(e, ERR_INTERNAL, "progress ended at %ju of %ju", (uintmax_t)t->progress.done,
                       (uintmax_t)t->progress.total);
    return 0;
}

int main(int argc, char **argv)
{
    static const struct option table[] = {
        {"threads", required_argument, NULL, 't'},
        {"format", required_argument, NULL, 'f'},
        {},
    };
    struct tool t = {};
    size_t threads = 2;
    struct error e = {};
    int c, status = -1;

    while ((c = getopt_long(argc, argv, "", table, NULL)) != -1) {
        if (c == 't')
            threads = strtoul(optarg, NULL, 10);
        else if (c == 'f')
            t.format = optarg;
        else
            return 2;
    }
    if (argc - optind < 3 || threads == 0)
        return 2;
    hash_init();
    t.scan = (struct scan_options){.pool = pool_new(threads, &e), .progress = &t.progress};
    if (t.scan.pool != NULL && reader_init(&e) == 0 && sig_init(&e) == 0 &&
        test_env_init(&t.env, &e) == 0) {
        t.library = sig_library_new(NULL, &t.scan, &t.env.env.problems, &e);
        if (t.library != NULL)
            status = run(&t, argc - optind, argv + optind, &e);
        sig_library_free(t.library);
        test_env_release(&t.env);
    }
    pool_free(t.scan.pool);
    if (status != 0)
        fprintf(stderr, "%s: %s\n", err_code_name(e.code), e.msg);
    return status == 0 ? 0 : 3;
}
