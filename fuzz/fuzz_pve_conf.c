/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A guest's configuration and, behind the first byte 0x1e, a storage.cfg that places its disks. */
#include "guests.h"

/* No disk becomes a path that leaves its storage. */
static void check_path(const struct guest_disk *d, const char *before)
{
    if (d->why_not != NULL || before[0] == '/')
        return;
    require(d->source[0] == '/' && d->format != NULL);
    require(strlen(d->source) <= GUEST_STRING_MAX);
    if (d->device)
        require(strncmp(d->source, "/dev/", 5) == 0 && strstr(d->source, "/../") == NULL);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t length)
{
    const uint8_t *mark = length == 0 ? NULL : memchr(bytes, 0x1e, length);
    size_t first = mark == NULL ? length : (size_t)(mark - bytes);
    struct guest_list list = {};
    struct error e;

    if (guest_config_parse_pve("100.conf", bytes, first, &list, &e) != 0) {
        require(list.guests == NULL && e.msg[0] != 0);
        return 0;
    }
    require(list.n == 1);
    check_guests(&list);
    for (size_t i = 0; i < list.guests[0].n_disks; i++) {
        struct guest_disk *d = &list.guests[0].disks[i];
        AUTO_FREE char *before = strdup(d->source);
        const uint8_t *config = mark == NULL ? NULL : mark + 1;

        if (before == NULL)
            continue;
        if (guest_config_pve_path(config, mark == NULL ? 0 : length - first - 1, d, &e) == 0)
            check_path(d, before);
        else
            require(strcmp(d->source, before) == 0 && e.msg[0] != 0);
    }
    guest_list_release(&list);
    return 0;
}
