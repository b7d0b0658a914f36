/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A file of the host that an image lies in: opened by the environment (the front, mostly), never by
 * a driver. Its identity was taken with fstat when it was opened. */
#ifndef STEMMA_DISK_FILE_H
#define STEMMA_DISK_FILE_H

#include "base/auto.h"
#include "base/error.h"

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* What fstat said; two files are the same when device and inode agree. */
struct file_identity {
    uint64_t device, inode; /* of a block device its number and 0, whatever node it was opened by */
    uint64_t size;          /* bytes; of a block device what it holds */
    uint64_t allocated;     /* bytes on the host (512 x st_blocks) */
    int64_t mtime_ns, ctime_ns;
    bool block_device;
};

/* Extended attribute of image files, set by `stemma rebase` where an overlay takes the name of an
 * image of another format: "qcow2". */
#define FORMAT_ATTRIBUTE "user.stemma.format"

struct host_file {
    char *name; /* how messages and output call it; owned */
    struct file_identity identity;
    bool in_use; /* another process (qemu) holds it for writing */
    /* What the host has noted as its format (the attribute FORMAT_ATTRIBUTE), or "". A guest cannot
     * write that, so a probe that agrees is believed whatever the file is called. */
    char noted_format[16];
    uint32_t token; /* the environment's own number for it (relative opens) */

    int fd;        /* for buffered reads and mappings */
    int direct_fd; /* the same file opened with O_DIRECT, or -1 */

    _Atomic uint64_t read_bytes; /* what was read of it so far (mapped reads count as well) */
    atomic_uint references;

    /* reader.c's: the file up to identity.size mapped read-only, made at the first need and
     * published once; MAP_FAILED when it cannot be mapped. */
    _Atomic(uint8_t *) map;
    atomic_bool direct_refused; /* O_DIRECT reads fail here: read buffered */
};

/* Takes name and descriptors (also when it fails). Switches the kernel's readahead for `fd` off. */
[[nodiscard]] struct host_file *host_file_new(char *name, int fd, int direct_fd,
                                              const struct file_identity *identity,
                                              struct error *e);
struct host_file *host_file_ref(struct host_file *f);
void host_file_unref(struct host_file *f); /* NULL is fine */
AUTO_DEFINE(host_file, host_file_unref);

/* Opens a path by itself, for tests, fuzzers and tools: never used in the worker. */
[[nodiscard]] struct host_file *host_file_open(const char *path, struct error *e);

/* Fills identity from a descriptor (size of block devices included). ERR_UNSUPPORTED for what is
 * neither a regular file nor a block device. */
[[nodiscard]] int file_identity_get(int fd, struct file_identity *out, struct error *e);

/* Exactly `length` bytes of metadata at `offset`, copied; counts them as read. Readahead is off, so
 * no more is read than asked for. ERR_FORMAT when the file ends before, ERR_CHANGED when it ends
 * before the size it had when it was opened. Any thread. */
[[nodiscard]] int host_file_pread(struct host_file *f, void *bytes, size_t length, uint64_t offset,
                                  struct error *e);

/* The same, but what lies beyond the end of the file (as it was when opened) reads as zeros, as
 * qemu has it. */
[[nodiscard]] int host_file_pread_padded(struct host_file *f, void *bytes, size_t length,
                                         uint64_t offset, struct error *e);

/* Whether the byte at `offset` (< size) lies in a hole of a regular file, and where that hole or
 * that data ends (the file's end at most, as it was when opened). A file system that cannot say has
 * data only. ERR_CHANGED when the file shrank. Any thread. */
[[nodiscard]] int host_file_hole(struct host_file *f, uint64_t offset, bool *hole, uint64_t *end,
                                 struct error *e);

/* True when both are the same file of the host. */
bool file_identity_same(const struct file_identity *a, const struct file_identity *b);

#endif
