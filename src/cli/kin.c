/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "cli/kin.h"

#include <string.h>

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

/* The images are those that were asked for, in their order, less those that failed: rebase takes
 * the names for files to replace, so the worker has no say in them. */
static int check_names(const struct session *s, struct kinship *k, struct error *e)
{
    size_t source = 0;

    for (size_t i = 0; i < k->n; i++, source++) {
        while (source < s->sources.n &&
               strcmp(s->sources.items[source].name, k->images[i].path) != 0)
            source++;
        if (source >= s->sources.n)
            return err_set(e, ERR_PEER, "the worker tells of an image that nobody named");
        if (s->in_use != NULL && s->in_use[source])
            k->images[i].in_use = true;
    }
    return 0;
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
    if (rc == 0 && check_names(s, out, e) != 0) {
        kinship_release(out);
        rc = -1;
    }
    kinship_receiver_free(kin.receiver);
    return rc;
}
