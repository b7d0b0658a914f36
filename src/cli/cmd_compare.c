/* SPDX-License-Identifier: GPL-2.0-or-later */
/* stemma compare A B */
#include "base/text.h"
#include "cli/common.h"
#include "sig/compare.h"
#include "sig/compare_record.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

struct compare_options {
    struct common_options common;
    bool strict, exact, ranges;
};

static const struct option_row rows[] = {
    {OPTION_FLAG, "strict", 0, NULL, "disks of different size are not equal",
     offsetof(struct compare_options, strict)},
    {OPTION_FLAG, "exact", 0, NULL,
     "read the clusters that differ and tell the difference to the byte",
     offsetof(struct compare_options, exact)},
    {OPTION_FLAG, "ranges", 0, NULL, "list the ranges that differ",
     offsetof(struct compare_options, ranges)},
    {},
};

struct result {
    struct comparison_receiver *receiver;
};

static int take_record(void *arg, uint16_t type, struct cursor payload, struct error *e)
{
    struct result *r = arg;

    return comparison_receive(r->receiver, type, payload, e);
}

static void print_json(const struct session *s, const struct comparison *c, bool equal,
                       struct buf *out)
{
    struct json j;

    json_init(&j, out);
    json_object(&j, NULL);
    json_bool(&j, "equal", equal);
    json_array(&j, "sizes");
    json_u64(&j, NULL, c->sizes[0]);
    json_u64(&j, NULL, c->sizes[1]);
    json_array_end(&j);
    json_u64(&j, "equal_bytes", c->equal_bytes);
    json_u64(&j, "zero_bytes", c->zero_bytes);
    json_u64(&j, "different_bytes", c->different_bytes);
    if (c->first_difference == UINT64_MAX)
        json_null(&j, "first_difference");
    else
        json_u64(&j, "first_difference", c->first_difference);
    json_u64(&j, "granularity", c->granularity);
    json_array(&j, "ranges");
    for (size_t i = 0; i < c->n_ranges; i++) {
        json_array(&j, NULL);
        json_u64(&j, NULL, c->ranges[i].offset);
        json_u64(&j, NULL, c->ranges[i].length);
        json_array_end(&j);
    }
    json_array_end(&j);
    session_json(s, &j);
    json_object_end(&j);
    buf_put_u8(out, '\n');
}

static void print_line(struct buf *out, const char *label, uint64_t bytes)
{
    char size[TEXT_SIZE_MAX];

    buf_printf(out, "  %-10s %10s  (%" PRIu64 " bytes)\n", label, text_size(size, bytes), bytes);
}

static void print_text(const struct session *s, const struct compare_options *o,
                       const struct comparison *c, bool equal, struct buf *out)
{
    AUTO_FREE char *a = shown(s->sources.items[0].name);
    AUTO_FREE char *b = shown(s->sources.items[1].name);
    char size[2][TEXT_SIZE_MAX];

    buf_printf(out, "%s and %s are %s\n", a, b, equal ? "equal" : "different");
    if (c->sizes[0] != c->sizes[1])
        buf_printf(out, "  sizes differ: %s and %s (%" PRIu64 " and %" PRIu64 " bytes)%s\n",
                   text_size(size[0], c->sizes[0]), text_size(size[1], c->sizes[1]), c->sizes[0],
                   c->sizes[1], o->strict ? "" : "; the shorter continues as zeros");
    print_line(out, "equal", c->equal_bytes);
    print_line(out, "zero", c->zero_bytes);
    print_line(out, "different", c->different_bytes);
    if (c->first_difference != UINT64_MAX)
        buf_printf(out, "  first difference at offset %" PRIu64 "%s\n", c->first_difference,
                   c->granularity == 1 ? ""
                                       : " (clusters of 64 KiB; --exact tells it to the byte)");
    for (size_t i = 0; o->ranges && i < c->n_ranges; i++)
        buf_printf(out, "%" PRIu64 " %" PRIu64 "\n", c->ranges[i].offset, c->ranges[i].length);
}

static int compare(struct session *s, const struct compare_options *o)
{
    AUTO(comparison_receiver) *receiver = NULL;
    struct job job = {.kind = JOB_COMPARE, .exact = o->exact};
    struct result result = {};
    struct comparison c = {};
    struct buf out = {};
    struct error e;
    bool equal;
    int rc;

    if (s->failed)
        return session_failed(s);
    if (s->sources.n != 2) {
        err_set(&e, ERR_USAGE, "two images are compared, these are %zu", s->sources.n);
        return session_fail(s, "", &e);
    }
    receiver = comparison_receiver_new(&e);
    result.receiver = receiver;
    rc = receiver == NULL ? -1
                          : session_run(s, &job, s->sources.items, NULL, 2, NULL, take_record, NULL,
                                        &result, &e);
    job_release(&job);
    if (rc == 0)
        rc = comparison_receiver_take(receiver, &c, &e);
    if (rc != 0) {
        if (s->failed && e.code != ERR_CANCELLED)
            return session_failed(s);
        return session_fail(s, "", &e);
    }
    equal = c.different_bytes == 0 && (!o->strict || c.sizes[0] == c.sizes[1]);
    if (o->common.json)
        print_json(s, &c, equal, &out);
    else
        print_text(s, o, &c, equal, &out);
    comparison_release(&c);
    return print_document(&out, session_status(s, equal ? 0 : 1));
}

static int run(void *options, const struct strings *arguments)
{
    const struct compare_options *o = options;
    struct session s;
    int status = session_open(&s, &o->common, arguments);

    if (status == 0)
        status = compare(&s, o);
    session_close(&s);
    return status;
}

const struct command command_compare = {
    .name = "compare",
    .arguments = "A B",
    .summary = "compare two disks block by block",
    .about = "Tells whether two disks have the same content, and how much of it is equal, zero in "
             "both, or "
             "different. Each is an image of any format, a signature file, or an NBD export. A "
             "shorter disk "
             "continues as zeros. Exit status 1 when the contents differ.\n\n"
             "Differences are told to the cluster of 64 KiB, from signatures alone where they are "
             "known; "
             "--exact reads the clusters that differ.",
    .options = rows,
    .common = true,
    .options_size = sizeof(struct compare_options),
    .min_arguments = 0,
    .max_arguments = 2,
    .run = run,
};
