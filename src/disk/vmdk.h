/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Which other files a VMDK refers to. Source: VMware, Virtual Disk Format 5.0; and what QEMU's
 * block/vmdk.c makes of it, since that is what will read it. */
#ifndef STEMMA_DISK_VMDK_H
#define STEMMA_DISK_VMDK_H

#include "base/auto.h"
#include "base/cursor.h"
#include "base/error.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define VMDK_SECTOR 512u
#define VMDK_DESCRIPTOR_MAX (1u << 20) /* bytes; VMware's have some hundred */
#define VMDK_EXTENTS_MAX 8192u         /* 2 GiB each: 16 TiB */

/* The header of a sparse extent ("KDMV"). */
struct vmdk_header {
    uint64_t capacity;          /* sectors; 0: the embedded descriptor names other files */
    uint64_t descriptor_offset; /* sectors; 0: none */
    uint64_t descriptor_size;   /* sectors */
};
[[nodiscard]] int vmdk_header_parse(struct vmdk_header *out, struct cursor c, struct error *e);

/* One name that a descriptor holds; owned by the list. */
struct vmdk_name {
    char *name;
    bool parent; /* else the file of an extent */
    bool sparse; /* the extent's file has a header of its own */
};

struct vmdk_names {
    struct vmdk_name *list;
    size_t n, capacity;
};
void vmdk_names_release(struct vmdk_names *n);
#define AUTO_VMDK_NAMES __attribute__((cleanup(vmdk_names_release))) struct vmdk_names

/* True when the text is a descriptor: comments, then "version=". */
bool vmdk_is_descriptor(const uint8_t *text, size_t length);

/* Extent lines and parentFileNameHint. Whatever might be a name is one: a name too much is only
 * refused by the policy, one too few would be opened by qemu-nbd alone. ERR_FORMAT, ERR_LIMIT. */
[[nodiscard]] int vmdk_descriptor_parse(struct vmdk_names *out, const uint8_t *text, size_t length,
                                        struct error *e);

#endif
