/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What the writer wrote, as QEMU sees it. */
#include "../test.h"
#include "../tools.h"

#include "base/ckd.h"
#include "disk/qcow2_write.h"
#include "hash/id.h"

#include <fcntl.h>
#include <sys/stat.h>

enum kind { ABSENT, ZERO, DATA };

/* One image: the clusters named here, everything else is absent. */
struct pattern {
    uint64_t virtual_size;
    bool backed;
    size_t n;
    uint64_t *index;
    enum kind *kind;
};

static uint64_t seed;

static void assert_written(int fd, const void *bytes, size_t length, uint64_t at)
{
    assert_int_equal(pwrite(fd, bytes, length, (off_t)at), length);
}

/* base.raw: random bytes, of the disk's size or somewhat shorter or longer. */
static uint64_t make_base(uint64_t virtual_size)
{
    uint64_t size = virtual_size + (next_random(&seed) % 5 * 70000) - 140000;
    AUTO_FD int fd = open("base.raw", O_RDWR | O_CREAT | O_TRUNC, 0666);
    static uint8_t bytes[CLUSTER_SIZE];

    size = virtual_size < 140000 ? 4096 : size / 512 * 512;
    for (uint64_t at = 0; at < size; at += sizeof bytes) {
        fill_random(&seed, bytes, sizeof bytes);
        assert_written(fd, bytes, min_u64(sizeof bytes, size - at), at);
    }
    return size;
}

/* expect.raw, what the image has to read as, begins as the base does. */
static void begin_expected(const struct pattern *p)
{
    uint64_t size = div_up(p->virtual_size, 512) * 512;

    assert_int_equal(run("rm -f expect.raw; %s expect.raw", p->backed ? "cp base.raw" : "touch"),
                     0);
    assert_int_equal(truncate("expect.raw", (off_t)size), 0);
}

static void write_pattern(const struct pattern *p)
{
    const struct qcow2_write_options o = {p->virtual_size, p->backed ? "base.raw" : NULL,
                                          p->backed ? "raw" : NULL};
    uint64_t n_data = 0, n_tables = 0, last = UINT64_MAX;
    AUTO_FD int fd = open("image.qcow2", O_RDWR | O_CREAT | O_TRUNC, 0666);
    AUTO_FD int expect = open("expect.raw", O_RDWR);
    static uint8_t bytes[CLUSTER_SIZE];
    struct error e;
    AUTO(qcow2_writer) *w = qcow2_writer_new(fd, &o, &e);
    struct stat st;

    assert_non_null(w);
    for (size_t i = 0; i < p->n; i++) {
        uint64_t at = p->index[i] * CLUSTER_SIZE, size = div_up(p->virtual_size, 512) * 512;

        memset(bytes, 0, sizeof bytes);
        if (p->kind[i] == DATA) {
            fill_random(&seed, bytes, min_u64(sizeof bytes, size - at));
            assert_ok(qcow2_write_data(w, p->index[i], bytes, &e), &e);
        } else {
            assert_ok(qcow2_write_zero(w, p->index[i], &e), &e);
        }
        assert_written(expect, bytes, min_u64(sizeof bytes, size - at), at);
        n_data += p->kind[i] == DATA;
        n_tables += p->index[i] / 8192 != last;
        last = p->index[i] / 8192;
    }
    assert_ok(qcow2_write_finish(w, &e), &e);
    assert_int_equal(fstat(fd, &st), 0);
    assert_int_equal(st.st_size, qcow2_written_size(p->virtual_size, n_data, n_tables));
}

static enum kind kind_of(const struct pattern *p, uint64_t cluster)
{
    for (size_t i = 0; i < p->n; i++) {
        if (p->index[i] == cluster)
            return p->kind[i];
    }
    return ABSENT;
}

/* Holds one line of `qemu-img map --output=json` against the pattern. */
static uint64_t check_map_line(const struct pattern *p, const char *line)
{
    unsigned long long start, length;
    int depth;
    const char *object = strchr(line, '{');
    bool zero = strstr(line, "\"zero\": true") != NULL;
    bool data = strstr(line, "\"data\": true") != NULL;
    bool present = strstr(line, "\"present\": true") != NULL;

    assert_non_null(object);
    assert_int_equal(sscanf(object, "{ \"start\": %llu, \"length\": %llu, \"depth\": %d", &start,
                            &length, &depth),
                     3);
    for (uint64_t c = start / CLUSTER_SIZE; c < div_up(start + length, CLUSTER_SIZE); c++) {
        switch (kind_of(p, c)) {
        case DATA:
            assert_true(depth == 0 && data && !zero);
            break;
        case ZERO:
            assert_true(depth == 0 && zero && !data && present);
            break;
        case ABSENT:
            assert_true(depth == 1 || !present);
        }
        if (p->virtual_size > (1ull << 40))
            break; /* one cluster of a huge extent tells it all */
    }
    return length;
}

static void check_map(const struct pattern *p)
{
    FILE *map = popen("qemu-img map -f qcow2 --output=json image.qcow2", "r");
    uint64_t total = 0;
    char line[512];

    assert_non_null(map);
    while (fgets(line, sizeof line, map) != NULL) {
        if (strchr(line, '{') != NULL)
            total += check_map_line(p, line);
    }
    assert_int_equal(pclose(map), 0);
    assert_int_equal(total, div_up(p->virtual_size, 512) * 512);
}

static void check_pattern(const struct pattern *p)
{
    begin_expected(p);
    write_pattern(p);
    assert_int_equal(run("qemu-img check -q -f qcow2 image.qcow2"), 0);
    assert_int_equal(run("qemu-img compare -q -f qcow2 -F raw image.qcow2 expect.raw"), 0);
    check_map(p);
}

static void fill_pattern(struct pattern *p, uint64_t step)
{
    uint64_t clusters = div_up(p->virtual_size, CLUSTER_SIZE);

    p->n = 0;
    for (uint64_t c = next_random(&seed) % step; c < clusters;
         c += 1 + next_random(&seed) % (2 * step - 1)) {
        p->index[p->n] = c;
        p->kind[p->n++] = next_random(&seed) % 3 == 0 ? ZERO : DATA;
    }
}

static void random_images_are_what_qemu_expects(void **state)
{
    uint64_t index[4096];
    enum kind kind[4096];

    (void)state;
    for (int round = 0; round < 24; round++) {
        struct pattern p = {next_random(&seed) % (4 << 20), round % 3 != 0, 0, index, kind};

        if (round % 4 == 0)
            p.virtual_size = p.virtual_size / CLUSTER_SIZE * CLUSTER_SIZE;
        if (p.backed)
            make_base(p.virtual_size);
        fill_pattern(&p, 1 + next_random(&seed) % 4);
        check_pattern(&p);
    }
}

static void an_empty_disk_and_an_empty_overlay_are_images(void **state)
{
    struct pattern p = {};

    (void)state;
    check_pattern(&p);
    p = (struct pattern){.virtual_size = 1000001, .backed = true};
    make_base(p.virtual_size);
    check_pattern(&p);
}

static void a_disk_of_8_tib_with_few_clusters_is_small(void **state)
{
    uint64_t last = (8ull << 40) / CLUSTER_SIZE - 1;
    uint64_t index[] = {0, 8191, 8192, last / 2, last - 8192, last};
    enum kind kind[] = {DATA, ZERO, ZERO, DATA, ZERO, DATA};
    struct pattern p = {8ull << 40, false, 6, index, kind};

    (void)state;
    check_pattern(&p);
}

static void more_than_one_refcount_block_is_counted(void **state)
{
    const struct qcow2_write_options o = {4ull << 30, NULL, NULL};
    AUTO_FD int fd = open("image.qcow2", O_RDWR | O_CREAT | O_TRUNC, 0666);
    static uint8_t bytes[CLUSTER_SIZE] = {1};
    struct error e;
    AUTO(qcow2_writer) *w = qcow2_writer_new(fd, &o, &e);
    struct stat st;

    (void)state;
    assert_non_null(w);
    for (uint64_t i = 0; i < 33000; i++) {
        assert_ok(qcow2_write_data(w, i, bytes, &e), &e);
        if (i % 1024 == 1023) /* the test needs no 2 GiB of room */
            assert_int_equal(fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE,
                                       (off_t)((1 + i - 1023 + i / 8192) << 16), 1024 << 16),
                             0);
    }
    assert_ok(qcow2_write_finish(w, &e), &e);
    assert_int_equal(fstat(fd, &st), 0);
    assert_int_equal(st.st_size, qcow2_written_size(o.virtual_size, 33000, 5));
    assert_int_equal(run("qemu-img check -q -f qcow2 image.qcow2"), 0);
}

static void qemu_writes_to_it_and_finds_its_own_way(void **state)
{
    uint64_t index[] = {1, 2, 9000};
    enum kind kind[] = {DATA, ZERO, DATA};
    struct pattern p = {1ull << 30, true, 3, index, kind};

    (void)state;
    make_base(1 << 20);
    check_pattern(&p);
    assert_int_equal(run("qemu-io -f qcow2 -c 'write -P 17 0 300k' -c 'write -P 18 700M 1M' "
                         "-c 'write -z 64k 64k' image.qcow2 >/dev/null"),
                     0);
    assert_int_equal(run("qemu-io -f raw -c 'write -P 17 0 300k' -c 'write -P 18 700M 1M' "
                         "-c 'write -z 64k 64k' expect.raw >/dev/null"),
                     0);
    assert_int_equal(run("qemu-img check -q -f qcow2 image.qcow2"), 0);
    assert_int_equal(run("qemu-img compare -q -f qcow2 -F raw image.qcow2 expect.raw"), 0);
}

static void without_its_header_it_is_no_image(void **state)
{
    const struct qcow2_write_options o = {1 << 20, NULL, NULL};
    AUTO_FD int fd = open("image.qcow2", O_RDWR | O_CREAT | O_TRUNC, 0666);
    static uint8_t bytes[CLUSTER_SIZE];
    struct error e;
    AUTO(qcow2_writer) *w = qcow2_writer_new(fd, &o, &e);

    (void)state;
    assert_non_null(w);
    for (uint64_t i = 0; i < 16; i++)
        assert_ok(qcow2_write_data(w, i, bytes, &e), &e);
    assert_int_not_equal(run("qemu-img info -f qcow2 image.qcow2 >/dev/null 2>&1"), 0);
}

static void the_header_names_the_backing_file_and_its_format(void **state)
{
    const char *const formats[] = {"raw", "qcow2"};
    struct error e;

    (void)state;
    for (int i = 0; i < 2; i++) {
        const struct qcow2_write_options o = {1 << 20, "./a: b\xc3\xa4", formats[i]};
        AUTO_FD int fd = open("image.qcow2", O_RDWR | O_CREAT | O_TRUNC, 0666);
        AUTO(qcow2_writer) *w = qcow2_writer_new(fd, &o, &e);

        assert_non_null(w);
        assert_ok(qcow2_write_finish(w, &e), &e);
        assert_int_equal(run("qemu-img info -f qcow2 image.qcow2 >info"), 0);
        assert_int_equal(run("grep -q '^backing file: ./a: b\xc3\xa4 (actual path: ./a: b\xc3\xa4)'"
                             " info || grep -q '^backing file: ./a: b\xc3\xa4$' info"),
                         0);
        assert_int_equal(run("grep -q '^backing file format: %s$' info", formats[i]), 0);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(random_images_are_what_qemu_expects),
        cmocka_unit_test(an_empty_disk_and_an_empty_overlay_are_images),
        cmocka_unit_test(a_disk_of_8_tib_with_few_clusters_is_small),
        cmocka_unit_test(more_than_one_refcount_block_is_counted),
        cmocka_unit_test(qemu_writes_to_it_and_finds_its_own_way),
        cmocka_unit_test(without_its_header_it_is_no_image),
        cmocka_unit_test(the_header_names_the_backing_file_and_its_format),
    };
    char folder[256];
    int failed;

    skip_without("qemu-img");
    skip_without("qemu-io");
    seed = getenv("STEMMA_SEED") != NULL ? strtoull(getenv("STEMMA_SEED"), NULL, 0) : 20130501;
    printf("STEMMA_SEED=%ju\n", (uintmax_t)seed);
    enter_test_folder(folder);
    failed = cmocka_run_group_tests(tests, NULL, NULL);
    leave_test_folder(folder);
    return failed;
}
