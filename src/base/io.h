/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Whole reads and writes on descriptors; all restart after EINTR. */
#ifndef STEMMA_BASE_IO_H
#define STEMMA_BASE_IO_H

#include "base/error.h"

#include <stddef.h>
#include <stdint.h>

/* open() for reading that leaves no access time behind where the system allows that (O_NOATIME is
 * for owners only). A descriptor, or -1 with errno set. */
[[nodiscard]] int io_open_quietly(const char *path, int flags);

/* Reads up to `length` bytes at `offset`; fewer only at the end of the file. Returns the count, or
 * -1 with errno set. */
[[nodiscard]] int64_t io_pread(int fd, void *bytes, size_t length, uint64_t offset);

/* Exactly `length` bytes: ERR_FORMAT when the file ends before, ERR_IO when reading fails. */
[[nodiscard]] int io_pread_exact(int fd, void *bytes, size_t length, uint64_t offset,
                                 struct error *e);

/* Exactly `length` bytes at `offset`, or an error (ENOSPC and the like: ERR_IO). */
[[nodiscard]] int io_pwrite(int fd, const void *bytes, size_t length, uint64_t offset,
                            struct error *e);

/* Exactly `length` bytes at the descriptor's position (pipes, terminals). */
[[nodiscard]] int io_write(int fd, const void *bytes, size_t length, struct error *e);

#endif
