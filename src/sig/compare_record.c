/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "sig/compare_record.h"

#include "base/ckd.h"
#include "base/mem.h"

#define RANGE 16 /* bytes */
#define RANGES_MAX (RECORD_MAX / RANGE)

static int send_ranges(const struct byte_range *ranges, size_t n,
                       int (*send)(void *arg, uint16_t type, const void *payload, size_t length,
                                   struct error *e),
                       void *arg, struct error *e)
{
    AUTO_BUF b = {};

    for (size_t i = 0; i < n; i++) {
        buf_put_u64(&b, ranges[i].offset);
        buf_put_u64(&b, ranges[i].length);
    }
    return buf_check(&b, "a record", e) != 0 ? -1
                                             : send(arg, COMPARISON_RANGES, b.bytes, b.length, e);
}

int comparison_send(const struct comparison *c,
                    int (*send)(void *arg, uint16_t type, const void *payload, size_t length,
                                struct error *e),
                    void *arg, struct error *e)
{
    AUTO_BUF b = {};

    buf_put_u64(&b, c->sizes[0]);
    buf_put_u64(&b, c->sizes[1]);
    buf_put_u64(&b, c->equal_bytes);
    buf_put_u64(&b, c->zero_bytes);
    buf_put_u64(&b, c->different_bytes);
    buf_put_u64(&b, c->n_ranges);
    buf_put_u32(&b, c->granularity);
    if (buf_check(&b, "a record", e) != 0 || send(arg, COMPARISON_HEAD, b.bytes, b.length, e) != 0)
        return -1;
    for (size_t i = 0; i < c->n_ranges; i += RANGES_MAX) {
        size_t n = c->n_ranges - i < RANGES_MAX ? c->n_ranges - i : RANGES_MAX;

        if (send_ranges(c->ranges + i, n, send, arg, e) != 0)
            return -1;
    }
    return send(arg, COMPARISON_END, NULL, 0, e);
}

struct comparison_receiver {
    struct comparison whole;
    uint64_t claimed;   /* ranges that the head announced */
    uint64_t different; /* bytes in those that came */
    size_t capacity;
    bool headed, done;
};

struct comparison_receiver *comparison_receiver_new(struct error *e)
{
    return mem_array(1, sizeof(struct comparison_receiver), "a receiver", e);
}

void comparison_receiver_free(struct comparison_receiver *r)
{
    if (r != NULL)
        comparison_release(&r->whole);
    free(r);
}

static int senseless(struct error *e, const char *what)
{
    return err_set(e, ERR_PEER, "the worker sent a comparison whose %s make no sense", what);
}

static int receive_head(struct comparison_receiver *r, struct cursor c, struct error *e)
{
    struct comparison *w = &r->whole;
    uint64_t sum;

    for (unsigned i = 0; i < 2; i++)
        w->sizes[i] = cursor_le64(&c);
    w->equal_bytes = cursor_le64(&c);
    w->zero_bytes = cursor_le64(&c);
    w->different_bytes = cursor_le64(&c);
    r->claimed = cursor_le64(&c);
    w->granularity = cursor_le32(&c);
    if (c.bad || cursor_left(&c) > 0 || r->headed)
        return senseless(e, "records");
    if (w->sizes[0] > DISK_SIZE_MAX || w->sizes[1] > DISK_SIZE_MAX ||
        ckd_add(&sum, w->equal_bytes, w->zero_bytes) || ckd_add(&sum, sum, w->different_bytes) ||
        sum != max_u64(w->sizes[0], w->sizes[1]) ||
        (w->granularity != 1 && w->granularity != BLOCK_SIZE && w->granularity != CLUSTER_SIZE))
        return senseless(e, "figures");
    r->headed = true;
    return 0;
}

/* Rising, apart from each other, on the larger disk. */
static int receive_range(struct comparison_receiver *r, uint64_t offset, uint64_t length,
                         struct error *e)
{
    struct comparison *w = &r->whole;
    const struct byte_range *last = w->n_ranges > 0 ? &w->ranges[w->n_ranges - 1] : NULL;

    if (w->n_ranges >= r->claimed || length == 0 ||
        range_outside(offset, length, max_u64(w->sizes[0], w->sizes[1])) ||
        (last != NULL && offset <= last->offset + last->length))
        return senseless(e, "ranges");
    if (mem_grow(&w->ranges, &r->capacity, w->n_ranges + 1, sizeof *w->ranges, "ranges that differ",
                 e) != 0)
        return -1;
    w->ranges[w->n_ranges++] = (struct byte_range){offset, length};
    r->different += length;
    return 0;
}

static int receive_ranges(struct comparison_receiver *r, struct cursor c, struct error *e)
{
    if (!r->headed || cursor_left(&c) == 0 || cursor_left(&c) % RANGE != 0)
        return senseless(e, "records");
    while (cursor_left(&c) > 0) {
        uint64_t offset = cursor_le64(&c), length = cursor_le64(&c);

        if (receive_range(r, offset, length, e) != 0)
            return -1;
    }
    return 0;
}

static int receive_end(struct comparison_receiver *r, struct cursor c, struct error *e)
{
    struct comparison *w = &r->whole;

    if (!r->headed || cursor_left(&c) > 0)
        return senseless(e, "records");
    if (w->n_ranges != r->claimed || r->different != w->different_bytes)
        return senseless(e, "ranges");
    w->first_difference = w->n_ranges > 0 ? w->ranges[0].offset : UINT64_MAX;
    r->done = true;
    return 0;
}

int comparison_receive(struct comparison_receiver *r, uint16_t type, struct cursor payload,
                       struct error *e)
{
    if (r->done)
        return senseless(e, "records");
    switch (type) {
    case COMPARISON_HEAD:
        return receive_head(r, payload, e);
    case COMPARISON_RANGES:
        return receive_ranges(r, payload, e);
    case COMPARISON_END:
        return receive_end(r, payload, e);
    default:
        return senseless(e, "records");
    }
}

bool comparison_receiver_done(const struct comparison_receiver *r)
{
    return r->done;
}

int comparison_receiver_take(struct comparison_receiver *r, struct comparison *out, struct error *e)
{
    if (!r->done)
        return err_set(e, ERR_PEER, "the worker ended before its comparison was whole");
    *out = r->whole;
    *r = (struct comparison_receiver){};
    return 0;
}
