/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "cluster/kinship.h"

#include <stdlib.h>

void kinship_release(struct kinship *k)
{
    for (size_t i = 0; k->images != NULL && i < k->n; i++) {
        free(k->images[i].path);
        free(k->images[i].guest);
        free(k->images[i].format);
        free(k->images[i].backing_path);
        free(k->images[i].fixed);
    }
    free(k->images);
    free(k->leaves);
    free(k->different);
    free(k->shared);
    free(k->neighbours);
    dendrogram_release(&k->tree);
    free(k->family);
    plan_release(&k->plan);
    *k = (struct kinship){0};
}
