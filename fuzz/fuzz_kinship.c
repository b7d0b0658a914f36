/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The records of a family tree, as a worker that has been taken over might send them:
 * u8 type (less KINSHIP_RECORD_FIRST) | u16 length | payload, again and again. */
#include "cluster/kinship.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t length);

static volatile uint64_t sum_;

static void use(const struct kinship *k)
{
    uint32_t *leaves = malloc((k->n_leaves + 1) * sizeof *leaves);
    uint64_t sum = 0;

    for (size_t node = 0; node < k->tree.n_nodes && node < 1000; node++) {
        size_t n = dendrogram_leaves(&k->tree, (uint32_t)node, leaves);

        for (size_t i = 0; i < n; i++)
            sum += k->leaves[leaves[i]].first + k->family[leaves[i]];
    }
    for (size_t i = 0; i < k->n; i++) {
        sum += strlen(k->images[i].path) + strlen(k->images[i].format);
        for (uint32_t at = k->images[i].backing; at != PLAN_NONE; at = k->images[at].backing)
            sum++;
        if (k->plan.steps != NULL) {
            for (uint32_t at = k->plan.steps[i].backing; at != PLAN_NONE;
                 at = k->plan.steps[at].backing)
                sum++;
        }
        for (size_t j = 0; k->different != NULL && j < k->n; j++)
            sum += k->different[i * k->n + j] + k->shared[i * k->n + j];
        for (size_t j = 0; j < k->n_neighbours; j++) {
            uint32_t image = k->neighbours[i * k->n_neighbours + j].image;

            if (image != UINT32_MAX)
                sum += k->images[image].virtual_size;
        }
    }
    sum_ += sum;
    free(leaves);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t length)
{
    struct error e;
    AUTO(kinship_receiver) *r = kinship_receiver_new(&e);
    struct cursor c = cursor_of(bytes, length);
    struct kinship k;

    while (r != NULL && cursor_left(&c) > 0) {
        uint16_t type = (uint16_t)(KINSHIP_RECORD_FIRST + cursor_u8(&c));
        size_t size = cursor_le16(&c);
        const uint8_t *payload = cursor_bytes(&c, size);

        if (payload == NULL || kinship_receive(r, type, cursor_of(payload, size), &e) != 0)
            break;
    }
    if (r != NULL && kinship_receiver_take(r, &k, &e) == 0) {
        use(&k);
        kinship_release(&k);
    }
    return 0;
}
