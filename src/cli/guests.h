/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Guests named on the command line: --domain, --all-domains, --domain-xml, --pve-conf. */
#ifndef STEMMA_CLI_GUESTS_H
#define STEMMA_CLI_GUESTS_H

#include "cli/common.h"

/* Adds their disks to the session's sources. */
[[nodiscard]] int guests_add(struct session *s, struct error *e);

/* Calls each(arg, file, guest) for every guest of the definitions that the options name: `file` is
 * the definition's path. Definitions that cannot be read are told. */
[[nodiscard]] int guests_each(struct session *s,
                              int (*each)(void *arg, const char *file, const struct guest *guest,
                                          struct error *e),
                              void *arg, struct error *e);

#endif
