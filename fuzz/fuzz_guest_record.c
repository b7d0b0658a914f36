/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A hostile worker's guests, one after another; each has one encoded form only. */
#include "guests.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t length)
{
    struct cursor c = cursor_of(bytes, length);

    while (cursor_left(&c) > 0) {
        const uint8_t *from = c.at;
        struct guest g = {};
        struct error e;
        AUTO_BUF b = {};

        if (guest_decode(&c, &g, &e) != 0) {
            require(g.name == NULL && e.code == ERR_PEER);
            return 0;
        }
        check_guest(&g);
        require(guest_encode(&b, &g) == 0 && b.length == (size_t)(c.at - from) &&
                memcmp(b.bytes, from, b.length) == 0);
        guest_release(&g);
    }
    return 0;
}
