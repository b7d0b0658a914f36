/* SPDX-License-Identifier: GPL-2.0-or-later */
/* libvirt domain XML. What is accepted is within its limits, and survives the way to the front. */
#include "guests.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t length)
{
    struct guest_list list = {};
    struct error e;

    if (guest_config_parse_libvirt(bytes, length, &list, &e) != 0)
        require(list.guests == NULL && e.msg[0] != 0);
    check_guests(&list);
    guest_list_release(&list);
    return 0;
}
