/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "base/mem.h"

#include "base/ckd.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void *mem_array(size_t n, size_t size, const char *what, struct error *e)
{
    size_t bytes;
    void *p = NULL;

    /* checked here too, because sanitizers end the program where calloc() returns NULL */
    if (!ckd_mul(&bytes, n, size))
        p = calloc(n == 0 ? 1 : n, size);
    if (p == NULL)
        err_memory(e, what);
    return p;
}

int mem_grow(void *array, size_t *capacity, size_t needed, size_t size, const char *what,
             struct error *e)
{
    size_t larger = *capacity < 8 ? 8 : *capacity;
    size_t bytes;
    void *old, *grown;

    if (needed <= *capacity)
        return 0;
    while (larger < needed) {
        if (ckd_mul(&larger, larger, 2))
            return err_memory(e, what);
    }
    if (ckd_mul(&bytes, larger, size))
        return err_memory(e, what);
    memcpy(&old, array, sizeof old);
    grown = realloc(old, bytes);
    if (grown == NULL)
        return err_memory(e, what);
    memset((char *)grown + *capacity * size, 0, bytes - *capacity * size);
    memcpy(array, &grown, sizeof grown);
    *capacity = larger;
    return 0;
}

char *mem_string(const char *text, struct error *e)
{
    char *copy = strdup(text);

    if (copy == NULL)
        err_memory(e, "a string");
    return copy;
}

char *mem_printf(struct error *e, const char *format, ...)
{
    char *text = NULL;
    va_list args;
    int length;

    va_start(args, format);
    length = vasprintf(&text, format, args);
    va_end(args);
    if (length < 0) {
        err_memory(e, "a string");
        return NULL;
    }
    return text;
}
