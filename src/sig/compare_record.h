/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A comparison on its way from the worker to the front. */
#ifndef STEMMA_SIG_COMPARE_RECORD_H
#define STEMMA_SIG_COMPARE_RECORD_H

#include "base/record.h"
#include "sig/compare.h"

/* The record stream: types of their own; `send` is called for each record, in order; one record at
 * most RECORD_MAX bytes.
 *     COMPARISON_HEAD   u64 sizes[2], equal, zero, different, n_ranges; u32 granularity
 *     COMPARISON_RANGES any number of: u64 offset, length
 *     COMPARISON_END    nothing */
#define COMPARISON_RECORD_FIRST 0x200
#define COMPARISON_RECORD_LAST 0x2ff
enum comparison_record {
    COMPARISON_HEAD = COMPARISON_RECORD_FIRST,
    COMPARISON_RANGES,
    COMPARISON_END,
};

[[nodiscard]] int comparison_send(const struct comparison *c,
                                  int (*send)(void *arg, uint16_t type, const void *payload,
                                              size_t length, struct error *e),
                                  void *arg, struct error *e);

/* The other side, hostile: feed it each record of those types. What it holds is never more than
 * what was sent. ERR_PEER for a record that is out of order, or figures and ranges that do not
 * agree. */
struct comparison_receiver;
[[nodiscard]] struct comparison_receiver *comparison_receiver_new(struct error *e);
void comparison_receiver_free(struct comparison_receiver *r);
AUTO_DEFINE(comparison_receiver, comparison_receiver_free);
[[nodiscard]] int comparison_receive(struct comparison_receiver *r, uint16_t type,
                                     struct cursor payload, struct error *e);
/* True once the last record was received. */
bool comparison_receiver_done(const struct comparison_receiver *r);
/* The whole, once done (then owned by the caller); ERR_PEER before. */
[[nodiscard]] int comparison_receiver_take(struct comparison_receiver *r, struct comparison *out,
                                           struct error *e);

#endif
