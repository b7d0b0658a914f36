/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Ownership at the end of a scope: variables that release themselves, and how to hand one over.
 *
 *     AUTO_FREE char *name = NULL;      free()
 *     AUTO_FD int fd = -1;              close() unless negative
 *     AUTO(disk) *d = NULL;             disk_close(), wherever AUTO_DEFINE(disk, disk_close) stands
 *     return take(d);                   the caller owns it now
 */
#ifndef STEMMA_BASE_AUTO_H
#define STEMMA_BASE_AUTO_H

#include <stdlib.h>
#include <unistd.h>

static inline void auto_free_(void *p)
{
    free(*(void **)p);
}

static inline void auto_fd_(int *fd)
{
    if (*fd >= 0)
        close(*fd);
}

/* "unused", because clang warns of a variable that is only there to be released; gcc does not. */
#define AUTO_FREE __attribute__((cleanup(auto_free_), unused))
#define AUTO_FD __attribute__((cleanup(auto_fd_), unused))

/* Defines what AUTO(tag) does with a `struct tag *`: FUNCTION(pointer), which must accept NULL. */
#define AUTO_DEFINE(tag, function)                                                                 \
    static inline void auto_##tag##_(struct tag **p)                                               \
    {                                                                                              \
        function(*p);                                                                              \
    }                                                                                              \
    _Static_assert(1, "")

#define AUTO(tag) __attribute__((cleanup(auto_##tag##_), unused)) struct tag

/* The pointer's value; the variable itself becomes NULL, so that nothing is released here. */
#define take(p)                                                                                    \
    ({                                                                                             \
        typeof(p) taken_ = (p);                                                                    \
        (p) = NULL;                                                                                \
        taken_;                                                                                    \
    })

/* The same for a descriptor. */
static inline int take_fd(int *fd)
{
    int taken = *fd;

    *fd = -1;
    return taken;
}

#endif
