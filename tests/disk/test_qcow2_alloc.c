/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Each allocation of opening, mapping and reading a qcow2 image made to fail in turn.
 * usage: test-disk-qcow2_alloc FOLDER-WITH-IMAGES */
#include "../alloc_fail.h"
#include "../test.h"

#include "base/ckd.h"
#include "disk/disk.h"
#include "env_files.h"

#include <stdio.h>
#include <string.h>

static const char *folder;

struct image {
    struct test_env t;
    uint8_t bytes[128 << 10];
    size_t length;
    const char *snapshot;
};

/* Whatever an image names is a short raw file. */
static int open_short(void *arg, const struct host_file *from, const char *name,
                      enum file_reason reason, struct host_file **out, struct error *e)
{
    (void)arg;
    (void)from;
    (void)reason;
    *out = test_memory_file(name, "raw", 3, e);
    return *out != NULL ? 0 : -1;
}

static void image_load(struct image *i, const char *name, const char *snapshot)
{
    char path[4096];
    struct error e;
    FILE *f;

    assert_ok(test_env_init(&i->t, &e), &e);
    i->t.env.open_file = open_short;
    i->snapshot = snapshot;
    snprintf(path, sizeof path, "%s/%s", folder, name);
    f = fopen(path, "rb");
    assert_non_null(f);
    i->length = fread(i->bytes, 1, sizeof i->bytes, f);
    fclose(f);
    assert_in_range(i->length, 1, sizeof i->bytes - 1);
}

static int read_all(void *arg, struct error *e)
{
    struct image *i = arg;
    const struct disk_options options = {"qcow2", i->snapshot};
    AUTO(host_file) *f = test_memory_file("image.qcow2", i->bytes, i->length, e);
    AUTO(disk) *d = NULL;
    uint8_t piece[300];
    struct extent x;

    if (f == NULL || disk_open(&i->t.env, f, &options, &d, e) != 0)
        return -1;
    for (uint64_t at = 0; at < disk_size(d); at += x.length) {
        if (disk_extent(d, at, &x, e) != 0)
            return -1;
    }
    for (uint64_t at = 0; at < disk_size(d); at += sizeof piece) {
        if (disk_pread(d, piece, min_u64(sizeof piece, disk_size(d) - at), at, e) != 0)
            return -1;
    }
    return 0;
}

static void check(const char *name, const char *snapshot)
{
    static struct image image;

    image_load(&image, name, snapshot);
    assert_true(alloc_fail_each(read_all, &image) > 5);
    test_env_release(&image.t);
}

static void no_memory_is_an_error_of_plain_and_compressed_images(void **state)
{
    (void)state;
    check("good-plain", NULL);
    check("good-qemu-zstd", NULL);
    check("good-qemu-extended-l2", NULL);
}

static void no_memory_is_an_error_of_snapshots(void **state)
{
    (void)state;
    check("good-snapshot-current-state", "s");
}

static void no_memory_is_an_error_of_images_that_name_files(void **state)
{
    (void)state;
    check("good-qemu-data-file-raw", NULL);
    check("bad-backing-denied", NULL);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(no_memory_is_an_error_of_plain_and_compressed_images),
        cmocka_unit_test(no_memory_is_an_error_of_snapshots),
        cmocka_unit_test(no_memory_is_an_error_of_images_that_name_files),
    };

    if (argc != 2)
        return 2;
    folder = argv[1];
    return cmocka_run_group_tests(tests, NULL, NULL);
}
