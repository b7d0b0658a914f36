/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Debug messages by topic, for people who work on stemma: STEMMA_DEBUG=disk,sig (or all). Written
 * to standard error as one line each; nothing a user needs to see goes here. */
#ifndef STEMMA_BASE_LOG_H
#define STEMMA_BASE_LOG_H

#include "base/error.h"

#include <stdbool.h>

/* Reads STEMMA_DEBUG; call once before threads start. Without it nothing is logged. */
void log_init(void);

bool log_enabled(const char *topic);

/* Costs a string comparison when the topic is off, nothing at all when no topic is on. */
void log_debug(const char *topic, const char *format, ...) PRINTF_LIKE(2, 3);

#endif
