/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The open side of the wall: starts the sealed worker, gives it jobs, opens for it what it may
 * have, and receives its records, all of which it treats as hostile. */
#ifndef STEMMA_APP_FRONT_H
#define STEMMA_APP_FRONT_H

#include "app/cache_folder.h"
#include "app/job.h"
#include "app/opener.h"
#include "app/protocol.h"
#include "app/seal.h"
#include "app/source.h"
#include "base/problem.h"

struct front;

/* Where a job's outputs go. `create` gives a descriptor that the front lends to the worker and
 * closes; `commit` says that output is whole (or not wanted). */
struct front_outputs {
    int (*create)(void *arg, uint32_t output, int *fd, struct error *e);
    int (*commit)(void *arg, uint32_t output, bool keep, struct error *e);
    void *arg;
};

struct front_options {
    enum sandbox_mode sandbox;
    size_t threads;               /* of the worker */
    struct opener *opener;        /* borrowed, as all below */
    struct cache_folder *cache;   /* NULL: none */
    struct problem_sink problems; /* what worker and front find beside the results */
    /* called about ten times a second while a job runs, with the worker's counters (untrusted) */
    void (*tick)(void *arg, uint64_t done, uint64_t total, uint32_t source);
    void *tick_arg;
    /* what a probe of the sandbox found (STEMMA_PROBE) */
    void (*note)(void *arg, const char *text);
    void *note_arg;
    const struct cancel *cancel;
};

/* Nothing is started yet. */
[[nodiscard]] struct front *front_new(const struct front_options *o, struct error *e);
void front_free(struct front *f); /* ends the worker and whatever it had running */
AUTO_DEFINE(front, front_free);

/* What a job hands back besides its status. */
struct front_results {
    /* Every record of a type that is not the protocol's own; ERR_PEER ends the worker. */
    int (*record)(void *arg, uint16_t type, struct cursor payload, struct error *e);
    /* This source has no result (told once). */
    void (*failed)(void *arg, uint32_t source, const struct error *why);
    /* The worker died and the job starts anew without the source it was at: forget all records. */
    void (*again)(void *arg);
    void *arg;
};

/* Runs one job over sources[0..n): their fields are copied into job->sources, which the caller
 * leaves empty. `outputs` may be NULL. ERR_CANCELLED; ERR_PEER when the worker keeps dying. */
[[nodiscard]] int front_run(struct front *f, struct job *job, const struct source *sources,
                            const bool *in_use, size_t n, const struct front_outputs *outputs,
                            const struct front_results *results, struct error *e);

#endif
