/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Shows the worker's counters: a bar on a terminal once work lasts, lines on a descriptor that a
 * program asked for, nothing on a pipe. */
#ifndef STEMMA_CLI_PROGRESS_BAR_H
#define STEMMA_CLI_PROGRESS_BAR_H

#include "base/error.h"

#include <stdint.h>

struct bar;
/* mode: NULL or "auto", "never", or the number of a descriptor. */
[[nodiscard]] struct bar *bar_new(const char *mode, struct error *e);
void bar_free(struct bar *b); /* takes the bar off the screen */
/* `which` ("3/40 ", or "") and `what` (a name, or NULL) say what is being worked on. What is to
 * come is not in `total` yet, so the estimate is of what is known. */
void bar_show(struct bar *b, uint64_t done, uint64_t total, const char *which, const char *what);
/* Takes the bar off the screen, so that something else can be written. */
void bar_hide(struct bar *b);

#endif
