/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "base/error.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

int err_set(struct error *e, enum err_code code, const char *format, ...)
{
    va_list args;

    e->code = code;
    e->sys = 0;
    va_start(args, format);
    vsnprintf(e->msg, sizeof e->msg, format, args);
    va_end(args);
    return -1;
}

static enum err_code code_of_errno(int sys)
{
    switch (sys) {
    case ENOENT:
    case ENOTDIR:
        return ERR_NOT_FOUND;
    case EACCES:
    case EPERM:
    case EROFS:
        return ERR_DENIED;
    case ENOMEM:
        return ERR_MEMORY;
    default:
        return ERR_IO;
    }
}

int err_sys(struct error *e, const char *format, ...)
{
    int sys = errno;
    size_t used;
    va_list args;

    e->code = code_of_errno(sys);
    e->sys = sys;
    va_start(args, format);
    vsnprintf(e->msg, sizeof e->msg, format, args);
    va_end(args);
    used = strlen(e->msg);
    snprintf(e->msg + used, sizeof e->msg - used, ": %s", strerrordesc_np(sys));
    return -1;
}

int err_wrap(struct error *e, const char *format, ...)
{
    char inner[sizeof e->msg];
    size_t used;
    va_list args;

    memcpy(inner, e->msg, sizeof inner);
    va_start(args, format);
    vsnprintf(e->msg, sizeof e->msg, format, args);
    va_end(args);
    used = strlen(e->msg);
    snprintf(e->msg + used, sizeof e->msg - used, ": %s", inner);
    return -1;
}

int err_memory(struct error *e, const char *what)
{
    return err_set(e, ERR_MEMORY, "out of memory for %s", what);
}

const char *err_code_name(enum err_code code)
{
    static const char *const names[ERR_CODES] = {
        [ERR_NONE] = "none",
        [ERR_USAGE] = "usage",
        [ERR_NOT_FOUND] = "not-found",
        [ERR_DENIED] = "denied",
        [ERR_IO] = "io",
        [ERR_FORMAT] = "format",
        [ERR_UNSUPPORTED] = "unsupported",
        [ERR_LIMIT] = "limit",
        [ERR_IN_USE] = "in-use",
        [ERR_CHANGED] = "changed",
        [ERR_MEMORY] = "memory",
        [ERR_PEER] = "peer",
        [ERR_CANCELLED] = "cancelled",
        [ERR_INTERNAL] = "internal",
    };

    if ((unsigned)code >= ERR_CODES)
        return "internal";
    return names[code];
}
