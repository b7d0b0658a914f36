/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Problems: what is wrong beside a call that goes on. They are collected by whoever passed the sink
 * and end up as warnings on standard error and in the JSON document's "errors". */
#ifndef STEMMA_BASE_PROBLEM_H
#define STEMMA_BASE_PROBLEM_H

#include "base/error.h"

#include <stdint.h>

enum severity {
    SEVERITY_WARNING, /* the result is right, but the user should know */
    SEVERITY_ERROR,   /* a part of the result is missing: exit 3 */
};

#define PROBLEM_NO_OFFSET UINT64_MAX

struct problem {
    enum severity severity;
    enum err_code code;
    uint64_t offset;    /* in the object, or PROBLEM_NO_OFFSET */
    const char *object; /* what it is about: a path, mostly */
    const char *text;   /* one line */
};

/* `report` may be called from any thread and must not keep the pointers. */
struct problem_sink {
    void (*report)(void *arg, const struct problem *problem);
    void *arg;
};

/* A sink without a function drops the problem. */
void problem_report(const struct problem_sink *sink, enum severity severity, enum err_code code,
                    const char *object, uint64_t offset, const char *format, ...) PRINTF_LIKE(6, 7);

/* Reports an error that one item of several ended with. */
void problem_report_error(const struct problem_sink *sink, const char *object,
                          const struct error *e);

#endif
