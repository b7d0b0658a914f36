/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Foreign images: probing, and what they refer to, opened and followed as the driver does. There is
 * no qemu-nbd behind it: the walk over the parts is what is ours. */
#include "disk/foreign.h"
#include "disk/vmdk.h"
#include "env_files.h"

#include <stdlib.h>
#include <string.h>

/* Whatever is named is, in turn, the input itself under another identity, a bit of it, or plain. */
struct world {
    const uint8_t *bytes;
    size_t length;
    unsigned opened;
};

static int open_file(void *arg, const struct host_file *from, const char *name,
                     enum file_reason reason, struct host_file **out, struct error *e)
{
    struct world *w = arg;
    size_t skip;

    (void)reason;
    if (from == NULL || name[0] == 0 || strlen(name) > 4096)
        abort();
    if (w->opened++ > 300)
        return err_set(e, ERR_NOT_FOUND, "enough");
    skip = name[0] % 3 == 0 ? 0 : name[0] % 3 == 1 ? w->length / 2 : w->length;
    *out = test_memory_file(name, w->bytes + skip, w->length - skip, e);
    return *out != NULL ? 0 : -1;
}

static int no_server(void *arg, const struct host_file *file, const char *format,
                     struct host_file *const *parts, size_t n, int *socket, struct error *e)
{
    (void)arg;
    (void)file;
    (void)socket;
    for (size_t i = 0; i < n; i++) {
        if (parts[i] == NULL || parts[i] == file)
            abort();
    }
    return err_set(e, ERR_UNSUPPORTED, "%s of %zu parts", format, n);
}

/* The tables of a VHDX lie far from its head: the input holds the head's magic, 256 bytes of the
 * region table and then the metadata table, for 256 KiB. */
static struct host_file *spread_vhdx(const uint8_t *bytes, size_t length, struct error *e)
{
    static uint8_t file[384 << 10];
    size_t region = length - 8 < 256 ? length - 8 : 256;
    size_t metadata = length - 8 - region < 4096 ? length - 8 - region : 4096;

    memset(file, 0, sizeof file);
    memcpy(file, bytes, 8);
    memcpy(file + (192 << 10), bytes + 8, region);
    memcpy(file + (256 << 10), bytes + 8 + region, metadata);
    return test_memory_file("image.vhdx", file, sizeof file, e);
}

static const struct disk_driver *const drivers[] = {&disk_driver_qcow2, &disk_driver_qemu,
                                                    &disk_driver_raw, NULL};

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t length);

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t length)
{
    struct world world = {bytes, length, 0};
    struct disk_env env = {
        .drivers = drivers, .open_file = open_file, .serve = no_server, .arg = &world};
    AUTO_VMDK_NAMES names = {};
    AUTO(host_file) *f = NULL;
    struct error e;

    if (vmdk_descriptor_parse(&names, bytes, length, &e) == 0) {
        for (size_t i = 0; i < names.n; i++) {
            if (names.list[i].name[0] == 0)
                abort();
        }
    }
    if (length > 8 && memcmp(bytes, "vhdxfile", 8) == 0)
        f = spread_vhdx(bytes, length, &e);
    else
        f = test_memory_file("image.vmdk", bytes, length, &e);
    if (f == NULL)
        return 0;
    for (int i = -1; i < 0 || foreign_formats[i] != NULL; i++) {
        struct disk_options options = {.format = i < 0 ? NULL : foreign_formats[i]};
        AUTO(disk) *d = NULL;

        /* Each format costs a driver's open: all of them only for what is short. */
        if (i >= 0 && length > 4096 && strcmp(foreign_formats[i], "vmdk") != 0 &&
            strcmp(foreign_formats[i], "vhdx") != 0)
            continue;
        (void)!disk_open(&env, f, &options, &d, &e);
    }
    return 0;
}
