/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The walls of the worker. After sealing, a process can read and write the descriptors it holds and
 * compute; it cannot open, connect, execute, trace or make threads. seccomp carries the promise;
 * Landlock, where the kernel has it, is the second wall. */
#ifndef STEMMA_APP_SEAL_H
#define STEMMA_APP_SEAL_H

#include "base/error.h"

#include <stdbool.h>

/* Built with a sanitizer, which needs more than the walls allow otherwise. */
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define SANITIZED 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
#define SANITIZED 1
#endif
#endif
#ifndef SANITIZED
#define SANITIZED 0
#endif

enum sandbox_mode {
    SANDBOX_AUTO,    /* seccomp must work; Landlock where the kernel has it */
    SANDBOX_REQUIRE, /* both must work */
    SANDBOX_OFF,     /* none: for debugging, and for kernels without seccomp */
};

/* Limits of the process and Landlock: before threads are made, because they inherit it. */
[[nodiscard]] int seal_before_threads(enum sandbox_mode mode, struct error *e);

/* seccomp for all threads: the last step. */
[[nodiscard]] int seal_after_threads(enum sandbox_mode mode, struct error *e);

/* Tries what must not work ("open", "create", "socket", "exec", "uring", "thread",
 * "signal", "owner") and says in `out` how it
 * was refused; where the kernel kills instead, it does not return. ERR_INTERNAL when it worked. */
[[nodiscard]] int seal_probe(const char *what, char out[128], struct error *e);

#endif
