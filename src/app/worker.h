/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The sealed process: the only one that looks into images. It starts as `stemma --worker`, seals
 * itself before it receives the first descriptor, runs the jobs that the front sends, and streams
 * what it finds as records. */
#ifndef STEMMA_APP_WORKER_H
#define STEMMA_APP_WORKER_H

#include "app/job.h"
#include "app/protocol.h"
#include "app/seal.h"
#include "base/pool.h"
#include "disk/disk.h"
#include "sig/library.h"

/* Descriptors a worker is born with. */
#define WORKER_SOCKET 3
#define WORKER_PAGE 4

/* Exit status of a worker that met an image which is read through libnbd, but was started without
 * it (loading needs files, so it comes before sealing): start another one with it. */
#define WORKER_WANTS_NBD 42

struct worker;

/* The whole life of the process; its exit status. argv: --worker MODE THREADS cache|none nbd|none.
 */
int worker_main(int argc, char **argv);

/* ---- for the jobs (app/job_*.c), all called by the main thread ---- */
struct pool *worker_pool(struct worker *w);
struct shared_page *worker_page(struct worker *w);
const struct disk_env *worker_env(struct worker *w);
const struct scan_options *worker_scan(struct worker *w);
const struct sig_cache *worker_cache(struct worker *w); /* NULL: none */

/* Sends one record of a result. */
[[nodiscard]] int worker_send(void *w, uint16_t type, const void *payload, size_t length,
                              struct error *e);

/* This source has no result. Problems of the connection itself end the process. */
void worker_failed(struct worker *w, uint32_t source, const struct error *failure);

/* A source as the front opened it: a host file, or the socket of an NBD server. */
struct worker_source {
    char *name;             /* owned */
    struct host_file *file; /* a reference; NULL for NBD */
    int socket;             /* -1, or owned */
};
[[nodiscard]] int worker_open_source(struct worker *w, uint32_t source, struct worker_source *out,
                                     struct error *e);
void worker_source_release(struct worker_source *s);

/* The file to write output number `output` to, and the word that it is whole. */
[[nodiscard]] int worker_output_create(struct worker *w, uint32_t output, int *fd, struct error *e);
[[nodiscard]] int worker_output_commit(struct worker *w, uint32_t output, bool keep,
                                       struct error *e);

/* The jobs. Each returns 0 when it did what could be done; what failed was told per source. */
int job_run_tree(struct worker *w, const struct job *job, struct error *e);
int job_run_sign(struct worker *w, const struct job *job, struct error *e);
int job_run_compare(struct worker *w, const struct job *job, struct error *e);
int job_run_overlay(struct worker *w, const struct job *job, struct error *e);
int job_run_verify(struct worker *w, const struct job *job, struct error *e);
int job_run_guests(struct worker *w, const struct job *job, struct error *e);
int job_run_inspect(struct worker *w, const struct job *job, struct error *e);

#endif
