/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The jobs a worker can be given, and their requests as the front writes and the worker reads them.
 */
#ifndef STEMMA_APP_JOB_H
#define STEMMA_APP_JOB_H

#include "base/record.h"
#include "cluster/dendrogram.h"

#include <stdbool.h>

enum job_kind {
    JOB_TREE = 1, /* sign all sources, relate them: kinship records */
    JOB_SIGN,     /* sign each source, write it to output number i: MSG_SIGNED each */
    JOB_COMPARE,  /* two sources: comparison records */
    JOB_OVERLAY,  /* output 0 becomes an overlay with source 0's content on source 1 (or an empty
                     one) */
    JOB_VERIFY,   /* source 1 has exactly the content of source 0 */
    JOB_GUESTS,   /* source 0 is a guest's definition: MSG_GUEST each */
    JOB_INSPECT,  /* open each source and say what it is: MSG_IMAGE each */
};

/* What the worker needs to know of a source before it asks for it. */
struct job_source {
    char *name;
    char *guest, *fixed, *format, *snapshot, *export_name; /* may be NULL */
    bool in_use;                                           /* said by the user */
    bool skip;                                             /* already failed in this run */
};

struct job {
    enum job_kind kind;
    size_t n_sources;
    struct job_source *sources;

    /* JOB_TREE */
    enum linkage linkage;
    double threshold; /* 0 to 1 */
    bool plan, all, sketch, matrix;
    bool images_only; /* the plan is to be carried out: signature files take no part */

    /* JOB_COMPARE */
    bool exact;

    /* JOB_OVERLAY */
    bool empty; /* a fresh layer: nothing of its own */
    char *backing_name, *backing_format;

    /* JOB_GUESTS */
    bool pve;            /* else libvirt */
    bool storage_config; /* source 1 is Proxmox's storage.cfg */
};

void job_release(struct job *job);

/* The request's payload, kind first; split by the caller into records (it may be larger than one).
 */
void job_encode(struct buf *out, const struct job *job);
[[nodiscard]] int job_decode(struct cursor *c, struct job *out, struct error *e);

#endif
