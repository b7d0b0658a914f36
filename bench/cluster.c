/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Relation, sketch, trees and plans over made-up signatures with realistic kinship: families whose
 * members changed 0.2 to 20% of their clusters in runs since an earlier member, 30% of the disk in
 * use. usage: bench-cluster IMAGES [GIB] [exact|sketch|both]
 *            prints JSON, CPU seconds of one thread
 *        bench-cluster IMAGES GIB write DIR
 *            writes the signatures to files */
#include "base/mem.h"
#include "cluster/dendrogram.h"
#include "cluster/plan.h"
#include "cluster/relation.h"
#include "cluster/relation_kernel.h"

#include <fcntl.h>
#include <math.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

static uint64_t state = 88172645463325252U;

static uint64_t random_next(void)
{
    state ^= state << 13;
    state ^= state >> 7;
    state ^= state << 17;
    return state;
}

static double random_part(void)
{
    return (double)(random_next() >> 11) * 0x1p-53;
}

static double cpu_seconds(void)
{
    struct timespec t;

    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
    return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

static _Noreturn void die(const char *what, const struct error *e)
{
    fprintf(stderr, "bench-cluster: %s: %s\n", what, e->msg);
    exit(3);
}

static void *room(size_t n, size_t size)
{
    struct error e;
    void *p = mem_array(n, size, "the benchmark", &e);

    if (p == NULL)
        die("generating", &e);
    return p;
}

struct herd {
    size_t n;
    uint64_t clusters;
    const struct sig **sigs;
    uint64_t next_id;
};

static void fresh_id(struct herd *h, struct id *out)
{
    uint64_t w[4];

    w[0] = ++h->next_id * UINT64_C(0x9e3779b97f4a7c15);
    w[0] = (w[0] ^ w[0] >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
    for (size_t k = 1; k < 4; k++)
        w[k] = (w[k - 1] ^ w[k - 1] >> 27) * UINT64_C(0x94d049bb133111eb) + k;
    memcpy(out, w, sizeof w);
}

/* A founder: runs of 1 to 512 clusters, 30% of them data. */
static void fill_founder(struct herd *h, struct id *row)
{
    for (uint64_t p = 0; p < h->clusters;) {
        uint64_t run = 1 + random_next() % 512;
        bool data = random_part() < 0.30;

        for (; run > 0 && p < h->clusters; run--, p++) {
            if (data)
                fresh_id(h, row + p);
        }
    }
}

/* A child: what its parent has, with 0.2 to 20% of its data changed in runs of 1 to 256. */
static void change(struct herd *h, struct id *row)
{
    double part = 0.002 * pow(100, random_part());
    uint64_t left = (uint64_t)(part * 0.30 * (double)h->clusters);

    while (left > 0) {
        uint64_t run = (uint64_t)exp2(random_part() * 8), p = random_next() % h->clusters;

        for (; run > 0 && left > 0 && p < h->clusters; run--, left--, p++)
            fresh_id(h, row + p);
    }
}

static struct sig *sign(const struct herd *h, const struct id *row)
{
    struct sig *s = room(1, sizeof *s);
    struct sig_run *runs;
    struct id *ids;

    s->size = h->clusters * CLUSTER_SIZE;
    for (uint64_t p = 0; p < h->clusters; p++) {
        if (!id_is_null(row + p)) {
            s->n_ids++;
            s->n_runs += p == 0 || id_is_null(row + p - 1);
        }
    }
    s->data_bytes = s->n_ids * CLUSTER_SIZE;
    s->runs = runs = room(s->n_runs, sizeof *runs);
    s->ids = ids = room((size_t)s->n_ids, sizeof *ids);
    for (uint64_t p = 0, at = 0; p < h->clusters; p++) {
        if (id_is_null(row + p))
            continue;
        if (p == 0 || id_is_null(row + p - 1))
            *runs++ = (struct sig_run){p, 0, at};
        runs[-1].count++;
        ids[at++] = row[p];
    }
    return s;
}

static void expand(const struct herd *h, const struct sig *s, struct id *row)
{
    memset(row, 0, (size_t)h->clusters * sizeof *row);
    for (size_t k = 0; k < s->n_runs; k++)
        memcpy(row + s->runs[k].first, s->ids + s->runs[k].at,
               (size_t)s->runs[k].count * sizeof *row);
}

static void generate(struct herd *h)
{
    struct id *row = room((size_t)h->clusters, sizeof *row);
    size_t families = 1 + h->n / 100 * 2;

    h->sigs = room(h->n, sizeof(struct sig *));
    for (size_t i = 0; i < h->n; i++) {
        if (i < families) {
            memset(row, 0, (size_t)h->clusters * sizeof *row);
            fill_founder(h, row);
        } else {
            size_t family = i % families;

            expand(h, h->sigs[random_next() % (i / families) * families + family], row);
            change(h, row);
        }
        h->sigs[i] = sign(h, row);
    }
    free(row);
}

static double lap(double *since)
{
    double now = cpu_seconds(), taken = now - *since;

    *since = now;
    return taken;
}

static void peak(const char *name)
{
    struct rusage usage;

    getrusage(RUSAGE_SELF, &usage);
    printf(", \"%s_peak_mib\": %ld", name, usage.ru_maxrss / 1024);
}

static uint64_t relation_at(const void *arg, size_t i, size_t j)
{
    const struct relation *r = arg;

    return r->different[i * r->n + j];
}

static uint64_t relation_shared_at(const void *arg, size_t i, size_t j)
{
    const struct relation *r = arg;

    return r->shared[i * r->n + j];
}

static uint64_t sketch_at(const void *arg, size_t i, size_t j)
{
    return sketch_different(arg, i, j);
}

static uint64_t sketch_shared_at(const void *arg, size_t i, size_t j)
{
    return sketch_shared(arg, i, j);
}

static void run_trees(const char *name, const struct dendrogram_input *in)
{
    static const char *const linkages[] = {"single", "average", "complete"};

    for (int linkage = 0; linkage < 3; linkage++) {
        double since = cpu_seconds();
        struct dendrogram d;
        struct error e;

        if (dendrogram_build(in, linkage, &d, &e) != 0)
            die("the tree", &e);
        printf(", \"%s_%s_s\": %.3f", name, linkages[linkage], lap(&since));
        dendrogram_release(&d);
    }
}

static void run_plan(const char *name, const struct herd *h, const struct relation *r,
                     const struct sketch *s)
{
    struct plan_image *images = room(h->n, sizeof *images);
    double since;
    struct plan plan;
    struct error e;

    for (size_t i = 0; i < h->n; i++)
        images[i] = (struct plan_image){.allocated = h->sigs[i]->data_bytes, .backing = PLAN_NONE};
    since = cpu_seconds();
    if (plan_compute(images, h->sigs, h->n, r, s, false, &plan, &e) != 0)
        die("the plan", &e);
    printf(", \"%s_plan_s\": %.3f, \"%s_plan_saves_bytes\": %ju", name, lap(&since), name,
           (uintmax_t)plan.saves_bytes);
    plan_release(&plan);
    free(images);
}

static void run_exact(const struct herd *h, struct pool *pool)
{
    double since = cpu_seconds();
    struct relation r;
    struct error e;

    if (relation_compute(h->sigs, h->n, pool, NULL, NULL, &r, &e) != 0)
        die("the relation", &e);
    printf(", \"relation_s\": %.3f", lap(&since));
    peak("relation");
    run_trees("exact", &(struct dendrogram_input){h->n, relation_at, relation_shared_at, &r});
    run_plan("exact", h, &r, NULL);
    peak("exact");
    relation_release(&r);
}

static void run_sketch(const struct herd *h, struct pool *pool)
{
    double since = cpu_seconds();
    struct sketch s;
    struct error e;

    if (sketch_compute(h->sigs, h->n, 8, pool, NULL, NULL, &s, &e) != 0)
        die("the sketch", &e);
    printf(", \"sketch_s\": %.3f", lap(&since));
    peak("sketch");
    run_plan("sketch", h, NULL, &s);
    run_trees("sketch", &(struct dendrogram_input){h->n, sketch_at, sketch_shared_at, &s});
    peak("sketch_trees");
    sketch_release(&s);
}

/* What `stemma sign` would have written for that image. */
static int write_file(const struct sig *s, const char *path, struct error *e)
{
    struct id_run *runs = room(s->n_runs, sizeof *runs);
    struct id *ids = room((size_t)s->n_ids, sizeof *ids);
    AUTO(sig) *whole = NULL;
    AUTO_FD
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);

    for (size_t k = 0; k < s->n_runs; k++)
        runs[k] = (struct id_run){s->runs[k].first, s->runs[k].count};
    memcpy(ids, s->ids, (size_t)s->n_ids * sizeof *ids);
    if (sig_make(s->size, "raw", runs, s->n_runs, ids, &whole, e) != 0)
        return -1;
    return fd < 0 ? err_sys(e, "%s", path) : sig_write(whole, fd, e);
}

static void write_files(const struct herd *h, const char *folder)
{
    for (size_t i = 0; i < h->n; i++) {
        char path[4096];
        struct error e;

        snprintf(path, sizeof path, "%s/%05zu.sig", folder, i);
        if (write_file(h->sigs[i], path, &e) != 0)
            die("writing", &e);
    }
}

static void measure(const struct herd *h, const char *what, double since)
{
    struct error e;
    AUTO(pool) *pool = pool_new(1, &e);

    if (pool == NULL)
        die("threads", &e);
    printf("{\"images\": %zu, \"clusters\": %ju, \"kernel\": \"%s\", \"generate_s\": %.3f", h->n,
           (uintmax_t)h->clusters, relation_kernel_best()->name, lap(&since));
    peak("signatures");
    if (strcmp(what, "exact") != 0)
        run_sketch(h, pool);
    if (strcmp(what, "sketch") != 0)
        run_exact(h, pool);
    printf("}\n");
}

int main(int argc, char **argv)
{
    struct herd h = {.n = argc > 1 ? strtoul(argv[1], NULL, 10) : 100};
    double gib = argc > 2 ? strtod(argv[2], NULL) : 10, since = cpu_seconds();
    const char *what = argc > 3 ? argv[3] : "both";

    hash_init();
    h.clusters = (uint64_t)(gib * 16384);
    generate(&h);
    if (strcmp(what, "write") == 0)
        write_files(&h, argc > 4 ? argv[4] : ".");
    else
        measure(&h, what, since);
    for (size_t i = 0; i < h.n; i++) {
        free((void *)h.sigs[i]->runs);
        free((void *)h.sigs[i]->ids);
        free((void *)h.sigs[i]);
    }
    free(h.sigs);
    return 0;
}
