/* SPDX-License-Identifier: GPL-2.0-or-later */
/* All that `stemma tree` found out: the images, their relation, the family tree, the plan. The
 * worker makes it, sends it as records, and the front draws it (cluster/draw.h). */
#ifndef STEMMA_CLUSTER_KINSHIP_H
#define STEMMA_CLUSTER_KINSHIP_H

#include "base/record.h"
#include "cluster/dendrogram.h"
#include "cluster/plan.h"
#include "cluster/relation.h"

struct kinship_image {
    char *path;         /* as given or found; bytes of any kind */
    char *guest;        /* the guest it is a disk of (libvirt, Proxmox), or NULL */
    char *format;       /* "raw", "qcow2", ..., "signature" */
    char *backing_path; /* of its existing backing file, or NULL */
    char *fixed;        /* why the plan leaves it alone, or NULL */
    uint64_t virtual_size, data_bytes, read_bytes, allocated_bytes;
    struct id disk_id, content_id;
    uint32_t backing; /* index of its existing backing file among the images, or PLAN_NONE */
    bool cached, in_use;
};

/* A leaf of the tree: an image, or a guest with its several disks (which stand together). */
struct kinship_leaf {
    uint32_t first, count; /* images */
};

struct kinship {
    size_t n;
    struct kinship_image *images;
    size_t n_leaves;
    struct kinship_leaf *leaves;
    uint64_t *different, *shared; /* n x n of images, or NULL (sketch without --matrix) */
    size_t n_neighbours;          /* sketch only, else 0 */
    struct neighbour *neighbours; /* n x n_neighbours */
    struct dendrogram tree;       /* of leaves */
    enum linkage linkage;
    double threshold; /* part different beyond which images are unrelated */
    uint32_t *family; /* of each leaf */
    size_t n_families;
    struct plan plan; /* plan.steps NULL: not asked for */
};

void kinship_release(struct kinship *k);

/* The record stream: types of their own from KINSHIP_RECORD_FIRST on; `send` is called for each
 * record, in order; one record at most RECORD_MAX bytes. */
#define KINSHIP_RECORD_FIRST 0x100
#define KINSHIP_RECORD_LAST 0x1ff
[[nodiscard]] int kinship_send(const struct kinship *k,
                               int (*send)(void *arg, uint16_t type, const void *payload,
                                           size_t length, struct error *e),
                               void *arg, struct error *e);

/* The other side, hostile: feed it each record of those types. `done` is set with the last one,
 * when everything has been checked (counts, indices, the shape of the tree). ERR_PEER. */
struct kinship_receiver;
[[nodiscard]] struct kinship_receiver *kinship_receiver_new(struct error *e);
void kinship_receiver_free(struct kinship_receiver *r);
AUTO_DEFINE(kinship_receiver, kinship_receiver_free);
[[nodiscard]] int kinship_receive(struct kinship_receiver *r, uint16_t type, struct cursor payload,
                                  struct error *e);
/* The whole, once done (then owned by the caller); ERR_PEER before. */
[[nodiscard]] int kinship_receiver_take(struct kinship_receiver *r, struct kinship *out,
                                        struct error *e);

#endif
