/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "app/magic.h"

#include "base/io.h"
#include "sig/sig.h"

#include <stddef.h>
#include <string.h>
#include <sys/stat.h>

#define HEAD 512

struct magic {
    size_t offset;
    const char *bytes;
    size_t length;
};

static const struct magic magics[] = {
    {0, "QFI\xfb", 4},                /* qcow, qcow2 */
    {0, "QED\0", 4},                  /* qed */
    {0, "KDMV", 4},                   /* vmdk, hosted sparse */
    {0, "COWD", 4},                   /* vmdk, ESX sparse */
    {0, "# Disk DescriptorFile", 21}, /* vmdk descriptor */
    {0, "vhdxfile", 8},               /* vhdx */
    {0, "conectix", 8},               /* dynamic vhd */
    {0, "WithoutFreeSpace", 16},      /* parallels */
    {0, "WithouFreSpacExt", 16},      /* parallels */
    {64, "\x7f\x10\xda\xbe", 4},      /* vdi */
};

static bool ends_in(const char *name, const char *end)
{
    size_t n = strlen(name), m = strlen(end);

    return n > m && strcasecmp(name + n - m, end) == 0;
}

/* A sparse extent without a descriptor of its own (VMware's Virtual Disk Format 5.0:
 * descriptorOffset, 8 bytes at 28, is zero) belongs to an image whose descriptor is another file.
 */
static bool is_vmdk_extent(const uint8_t *head, size_t length)
{
    static const uint8_t none[8];

    return length >= 36 && memcmp(head, "KDMV", 4) == 0 && memcmp(head + 28, none, 8) == 0;
}

static bool has_fixed_vhd_tail(int fd)
{
    uint8_t tail[8];
    struct stat st;

    return fstat(fd, &st) == 0 && st.st_size >= 1024 &&
           io_pread(fd, tail, sizeof tail, (uint64_t)st.st_size - 512) == sizeof tail &&
           memcmp(tail, "conectix", 8) == 0;
}

bool magic_is_image(const char *name, int fd)
{
    uint8_t head[HEAD] = {};
    int64_t got;
    size_t length;

    if (ends_in(name, ".stemma-old") || ends_in(name, ".stemma-new") ||
        ends_in(name, ".stemma-tmp"))
        return false;
    if (ends_in(name, ".raw") || ends_in(name, ".img") || ends_in(name, ".stemma-base"))
        return true;
    got = io_pread(fd, head, sizeof head, 0);
    if (got <= 0)
        return false;
    length = (size_t)got;
    if (sig_probe(head, length))
        return true;
    if (is_vmdk_extent(head, length))
        return false;
    for (size_t i = 0; i < sizeof magics / sizeof magics[0]; i++) {
        const struct magic *m = &magics[i];

        if (m->offset + m->length <= length && memcmp(head + m->offset, m->bytes, m->length) == 0)
            return true;
    }
    return ends_in(name, ".vhd") && has_fixed_vhd_tail(fd);
}
