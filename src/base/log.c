/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "base/log.h"

#include "base/io.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* The value of STEMMA_DEBUG; written by log_init() only, before there are threads. A copy, because
 * the environment may change. */
static char topics[256];

void log_init(void)
{
    const char *value = getenv("STEMMA_DEBUG");

    snprintf(topics, sizeof topics, "%s", value == NULL ? "" : value);
}

static bool is_listed(const char *name)
{
    size_t length = strlen(name);

    for (const char *at = topics; *at != 0; at += *at == ',') {
        size_t n = strcspn(at, ",");

        if (n == length && memcmp(at, name, n) == 0)
            return true;
        at += n;
    }
    return false;
}

bool log_enabled(const char *topic)
{
    return topics[0] != 0 && (is_listed(topic) || is_listed("all"));
}

void log_debug(const char *topic, const char *format, ...)
{
    char line[1024];
    struct error ignored;
    size_t length;
    va_list args;

    if (!log_enabled(topic))
        return;
    length = (size_t)snprintf(line, sizeof line / 2, "stemma[%s]: ", topic);
    if (length >= sizeof line / 2)
        length = sizeof line / 2 - 1;
    va_start(args, format);
    vsnprintf(line + length, sizeof line - 1 - length, format, args);
    va_end(args);
    /* foreign names must not steer the terminal or begin lines of their own */
    for (length = 0; line[length] != 0; length++) {
        if ((unsigned char)line[length] < ' ' || line[length] == 0x7f)
            line[length] = '?';
    }
    line[length++] = '\n';
    (void)!io_write(STDERR_FILENO, line, length, &ignored);
}
