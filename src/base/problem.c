/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "base/problem.h"

#include <stdio.h>

void problem_report(const struct problem_sink *sink, enum severity severity, enum err_code code,
                    const char *object, uint64_t offset, const char *format, ...)
{
    char text[sizeof(struct error){}.msg];
    struct problem problem = {severity, code, offset, object, text};
    va_list args;

    if (sink == NULL || sink->report == NULL)
        return;
    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    sink->report(sink->arg, &problem);
}

void problem_report_error(const struct problem_sink *sink, const char *object,
                          const struct error *e)
{
    problem_report(sink, SEVERITY_ERROR, e->code, object, PROBLEM_NO_OFFSET, "%s", e->msg);
}
