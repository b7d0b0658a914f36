/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Decompression into a buffer of known size. Hostile input: never writes beyond it, never loops. */
#ifndef STEMMA_HASH_DECOMPRESS_H
#define STEMMA_HASH_DECOMPRESS_H

#include "base/error.h"

#include <stddef.h>

/* Each fills exactly `to_length` bytes from at most `from_length`; what follows in the input is
 * ignored (qcow2 rounds compressed clusters up to sectors). ERR_FORMAT when the data is damaged or
 * gives fewer bytes. Any thread. */
[[nodiscard]] int decompress_deflate(void *to, size_t to_length, const void *from,
                                     size_t from_length, struct error *e); /* raw, no zlib header */
[[nodiscard]] int decompress_zstd(void *to, size_t to_length, const void *from, size_t from_length,
                                  struct error *e);

#endif
