/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "alloc_fail.h"

#include "test.h"

#include <errno.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static _Atomic uint64_t count, fails_at;

/* --wrap=NAME sends calls of NAME to __wrap_NAME and those of __real_NAME to the library. */
void *__real_malloc(size_t size);
void *__real_calloc(size_t n, size_t size);
void *__real_realloc(void *p, size_t size);
char *__real_strdup(const char *text);
char *__real_strndup(const char *text, size_t length);
int __real_vasprintf(char **out, const char *format, va_list args);

void *__wrap_malloc(size_t size);
void *__wrap_calloc(size_t n, size_t size);
void *__wrap_realloc(void *p, size_t size);
char *__wrap_strdup(const char *text);
char *__wrap_strndup(const char *text, size_t length);
int __wrap_vasprintf(char **out, const char *format, va_list args) PRINTF_LIKE(2, 0);
int __wrap_asprintf(char **out, const char *format, ...) PRINTF_LIKE(2, 3);

static bool fails(void)
{
    uint64_t n = atomic_fetch_add(&count, 1) + 1;

    if (n != fails_at)
        return false;
    errno = ENOMEM;
    return true;
}

void *__wrap_malloc(size_t size)
{
    return fails() ? NULL : __real_malloc(size);
}

void *__wrap_calloc(size_t n, size_t size)
{
    return fails() ? NULL : __real_calloc(n, size);
}

void *__wrap_realloc(void *p, size_t size)
{
    return fails() ? NULL : __real_realloc(p, size);
}

char *__wrap_strdup(const char *text)
{
    return fails() ? NULL : __real_strdup(text);
}

char *__wrap_strndup(const char *text, size_t length)
{
    return fails() ? NULL : __real_strndup(text, length);
}

int __wrap_vasprintf(char **out, const char *format, va_list args)
{
    return fails() ? -1 : __real_vasprintf(out, format, args);
}

int __wrap_asprintf(char **out, const char *format, ...)
{
    va_list args;
    int length;

    va_start(args, format);
    length = __wrap_vasprintf(out, format, args);
    va_end(args);
    return length;
}

void alloc_fail_at(uint64_t n)
{
    count = 0;
    fails_at = n;
}

uint64_t alloc_fail_count(void)
{
    return count;
}

uint64_t alloc_fail_each(int (*run)(void *arg, struct error *e), void *arg)
{
    for (uint64_t n = 1;; n++) {
        struct error e = {};
        uint64_t needed;
        int result;

        alloc_fail_at(n);
        result = run(arg, &e);
        needed = count;
        alloc_fail_at(0);
        if (needed < n) {
            if (result != 0)
                fail_msg("with enough memory: %s", e.msg);
            return needed;
        }
        if (result != -1 || e.code != ERR_MEMORY)
            fail_msg("allocation %ju failed and the call returned %d, %s: %s", (uintmax_t)n, result,
                     err_code_name(e.code), e.msg);
    }
}
