/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The only look that the front takes at foreign bytes: fixed magic at fixed places. Nothing found
 * there is used as a number, offset or length. */
#ifndef STEMMA_APP_MAGIC_H
#define STEMMA_APP_MAGIC_H

#include <stdbool.h>

/* True when the file is a disk image or signature to be found in a folder: it has the magic of one,
 * or is named like a raw image; extents of a VMDK that has its descriptor elsewhere, and what
 * stemma left behind, are not. `fd` is a regular file's. */
bool magic_is_image(const char *name, int fd);

#endif
