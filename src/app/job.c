/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "app/job.h"

#include "app/protocol.h"
#include "base/mem.h"

#include <stdlib.h>
#include <string.h>

void job_release(struct job *job)
{
    for (size_t i = 0; job->sources != NULL && i < job->n_sources; i++) {
        struct job_source *s = &job->sources[i];

        free(s->name);
        free(s->guest);
        free(s->fixed);
        free(s->format);
        free(s->snapshot);
        free(s->export_name);
    }
    free(job->sources);
    free(job->backing_name);
    free(job->backing_format);
    *job = (struct job){};
}

static void put_source(struct buf *b, const struct job_source *s)
{
    buf_put_string(b, s->name);
    buf_put_optional(b, s->guest);
    buf_put_optional(b, s->fixed);
    buf_put_optional(b, s->format);
    buf_put_optional(b, s->snapshot);
    buf_put_optional(b, s->export_name);
    buf_put_u8(b, (uint8_t)(s->in_use | s->skip << 1));
}

static void get_source(struct cursor *c, struct job_source *s)
{
    uint8_t flags;

    s->name = cursor_string(c, STRING_MAX);
    s->guest = cursor_optional(c, STRING_MAX);
    s->fixed = cursor_optional(c, STRING_MAX);
    s->format = cursor_optional(c, STRING_MAX);
    s->snapshot = cursor_optional(c, STRING_MAX);
    s->export_name = cursor_optional(c, STRING_MAX);
    flags = cursor_u8(c);
    s->in_use = flags & 1;
    s->skip = flags & 2;
}

void job_encode(struct buf *out, const struct job *job)
{
    uint64_t threshold;

    memcpy(&threshold, &job->threshold, sizeof threshold);
    buf_put_u16(out, (uint16_t)job->kind);
    buf_put_u8(out, (uint8_t)job->linkage);
    buf_put_u64(out, threshold);
    buf_put_u16(out, (uint16_t)(job->plan | job->all << 1 | job->sketch << 2 | job->matrix << 3 |
                                job->exact << 4 | job->empty << 5 | job->pve << 6 |
                                job->storage_config << 7 | job->images_only << 8));
    buf_put_optional(out, job->backing_name);
    buf_put_optional(out, job->backing_format);
    buf_put_u32(out, (uint32_t)job->n_sources);
    for (size_t i = 0; i < job->n_sources; i++)
        put_source(out, &job->sources[i]);
}

int job_decode(struct cursor *c, struct job *out, struct error *e)
{
    struct job job = {.kind = (enum job_kind)cursor_le16(c)};
    uint64_t threshold;
    unsigned flags;
    uint32_t n;

    job.linkage = (enum linkage)cursor_u8(c);
    threshold = cursor_le64(c);
    memcpy(&job.threshold, &threshold, sizeof threshold);
    flags = cursor_le16(c);
    job.plan = flags & 1;
    job.all = flags & 2;
    job.sketch = flags & 4;
    job.matrix = flags & 8;
    job.exact = flags & 16;
    job.empty = flags & 32;
    job.pve = flags & 64;
    job.storage_config = flags & 128;
    job.images_only = flags & 256;
    job.backing_name = cursor_optional(c, STRING_MAX);
    job.backing_format = cursor_optional(c, STRING_MAX);
    n = cursor_le32(c);
    if (n > cursor_left(c)) { /* a source takes more than a byte */
        job_release(&job);
        return err_set(e, ERR_PEER, "a job of %u sources in %zu bytes", n, cursor_left(c));
    }
    job.sources = mem_array(n, sizeof *job.sources, "the sources of a job", e);
    if (job.sources == NULL) {
        job_release(&job);
        return -1;
    }
    job.n_sources = n;
    for (uint32_t i = 0; i < n && !c->bad; i++)
        get_source(c, &job.sources[i]);
    if (c->bad) {
        job_release(&job);
        return err_set(e, ERR_PEER, "a job that is cut short");
    }
    *out = job;
    return 0;
}
