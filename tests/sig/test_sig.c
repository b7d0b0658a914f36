/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "../test.h"

#include "base/buf.h"
#include "base/io.h"
#include "base/mem.h"
#include "disk/reader.h"
#include "hash/digest.h"
#include "sig/compare.h"
#include "sig/sig.h"
#include "sig_make.h"

#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>

/* An id that is not null and tells its number. */
static struct id numbered(unsigned n)
{
    struct id id = {{0xab, (uint8_t)n, (uint8_t)(n >> 8), 1}};

    return id;
}

static struct sig *make(uint64_t size, const struct id_run *runs, size_t n_runs,
                        const struct id *ids)
{
    struct error e;
    struct id_run *own_runs = mem_array(n_runs, sizeof *runs, "runs", &e);
    struct sig *s = NULL;
    struct id *own_ids;
    size_t n = 0;

    for (size_t i = 0; i < n_runs; i++)
        n += runs[i].count;
    own_ids = mem_array(n, sizeof *ids, "ids", &e);
    if (n_runs > 0)
        memcpy(own_runs, runs, n_runs * sizeof *runs);
    if (n > 0)
        memcpy(own_ids, ids, n * sizeof *ids);
    assert_ok(sig_make(size, "raw", own_runs, n_runs, own_ids, &s, &e), &e);
    return s;
}

/* Clusters 0, 1 and 4 of a disk that ends within cluster 4. */
static struct sig *make_small(void)
{
    const struct id_run runs[] = {{0, 2}, {4, 1}};
    const struct id ids[] = {numbered(1), numbered(2), numbered(3)};

    return make(4 * CLUSTER_SIZE + 100, runs, 2, ids);
}

static int memory_file(const void *bytes, size_t length)
{
    int fd = memfd_create("signature", MFD_CLOEXEC);
    struct error e;

    assert_true(fd >= 0);
    assert_ok(io_pwrite(fd, bytes, length, 0, &e), &e);
    return fd;
}

/* The file form, in memory. */
static void file_form(const struct sig *s, struct buf *out)
{
    AUTO_FD int fd = memory_file("", 0);
    struct error e;
    struct stat st;

    assert_ok(sig_write(s, fd, &e), &e);
    assert_int_equal(fstat(fd, &st), 0);
    assert_non_null(buf_extend(out, (size_t)st.st_size));
    assert_ok(io_pread_exact(fd, out->bytes, out->length, 0, &e), &e);
}

static void assert_same(const struct sig *a, const struct sig *b)
{
    assert_int_equal(a->size, b->size);
    assert_int_equal(a->data_bytes, b->data_bytes);
    assert_int_equal(a->n_runs, b->n_runs);
    assert_int_equal(a->n_ids, b->n_ids);
    assert_string_equal(a->format, b->format);
    assert_true(id_equal(&a->content, &b->content) && id_equal(&a->disk, &b->disk));
    for (size_t i = 0; i < a->n_runs; i++) {
        assert_int_equal(a->runs[i].first, b->runs[i].first);
        assert_int_equal(a->runs[i].count, b->runs[i].count);
        assert_int_equal(a->runs[i].at, b->runs[i].at);
    }
    for (size_t i = 0; i < a->n_ids; i++)
        assert_true(id_equal(&a->ids[i], &b->ids[i]));
}

static void adjacent_runs_and_null_ids_are_tidied(void **state)
{
    const struct id_run runs[] = {{1, 2}, {3, 1}, {5, 4}, {20, 1}};
    const struct id ids[] = {numbered(1), numbered(2), numbered(3), null_id,
                             numbered(4), null_id,     numbered(5), null_id};
    AUTO(sig) *s = make(32 * CLUSTER_SIZE, runs, 4, ids);

    (void)state;
    assert_int_equal(s->n_runs, 3);
    assert_int_equal(s->n_ids, 5);
    assert_int_equal(s->data_bytes, 5 * CLUSTER_SIZE);
    assert_int_equal(s->runs[0].first, 1);
    assert_int_equal(s->runs[0].count, 3);
    assert_int_equal(s->runs[1].first, 6);
    assert_int_equal(s->runs[1].count, 1);
    assert_int_equal(s->runs[2].first, 8);
    assert_int_equal(s->runs[2].at, 4);
    assert_true(id_equal(sig_id(s, 3), &ids[2]));
    assert_true(id_equal(sig_id(s, 6), &ids[4]));
    assert_true(id_equal(sig_id(s, 8), &ids[6]));
    assert_true(id_is_null(sig_id(s, 0)) && id_is_null(sig_id(s, 7)));
    assert_true(id_is_null(sig_id(s, 20)) && id_is_null(sig_id(s, UINT64_MAX)));
}

static void the_last_cluster_counts_up_to_the_end_of_the_disk(void **state)
{
    AUTO(sig) *s = make_small();

    (void)state;
    assert_int_equal(sig_clusters(s), 5);
    assert_int_equal(s->data_bytes, 2 * CLUSTER_SIZE + 100);
}

static void an_empty_disk_has_a_signature_of_224_bytes(void **state)
{
    const uint64_t sizes[] = {0, 1, DISK_SIZE_MAX};

    (void)state;
    for (size_t i = 0; i < 3; i++) {
        AUTO(sig) *s = make(sizes[i], NULL, 0, NULL);
        AUTO(sig) *back = NULL;
        AUTO_BUF file = {};
        struct error e;

        assert_true(id_is_null(&s->content));
        file_form(s, &file);
        assert_int_equal(file.length, 224);
        assert_ok(sig_parse(file.bytes, file.length, &back, &e), &e);
        assert_same(s, back);
    }
}

static void what_was_written_is_read(void **state)
{
    AUTO(sig) *s = make_small();
    AUTO(sig) *parsed = NULL;
    AUTO(sig) *read = NULL;
    AUTO_BUF file = {};
    AUTO_FD int fd = -1;
    struct error e;

    (void)state;
    file_form(s, &file);
    assert_int_equal(file.length, 192 + 2 * 16 + 3 * 32 + 32);
    assert_true(sig_probe(file.bytes, file.length));
    assert_false(sig_probe(file.bytes, 7));
    assert_ok(sig_parse(file.bytes, file.length, &parsed, &e), &e);
    assert_same(s, parsed);
    fd = memory_file(file.bytes, file.length);
    assert_ok(sig_read(fd, "a.sig", &read, &e), &e);
    assert_same(s, read);
}

static void large_files_are_read_as_well_and_written_the_same_again(void **state)
{
    const struct id_run runs[] = {{7, 30000}, {40000, 20000}};
    AUTO_FREE struct id *ids = calloc(50000, sizeof *ids);
    AUTO(sig) *s = NULL, *back = NULL;
    AUTO_BUF file = {}, again = {};
    AUTO_FD int fd = -1;
    struct error e;

    (void)state;
    for (unsigned i = 0; i < 50000; i++)
        ids[i] = numbered(i);
    s = make((uint64_t)1 << 40, runs, 2, ids);
    file_form(s, &file);
    fd = memory_file(file.bytes, file.length);
    assert_ok(sig_read(fd, "large.sig", &back, &e), &e);
    assert_same(s, back);
    file_form(back, &again);
    assert_int_equal(file.length, again.length);
    assert_memory_equal(file.bytes, again.bytes, file.length);
}

static void a_file_that_shrinks_under_its_signature_reads_as_null_ids(void **state)
{
    unsigned *numbers = calloc(50000, sizeof *numbers);
    AUTO(sig) *s = NULL, *kept = NULL, *other = NULL;
    struct comparison c;
    AUTO_BUF file = {};
    AUTO_FD int fd = -1, fd2 = -1;
    struct error e;

    (void)state;
    assert_ok(sig_init(&e), &e); /* cmocka has a handler of its own in each test */
    for (unsigned i = 0; i < 50000; i++)
        numbers[i] = i + 1;
    s = sig_of_numbers((uint64_t)50000 * CLUSTER_SIZE, numbers, 50000);
    file_form(s, &file);
    fd = memory_file(file.bytes, file.length);
    fd2 = memory_file(file.bytes, file.length);
    assert_ok(sig_read(fd, "a.sig", &kept, &e), &e);
    assert_ok(sig_read(fd2, "b.sig", &other, &e), &e);
    assert_non_null(kept->mapping_);
    assert_int_equal(ftruncate(fd, 8192), 0);
    assert_true(id_equal(sig_id(kept, 1), sig_id(s, 1)));
    assert_false(sig_lost(kept));
    assert_true(id_is_null(sig_id(kept, 49999)));
    assert_true(sig_lost(kept));
    assert_false(sig_lost(other));
    assert_true(id_equal(sig_id(other, 49999), sig_id(s, 49999)));
    assert_int_equal(compare_signatures(kept, other, &c, &e), -1);
    assert_int_equal(e.code, ERR_CHANGED);
    free(numbers);
}

static void thousands_of_signatures_can_be_open_again_and_again(void **state)
{
    const size_t n = 2000;
    unsigned *numbers = calloc(3000, sizeof *numbers);
    struct sig **many = calloc(n, sizeof *many);
    AUTO(sig) *s = NULL;
    AUTO_BUF file = {};
    AUTO_FD int fd = -1;
    struct error e;

    (void)state;
    for (unsigned i = 0; i < 3000; i++)
        numbers[i] = i + 1;
    s = sig_of_numbers((uint64_t)3000 * CLUSTER_SIZE, numbers, 3000);
    file_form(s, &file);
    fd = memory_file(file.bytes, file.length);
    for (unsigned round = 0; round < 2; round++) {
        for (size_t i = 0; i < n; i++)
            assert_ok(sig_read(fd, "a.sig", &many[i], &e), &e);
        assert_same(many[n - 1], s);
        for (size_t i = 0; i < n; i++)
            sig_unref(many[i]);
    }
    free(many);
    free(numbers);
}

static void a_full_disk_of_10_gib_takes_at_most_5_3_mb(void **state)
{
    const struct id_run run = {0, 163840};
    AUTO_FREE struct id *ids = calloc(163840, sizeof *ids);
    AUTO(sig) *s = NULL;
    AUTO_BUF file = {};

    (void)state;
    for (unsigned i = 0; i < 163840; i++)
        ids[i] = numbered(i);
    s = make((uint64_t)10 << 30, &run, 1, ids);
    file_form(s, &file);
    assert_true(file.length <= 5300000);
}

static void assert_refused(const void *bytes, size_t length, enum err_code code)
{
    AUTO(sig) *s = NULL;
    struct error e = {};
    /* an own copy, so that a sanitizer sees each byte read behind its end */
    AUTO_FREE uint8_t *copy = malloc(length > 0 ? length : 1);

    memcpy(copy, bytes, length);
    assert_int_equal(sig_parse(copy, length, &s, &e), -1);
    assert_null(s);
    if (code != ERR_NONE)
        assert_int_equal(e.code, code);
}

static void a_change_of_any_byte_is_refused(void **state)
{
    AUTO(sig) *s = make_small();
    AUTO_BUF file = {};

    (void)state;
    file_form(s, &file);
    for (size_t i = 0; i < file.length; i++) {
        for (unsigned bit = 0; bit < 8; bit += 7) {
            file.bytes[i] ^= (uint8_t)(1u << bit);
            assert_refused(file.bytes, file.length, ERR_NONE);
            file.bytes[i] ^= (uint8_t)(1u << bit);
        }
    }
}

static void a_file_cut_short_or_too_long_is_refused(void **state)
{
    AUTO(sig) *s = make_small();
    AUTO_BUF file = {};

    (void)state;
    file_form(s, &file);
    for (size_t length = 0; length < file.length; length++) {
        AUTO_FD int fd = memory_file(file.bytes, length);
        AUTO(sig) *read = NULL;
        struct error e;

        assert_refused(file.bytes, length, ERR_FORMAT);
        assert_int_equal(sig_read(fd, "short.sig", &read, &e), -1);
    }
    buf_put_u8(&file, 0);
    assert_refused(file.bytes, file.length, ERR_FORMAT);
}

/* Forged files: whoever makes one can also make its checksums right. */
static void put_u64(uint8_t *at, uint64_t n)
{
    for (unsigned i = 0; i < 8; i++)
        at[i] = (uint8_t)(n >> 8 * i);
}

static void seal(struct buf *file)
{
    struct digest d;
    struct id sum;

    digest_init(&d, "stemma signature 1 header");
    digest_update(&d, file->bytes, 160);
    digest_final(&d, &sum);
    memcpy(file->bytes + 160, &sum, 32);
    digest_init(&d, "stemma signature 1 file");
    digest_update(&d, file->bytes, file->length - 32);
    digest_final(&d, &sum);
    memcpy(file->bytes + file->length - 32, &sum, 32);
}

/* The file of make_small() with one number changed; `wide` in bytes. */
static void assert_forged_is_refused(size_t offset, uint64_t value, size_t wide, enum err_code code)
{
    AUTO(sig) *s = make_small();
    AUTO_BUF file = {};
    uint8_t number[8];

    file_form(s, &file);
    seal(&file);
    put_u64(number, value);
    memcpy(file.bytes + offset, number, wide);
    seal(&file);
    assert_refused(file.bytes, file.length, code);
}

static void other_versions_algorithms_and_cluster_sizes_are_unsupported(void **state)
{
    (void)state;
    assert_forged_is_refused(8, 2, 4, ERR_UNSUPPORTED);
    assert_forged_is_refused(8, 0, 4, ERR_UNSUPPORTED);
    assert_forged_is_refused(16, 2, 4, ERR_UNSUPPORTED);
    assert_forged_is_refused(20, 131072, 4, ERR_UNSUPPORTED);
}

static void a_forged_header_is_refused(void **state)
{
    (void)state;
    assert_forged_is_refused(12, 191, 4, ERR_FORMAT);               /* header length */
    assert_forged_is_refused(24, DISK_SIZE_MAX + 1, 8, ERR_FORMAT); /* disk size */
    assert_forged_is_refused(24, 4 * CLUSTER_SIZE, 8, ERR_FORMAT);  /* ... without cluster 4 */
    assert_forged_is_refused(32, 2 * CLUSTER_SIZE, 8, ERR_FORMAT);  /* data bytes */
    assert_forged_is_refused(40, 4, 8, ERR_FORMAT);                 /* runs */
    assert_forged_is_refused(40, (uint64_t)1 << 60, 8, ERR_FORMAT); /* ... that overflow */
    assert_forged_is_refused(48, (uint64_t)1 << 59, 8, ERR_FORMAT); /* ids that overflow */
    assert_forged_is_refused(48, UINT64_MAX, 8, ERR_FORMAT);
    assert_forged_is_refused(56, 0, 8, ERR_FORMAT);    /* no format */
    assert_forged_is_refused(56, 0x0a, 1, ERR_FORMAT); /* one with a newline */
    assert_forged_is_refused(68, 'x', 1, ERR_FORMAT);  /* one behind the zeros */
    assert_forged_is_refused(71, 'x', 1, ERR_FORMAT);
    assert_forged_is_refused(72, 0, 8, ERR_FORMAT);  /* content id */
    assert_forged_is_refused(104, 0, 8, ERR_FORMAT); /* disk id */
    assert_forged_is_refused(136, 1, 8, ERR_FORMAT); /* zeros */
}

static void forged_runs_and_ids_are_refused(void **state)
{
    const size_t runs = 192, ids = 192 + 32;

    (void)state;
    assert_forged_is_refused(runs, 3, 8, ERR_FORMAT);              /* overlaps the second */
    assert_forged_is_refused(runs, 2, 8, ERR_FORMAT);              /* adjacent to it */
    assert_forged_is_refused(runs, UINT64_MAX - 1, 8, ERR_FORMAT); /* beyond the end */
    assert_forged_is_refused(runs + 8, 0, 8, ERR_FORMAT);          /* empty */
    assert_forged_is_refused(runs + 8, 1, 8, ERR_FORMAT);          /* ids left over */
    assert_forged_is_refused(runs + 8, UINT64_MAX, 8, ERR_FORMAT);
    assert_forged_is_refused(runs + 16, 5, 8, ERR_FORMAT); /* beyond the disk's end */
    assert_forged_is_refused(runs + 24, 2, 8, ERR_FORMAT);
    for (size_t i = 0; i < 3; i++) {
        AUTO(sig) *s = make_small();
        AUTO_BUF file = {};

        file_form(s, &file);
        memset(file.bytes + ids + i * 32, 0, 32);
        seal(&file);
        assert_refused(file.bytes, file.length, ERR_FORMAT);
    }
}

static void runs_out_of_order_and_disks_too_large_are_not_made(void **state)
{
    const struct {
        uint64_t size;
        struct id_run runs[2];
        enum err_code code;
    } cases[] = {
        {10 * CLUSTER_SIZE, {{3, 2}, {4, 1}}, ERR_INTERNAL},
        {10 * CLUSTER_SIZE, {{3, 1}, {2, 1}}, ERR_INTERNAL},
        {10 * CLUSTER_SIZE, {{3, 1}, {9, 2}}, ERR_INTERNAL},
        {DISK_SIZE_MAX + 1, {{3, 1}, {9, 1}}, ERR_LIMIT},
    };

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct id_run *runs = malloc(sizeof cases[i].runs);
        struct id *ids = calloc(4, sizeof *ids);
        struct sig *s = NULL;
        struct error e;

        memcpy(runs, cases[i].runs, sizeof cases[i].runs);
        assert_int_equal(sig_make(cases[i].size, "raw", runs, 2, ids, &s, &e), -1);
        assert_int_equal(e.code, cases[i].code);
        assert_null(s);
    }
}

static void a_reference_keeps_it(void **state)
{
    struct sig *s = make_small();
    AUTO(sig) *kept = sig_ref(s);

    (void)state;
    sig_unref(s);
    assert_int_equal(kept->n_ids, 3);
    sig_unref(NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(adjacent_runs_and_null_ids_are_tidied),
        cmocka_unit_test(the_last_cluster_counts_up_to_the_end_of_the_disk),
        cmocka_unit_test(an_empty_disk_has_a_signature_of_224_bytes),
        cmocka_unit_test(what_was_written_is_read),
        cmocka_unit_test(large_files_are_read_as_well_and_written_the_same_again),
        cmocka_unit_test(a_file_that_shrinks_under_its_signature_reads_as_null_ids),
        cmocka_unit_test(thousands_of_signatures_can_be_open_again_and_again),
        cmocka_unit_test(a_full_disk_of_10_gib_takes_at_most_5_3_mb),
        cmocka_unit_test(a_change_of_any_byte_is_refused),
        cmocka_unit_test(a_file_cut_short_or_too_long_is_refused),
        cmocka_unit_test(other_versions_algorithms_and_cluster_sizes_are_unsupported),
        cmocka_unit_test(a_forged_header_is_refused),
        cmocka_unit_test(forged_runs_and_ids_are_refused),
        cmocka_unit_test(runs_out_of_order_and_disks_too_large_are_not_made),
        cmocka_unit_test(a_reference_keeps_it),
    };

    struct error e;

    hash_init();
    assert_ok(reader_init(&e), &e);
    assert_ok(sig_init(&e), &e);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
