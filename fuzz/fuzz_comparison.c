/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The records of a comparison as the front gets them: u16 type, u16 length, payload, again and
 * again. What is accepted must come back the same when it is sent once more. */
#include "sig/compare_record.h"

#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t length);

static int pass(void *arg, uint16_t type, const void *payload, size_t length, struct error *e)
{
    return comparison_receive(arg, type, cursor_of(payload, length), e);
}

static void send_again(const struct comparison *c)
{
    struct comparison again;
    struct error e;
    AUTO(comparison_receiver) *r = comparison_receiver_new(&e);
    uint64_t sum = 0;

    if (r == NULL || comparison_send(c, pass, r, &e) != 0 ||
        comparison_receiver_take(r, &again, &e) != 0 || again.n_ranges != c->n_ranges ||
        again.first_difference != c->first_difference)
        __builtin_trap();
    for (size_t i = 0; i < again.n_ranges; i++)
        sum += again.ranges[i].length;
    if (sum != again.different_bytes)
        __builtin_trap();
    comparison_release(&again);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t length)
{
    struct cursor c = cursor_of(bytes, length);
    struct comparison whole;
    struct error e;
    AUTO(comparison_receiver) *r = comparison_receiver_new(&e);

    while (r != NULL && cursor_left(&c) > 0) {
        uint16_t type = cursor_le16(&c);
        size_t n = cursor_le16(&c);
        const uint8_t *payload = cursor_bytes(&c, n);

        if (payload == NULL || comparison_receive(r, type, cursor_of(payload, n), &e) != 0)
            break;
    }
    if (r == NULL || comparison_receiver_take(r, &whole, &e) != 0)
        return 0;
    send_again(&whole);
    comparison_release(&whole);
    return 0;
}
