/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Errors: why a call did not do what it was asked to.
 *
 * A fallible function takes `struct error *e` last (on the caller's stack, never NULL), returns 0
 * or -1 and ends in `return err_set(e, ERR_FORMAT, "...")`. Callers add what they were doing with
 * `return err_wrap(e, "%s", path)`, so that a message reads from the outside in:
 * `a.qcow2: backing file b.qcow2: No such file or directory`. What goes wrong beside a call that
 * goes on is a problem (base/problem.h), not an error. */
#ifndef STEMMA_BASE_ERROR_H
#define STEMMA_BASE_ERROR_H

#include <stdarg.h>

#define PRINTF_LIKE(fmt_, first_) __attribute__((format(printf, fmt_, first_)))

/* The code decides the exit status and is the "code" of JSON output; see err_code_name(). */
enum err_code {
    ERR_NONE = 0,
    ERR_USAGE,       /* the command line is wrong: exit 2 */
    ERR_NOT_FOUND,   /* a file, snapshot or entry does not exist */
    ERR_DENIED,      /* the system or our own policy does not allow it */
    ERR_IO,          /* reading or writing failed */
    ERR_FORMAT,      /* the input is damaged or not what it claims to be */
    ERR_UNSUPPORTED, /* well-formed, but nothing here can read it */
    ERR_LIMIT,       /* larger, deeper or more than we accept */
    ERR_IN_USE,      /* somebody else writes to it */
    ERR_CHANGED,     /* it changed while we were reading it */
    ERR_MEMORY,      /* an allocation failed */
    ERR_PEER,        /* a helper process or server died, hung or broke its protocol */
    ERR_CANCELLED,   /* the user interrupted: exit 130 */
    ERR_INTERNAL,    /* a fault of stemma itself */
    ERR_CODES
};

struct error {
    enum err_code code;
    int sys;       /* errno, or 0 */
    char msg[512]; /* one line, no newline at its end; cut when longer */
};

/* Sets code and message; always returns -1. */
int err_set(struct error *e, enum err_code code, const char *format, ...) PRINTF_LIKE(3, 4);

/* The same from errno: appends ": " and its text, and derives the code from it
 * (ENOENT: ERR_NOT_FOUND, EACCES and EPERM: ERR_DENIED, ENOMEM: ERR_MEMORY, else ERR_IO). */
int err_sys(struct error *e, const char *format, ...) PRINTF_LIKE(2, 3);

/* Puts "CONTEXT: " before the message; always returns -1. */
int err_wrap(struct error *e, const char *format, ...) PRINTF_LIKE(2, 3);

/* ERR_MEMORY for `what`; always returns -1. */
int err_memory(struct error *e, const char *what);

/* The stable name of a code ("not-found"), as it stands in JSON. */
const char *err_code_name(enum err_code code);

#endif
