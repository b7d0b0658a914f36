/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Landlock: a process gives up access to files and the network for good. Source: the kernel's
 * userspace-api/landlock.rst. */
#ifndef STEMMA_APP_LANDLOCK_H
#define STEMMA_APP_LANDLOCK_H

#include "base/error.h"

/* The kernel's version of it, 0 without it. */
int landlock_abi(void);

/* A rule set that handles every right this kernel knows and grants none; a descriptor, or -1. */
[[nodiscard]] int landlock_rules(struct error *e);
/* Grants reading the one file that `fd` (O_PATH) stands for, whatever its name. */
[[nodiscard]] int landlock_allow_read(int rules, int fd, struct error *e);
/* Grants reading and executing a file, or everything below a folder; what does not exist is left
 * out. */
void landlock_allow_system(int rules, const char *path);
/* From now on, for this thread and what it makes. Sets no_new_privs. */
[[nodiscard]] int landlock_enforce(int rules, struct error *e);

#endif
