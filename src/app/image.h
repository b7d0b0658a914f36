/* SPDX-License-Identifier: GPL-2.0-or-later */
/* In the worker: a source opened as what it is, an image or a signature file, and its signature. */
#ifndef STEMMA_APP_IMAGE_H
#define STEMMA_APP_IMAGE_H

#include "app/worker.h"

struct image {
    char *name;             /* as output shows it; owned */
    struct host_file *file; /* a reference; NULL for NBD */
    struct disk *disk;      /* a reference; NULL for a signature file */
    struct sig *sig;        /* a reference; NULL until image_sign() (a signature file: at once) */
    struct sig_origin origin;
};

/* Opens source number `index` of the job. */
[[nodiscard]] int image_open(struct worker *w, const struct job *job, uint32_t index,
                             struct image *out, struct error *e);
/* Makes sure that bytes can be read, which signing alone may not need. */
[[nodiscard]] int image_wake(struct image *image, struct error *e);
/* Makes sure that there is a signature. */
[[nodiscard]] int image_sign(struct sig_library *library, struct image *image, struct error *e);
void image_release(struct image *image);

/* The library of one job. */
[[nodiscard]] struct sig_library *image_library(struct worker *w, struct error *e);

#endif
