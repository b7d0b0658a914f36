/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Raw images against `qemu-img map` and against the file itself. */
#include "../test.h"

#include "base/io.h"
#include "env_files.h"

#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

static char *folder;
static struct test_env t;

static int setup(void **state)
{
    struct error e;

    (void)state;
    folder = test_folder_new();
    assert_ok(test_env_init(&t, &e), &e);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    test_env_release(&t);
    test_folder_remove(folder);
    return 0;
}

/* `n` runs of data of up to 256 KiB at random places of a sparse file. */
static char *sparse_file(const char *name, uint64_t size, unsigned n, unsigned *seed)
{
    char *path = test_path(folder, name);
    AUTO_FD int fd = open(path, O_RDWR | O_CREAT | O_TRUNC, 0600);
    static uint8_t bytes[256 << 10];
    struct error e;

    assert_true(fd >= 0 && ftruncate(fd, (off_t)size) == 0);
    for (unsigned i = 0; i < n && size > 0; i++) {
        uint64_t offset = (uint64_t)rand_r(seed) * 4099 % size;
        size_t length = 1 + (size_t)rand_r(seed) % sizeof bytes;

        memset(bytes, 1 + (int)i % 255, sizeof bytes);
        if (length > size - offset)
            length = size - offset;
        assert_ok(io_pwrite(fd, bytes, length, offset, &e), &e);
    }
    assert_int_equal(fsync(fd), 0); /* until then the file system may answer anything */
    return path;
}

struct run {
    uint64_t start, length;
    bool zero;
};

static void add_run(struct run *runs, size_t *n, struct run r)
{
    if (*n > 0 && runs[*n - 1].zero == r.zero &&
        runs[*n - 1].start + runs[*n - 1].length == r.start)
        runs[*n - 1].length += r.length;
    else
        runs[(*n)++] = r;
}

#define RUNS 4096

static size_t runs_of_qemu(const char *path, struct run *runs)
{
    char command[512], line[512];
    size_t n = 0;
    FILE *f;

    snprintf(command, sizeof command, "qemu-img map -f raw --output=json '%s'", path);
    f = popen(command, "r");
    assert_non_null(f);
    while (fgets(line, sizeof line, f) != NULL) {
        struct run r;
        const char *at = strstr(line, "\"start\"");

        if (at == NULL || sscanf(at, "\"start\": %ju, \"length\": %ju", &r.start, &r.length) != 2)
            continue;
        r.zero = strstr(at, "\"zero\": true") != NULL;
        assert_true(n < RUNS);
        add_run(runs, &n, r);
    }
    assert_int_equal(pclose(f), 0);
    return n;
}

static size_t runs_of_disk(struct disk *d, struct run *runs)
{
    struct error e;
    size_t n = 0;

    for (uint64_t at = 0; at < disk_size(d);) {
        struct extent x;

        assert_ok(disk_extent(d, at, &x, &e), &e);
        assert_true(n < RUNS);
        assert_int_equal(x.flags & EXTENT_ZERO ? EXTENT_ZERO | EXTENT_HOLE : EXTENT_LOCATED,
                         x.flags);
        add_run(runs, &n, (struct run){x.offset, x.length, (x.flags & EXTENT_ZERO) != 0});
        at += x.length;
    }
    return n;
}

static void extents_are_those_of_qemu_img(void **state)
{
    unsigned seed = (unsigned)time(NULL);

    (void)state;
    if (!test_have("qemu-img"))
        skip();
    print_message("seed %u\n", seed);
    for (int i = 0; i < 12; i++) {
        uint64_t size = 512 * (uint64_t)(1 + rand_r(&seed) % (64 << 11));
        AUTO_FREE char *path = sparse_file("a.img", size, (unsigned)rand_r(&seed) % 40, &seed);
        static struct run theirs[RUNS], ours[RUNS];
        AUTO(disk) *d = NULL;
        struct error e;
        size_t n;

        assert_ok(test_env_open(&t, path, "raw", NULL, &d, &e), &e);
        n = runs_of_qemu(path, theirs);
        assert_int_equal(runs_of_disk(d, ours), n);
        for (size_t k = 0; k < n; k++) {
            assert_int_equal(ours[k].start, theirs[k].start);
            assert_int_equal(ours[k].length, theirs[k].length);
            assert_int_equal(ours[k].zero, theirs[k].zero);
        }
    }
}

static void bytes_are_those_of_the_file_whatever_its_size(void **state)
{
    static const uint64_t sizes[] = {0, 1, 511, 513, 4095, 4097, 1000001, (8u << 20) + 77};
    unsigned seed = 7;

    (void)state;
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        AUTO_FREE char *path = sparse_file("b.img", sizes[i], 9, &seed);
        AUTO_FREE uint8_t *theirs = malloc(sizes[i] + 1);
        AUTO_FREE uint8_t *ours = malloc(sizes[i] + 1);
        AUTO_FD int fd = open(path, O_RDONLY);
        AUTO(disk) *d = NULL;
        struct error e;

        assert_ok(io_pread_exact(fd, theirs, sizes[i], 0, &e), &e);
        assert_ok(test_env_open(&t, path, "raw", NULL, &d, &e), &e);
        assert_int_equal(disk_size(d), sizes[i]);
        assert_ok(disk_pread(d, ours, sizes[i], 0, &e), &e);
        assert_int_equal(memcmp(ours, theirs, sizes[i]), 0);
    }
}

static void holes_cost_no_reads(void **state)
{
    unsigned seed = 1;
    AUTO_FREE char *path = sparse_file("c.img", 64 << 20, 0, &seed);
    AUTO_FREE uint8_t *bytes = malloc(64 << 20);
    struct host_file *const *files;
    AUTO(disk) *d = NULL;
    struct error e;

    (void)state;
    assert_ok(test_env_open(&t, path, "raw", NULL, &d, &e), &e);
    assert_ok(disk_pread(d, bytes, 64 << 20, 0, &e), &e);
    assert_int_equal(disk_files(d, &files), 1);
    assert_int_equal(atomic_load(&files[0]->read_bytes), 0);
}

static void a_file_that_shrinks_is_told_and_not_read_as_a_hole(void **state)
{
    unsigned seed = 3;
    AUTO_FREE char *path = sparse_file("d.img", 1 << 20, 50, &seed);
    AUTO(disk) *d = NULL;
    struct extent x;
    struct error e;
    uint8_t byte;

    (void)state;
    assert_ok(test_env_open(&t, path, "raw", NULL, &d, &e), &e);
    assert_int_equal(truncate(path, 65536), 0);
    assert_int_equal(disk_extent(d, 65536, &x, &e), -1);
    assert_int_equal(e.code, ERR_CHANGED);
    assert_int_equal(disk_pread(d, &byte, 1, 100000, &e), -1);
    assert_int_equal(e.code, ERR_CHANGED);
}

static void a_file_in_memory_is_read_too(void **state)
{
    static const char text[] = "no file system, no holes";
    struct disk_options raw = {"raw", NULL};
    AUTO(host_file) *f = NULL;
    AUTO(disk) *d = NULL;
    char bytes[sizeof text];
    struct error e;

    (void)state;
    f = test_memory_file("memory", text, sizeof text, &e);
    assert_non_null(f);
    assert_ok(disk_open(&t.env, f, &raw, &d, &e), &e);
    assert_ok(disk_pread(d, bytes, sizeof text, 0, &e), &e);
    assert_string_equal(bytes, text);
}

static void only_files_and_block_devices_are_opened(void **state)
{
    AUTO(host_file) *f = NULL;
    struct error e;

    (void)state;
    f = host_file_open(folder, &e);
    assert_null(f);
    assert_int_equal(e.code, ERR_UNSUPPORTED);
    f = host_file_open("/dev/null", &e);
    assert_null(f);
}

int main(void)
{
#define CASE(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
    const struct CMUnitTest tests[] = {
        CASE(extents_are_those_of_qemu_img),
        CASE(bytes_are_those_of_the_file_whatever_its_size),
        CASE(holes_cost_no_reads),
        CASE(a_file_that_shrinks_is_told_and_not_read_as_a_hole),
        CASE(a_file_in_memory_is_read_too),
        CASE(only_files_and_block_devices_are_opened),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
