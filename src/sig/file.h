/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The file form of signatures, as sig.c and file.c share it: docs/formats/signature.md. */
#ifndef STEMMA_SIG_FILE_H
#define STEMMA_SIG_FILE_H

#include <stdbool.h>

#define SIG_MAGIC "STEMSIG\x1a"
#define SIG_VERSION 1
#define SIG_HEADER 192    /* bytes */
#define SIG_CHECKED 160   /* those that the header's checksum covers */
#define SIG_RUN 16        /* bytes of a run */
#define SIG_CHECKSUM 32   /* bytes at the file's end */
#define SIG_FORMAT_MAX 16 /* bytes of the format's name, with at least one zero */

#define SIG_CONTEXT_HEADER "stemma signature 1 header"
#define SIG_CONTEXT_FILE "stemma signature 1 file"

/* True for a name of a format as a signature may carry it, padded with zeros. */
bool sig_format_valid(const char format[SIG_FORMAT_MAX]);

#endif
