/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "cli/kin.h"

struct kin {
    struct kinship_receiver *receiver;
};

static int take_record(void *arg, uint16_t type, struct cursor payload, struct error *e)
{
    struct kin *kin = arg;

    if (kin->receiver == NULL)
        return err_memory(e, "the family tree");
    return kinship_receive(kin->receiver, type, payload, e);
}

/* The worker died: what it said so far does not count. */
static void forget(void *arg)
{
    struct kin *kin = arg;
    struct error ignored;

    kinship_receiver_free(kin->receiver);
    kin->receiver = kinship_receiver_new(&ignored);
}

int kin_find(struct session *s, struct job *job, struct kinship *out, struct error *e)
{
    struct kin kin = {.receiver = kinship_receiver_new(e)};
    int rc = kin.receiver == NULL ? -1 : 0;

    job->kind = JOB_TREE;
    job->plan = true; /* it costs nothing, and the summary tells what it would save */
    if (rc == 0)
        rc = session_run(s, job, s->sources.items, s->in_use, s->sources.n, NULL, take_record,
                         forget, &kin, e);
    job_release(job);
    if (rc == 0)
        rc = kinship_receiver_take(kin.receiver, out, e);
    kinship_receiver_free(kin.receiver);
    return rc;
}
