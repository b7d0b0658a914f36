/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef STEMMA_CLI_HELP_H
#define STEMMA_CLI_HELP_H

#include "cli/command.h"

/* Each prints and returns an exit status. */
int help_overview(void);
int help_command(const struct command *c);
int help_version(void);

#endif
