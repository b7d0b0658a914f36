/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Formats that a captive qemu-nbd reads for us: what they look like, and which other files they
 * refer to, so that our policy is asked before qemu-nbd could open any. */
#ifndef STEMMA_DISK_FOREIGN_H
#define STEMMA_DISK_FOREIGN_H

#include "disk/driver.h"

/* The names of the formats, which are QEMU's; NULL-terminated. */
extern const char *const foreign_formats[];

/* The format that it looks like, or NULL. */
const char *foreign_probe(const struct probe *p);

/* Opens, with env->open_file, all that the image d->files[0] of format d->format needs, and adds it
 * to d's files. ERR_UNSUPPORTED for parents that we do not follow. */
[[nodiscard]] int foreign_open_parts(struct disk *d, const struct disk_env *env, struct error *e);

#endif
