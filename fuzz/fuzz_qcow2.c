/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A whole qcow2 image: opened, mapped and read as every command does, its snapshots too. The image
 * may name other files but gets none. */
#include "base/ckd.h"
#include "disk/disk.h"
#include "env_files.h"

#include <stdlib.h>
#include <string.h>

enum { EXTENTS = 2000, READS = 24, PIECE = 5000 };

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t length);

static int open_nothing(void *arg, const struct host_file *from, const char *name,
                        enum file_reason reason, struct host_file **out, struct error *e)
{
    (void)arg;
    (void)from;
    (void)reason;
    (void)out;
    return err_set(e, ERR_DENIED, "%zu bytes of name", strlen(name));
}

/* An empty file whatever the name is, so that images with external data are read on. */
static int open_empty(void *arg, const struct host_file *from, const char *name,
                      enum file_reason reason, struct host_file **out, struct error *e)
{
    (void)arg;
    (void)from;
    if (reason != FILE_DATA)
        return err_set(e, ERR_DENIED, "%zu bytes of name", strlen(name));
    *out = test_memory_file("data", "data", 4, e);
    return *out != NULL ? 0 : -1;
}

/* Some bytes of an extent, at its beginning and around its end; and twice, for what is kept. */
static void read_extent(struct disk *d, const struct extent *x)
{
    size_t n = (size_t)min_u64(x->length, PIECE);
    uint8_t first[PIECE], again[PIECE];
    struct error e;

    if (disk_pread(d, first, n, x->offset, &e) == 0 &&
        (disk_pread(d, again, n, x->offset, &e) != 0 || memcmp(first, again, n) != 0))
        __builtin_trap();
    n = (size_t)min_u64(disk_size(d) - x->offset - x->length / 2, PIECE);
    (void)!disk_pread(d, first, n, x->offset + x->length / 2, &e);
}

static void walk(struct disk *d)
{
    uint64_t at = 0;
    struct extent x;
    struct error e;
    int reads = 0;

    for (int i = 0; i < EXTENTS && at < disk_size(d); i++, at += x.length) {
        if (disk_extent(d, at, &x, &e) != 0)
            break;
        if ((x.flags & (EXTENT_LOCATED | EXTENT_COMPRESSED)) != 0 && reads++ < READS)
            read_extent(d, &x);
    }
    if (disk_size(d) > 0 && disk_extent(d, disk_size(d) - 1, &x, &e) == 0)
        read_extent(d, &x);
}

static void try_open(const struct disk_env *env, struct host_file *f, const char *snapshot)
{
    const struct disk_options options = {"qcow2", snapshot};
    AUTO(disk) *d = NULL;
    struct error e;

    if (disk_open(env, f, &options, &d, &e) != 0)
        return;
    if (snapshot != NULL && strcmp(disk_snapshot(d), snapshot) != 0)
        __builtin_trap();
    walk(d);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t length)
{
    static const struct disk_limits limits = {4, UINT64_C(1) << 40, 1 << 20};
    static const char *const snapshots[] = {NULL, "1", "s"};
    AUTO(host_file) *f = NULL;
    struct test_env t;
    struct error e;

    if (test_env_init(&t, &e) != 0)
        abort();
    t.env.limits = &limits;
    f = test_memory_file("image.qcow2", bytes, length, &e);
    if (f == NULL)
        abort();
    t.env.open_file = length % 2 == 0 ? open_empty : open_nothing;
    for (size_t i = 0; i < sizeof snapshots / sizeof *snapshots; i++)
        try_open(&t.env, f, snapshots[i]);
    test_env_release(&t);
    return 0;
}
