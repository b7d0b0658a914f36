/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Chains, probing and the checking layer, with a format made up for it: "FAKE SIZE BACKING FORMAT",
 * where "-" is nothing; every second 512 bytes are the layer's own ('a' + first letter of the
 * name), the others the backing file's. */
#include "../test.h"

#include "base/io.h"
#include "env_files.h"

#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

static char *folder;
static unsigned fake_opens;
static unsigned answer_flags;  /* with these flags instead, */
static uint64_t answer_length; /* and this length, when not 0 */
static uint64_t answer_shift;

static bool fake_probe(const struct probe *p, const char **format)
{
    (void)format;
    return p->head_length >= 4 && memcmp(p->head, "FAKE", 4) == 0;
}

static int fake_open(struct disk *d, const struct disk_env *env, const struct disk_options *options,
                     int socket, struct error *e)
{
    char text[2048] = "", backing[1024], format[64];
    unsigned size;

    (void)options;
    (void)socket;
    fake_opens++;
    assert_ok(host_file_pread(d->files[0], text, d->files[0]->identity.size, 0, e), e);
    if (sscanf(text, "FAKE %u %1023s %63s", &size, backing, format) != 3)
        return err_set(e, ERR_FORMAT, "bad fake");
    d->size = size;
    if (strcmp(backing, "-") == 0)
        return 0;
    return disk_open_backing(d, env, strcmp(backing, "none") == 0 ? "" : backing,
                             strcmp(format, "-") == 0 ? NULL : format, e);
}

static int fake_extent(struct disk *d, uint64_t offset, struct extent *out, struct error *e)
{
    (void)d;
    (void)e;
    *out = (struct extent){.offset = offset + answer_shift,
                           .length = 512 - offset % 512,
                           .flags = offset / 512 % 2 == 0 ? 0 : EXTENT_BASE | EXTENT_HOLE};
    if (answer_flags != 0)
        out->flags = answer_flags;
    if (answer_length != 0)
        out->length = answer_length;
    return 0;
}

static int fake_pread(struct disk *d, void *bytes, size_t length, uint64_t offset, struct error *e)
{
    (void)offset;
    (void)e;
    memset(bytes, strrchr(d->name, '/')[1], length);
    return 0;
}

static const struct disk_driver fake_driver = {
    .name = "fake",
    .probe = fake_probe,
    .open = fake_open,
    .extent = fake_extent,
    .pread = fake_pread,
};

static const struct disk_driver *const drivers[] = {&fake_driver, &disk_driver_raw, NULL};

static void write_text(const char *name, const char *text)
{
    char *path = test_path(folder, name);
    FILE *f = fopen(path, "w");

    assert_non_null(f);
    fputs(text, f);
    fclose(f);
    free(path);
}

/* A raw file of that letter. */
static void write_raw(const char *name, size_t size)
{
    char *path = test_path(folder, name);
    FILE *f = fopen(path, "w");

    assert_non_null(f);
    for (size_t i = 0; i < size; i++)
        fputc(name[0], f);
    fclose(f);
    free(path);
}

static int open_in(struct test_env *t, const char *name, const char *format, struct disk **out,
                   struct error *e)
{
    char *path = test_path(folder, name);
    int result = test_env_open(t, path, format, NULL, out, e);

    free(path);
    return result;
}

static int setup(void **state)
{
    static struct test_env t;
    struct error e;

    assert_ok(test_env_init(&t, &e), &e);
    t.env.drivers = drivers;
    folder = test_folder_new();
    *state = &t;
    fake_opens = 0;
    answer_flags = 0;
    answer_length = 0;
    answer_shift = 0;
    return 0;
}

static int teardown(void **state)
{
    test_env_release(*state);
    test_folder_remove(folder);
    return 0;
}

static void expect_error(struct test_env *t, const char *name, const char *format,
                         enum err_code code, const char *part)
{
    AUTO(disk) *d = NULL;
    struct error e;

    assert_int_equal(open_in(t, name, format, &d, &e), -1);
    if (e.code != code || strstr(e.msg, part) == NULL)
        fail_msg("%s: %s (%s), expected %s (%s)", name, e.msg, err_code_name(e.code), part,
                 err_code_name(code));
}

static void reads_resolve_the_chain_and_zeros_follow_a_shorter_backing_file(void **state)
{
    AUTO(disk) *d = NULL;
    struct error e;
    uint8_t bytes[3000];

    write_raw("r.img", 700);
    write_text("b.qcow2", "FAKE 4096 r.img raw");
    write_text("a.qcow2", "FAKE 3000 b.qcow2 fake");
    assert_ok(open_in(*state, "a.qcow2", NULL, &d, &e), &e);
    assert_int_equal(disk_size(d), 3000);
    assert_string_equal(disk_format(disk_backing(disk_backing(d))), "raw");
    assert_ok(disk_pread(d, bytes, sizeof bytes, 0, &e), &e);
    for (size_t i = 0; i < sizeof bytes; i++) {
        /* b holds the same parities as a, so what a lacks comes from r, 700 bytes long */
        uint8_t wanted = i / 512 % 2 == 0 ? 'a' : i < 700 ? 'r' : 0;

        if (bytes[i] != wanted)
            fail_msg("byte %zu is %u, not %u", i, bytes[i], wanted);
    }
    assert_ok(disk_pread_padded(d, bytes, 1000, 2500, &e), &e);
    assert_int_equal(bytes[59], 'a');
    assert_int_equal(bytes[499], 0);
    assert_int_equal(bytes[999], 0);
    assert_int_equal(disk_pread(d, bytes, 2, 2999, &e), -1);
    assert_int_equal(e.code, ERR_INTERNAL);
}

static void a_backing_file_of_two_overlays_is_one_disk(void **state)
{
    AUTO(disk) *a = NULL;
    AUTO(disk) *b = NULL;
    AUTO(disk) *alone = NULL;
    struct error e;

    write_text("base.qcow2", "FAKE 4096 - -");
    write_text("a.qcow2", "FAKE 4096 base.qcow2 fake");
    write_text("b.qcow2", "FAKE 4096 base.qcow2 fake");
    assert_ok(open_in(*state, "a.qcow2", NULL, &a, &e), &e);
    assert_ok(open_in(*state, "b.qcow2", NULL, &b, &e), &e);
    assert_ok(open_in(*state, "base.qcow2", NULL, &alone, &e), &e);
    assert_ptr_equal(disk_backing(a), disk_backing(b));
    assert_ptr_equal(disk_backing(a), alone);
    assert_int_equal(fake_opens, 3);
    disk_close(take(a));
    disk_close(take(b));
    disk_close(take(alone));
    assert_ok(open_in(*state, "base.qcow2", NULL, &alone, &e), &e);
    assert_int_equal(fake_opens, 4); /* the registry holds nothing open */
}

static void an_image_read_as_raw_is_another_disk(void **state)
{
    AUTO(disk) *a = NULL;
    AUTO(disk) *raw = NULL;
    struct error e;

    write_text("a.qcow2", "FAKE 4096 - -");
    assert_ok(open_in(*state, "a.qcow2", NULL, &a, &e), &e);
    assert_ok(open_in(*state, "a.qcow2", "raw", &raw, &e), &e);
    assert_ptr_not_equal(a, raw);
    assert_int_equal(disk_size(raw), 13);
}

static void a_chain_that_comes_back_is_refused_with_both_names(void **state)
{
    write_text("a.qcow2", "FAKE 4096 b.qcow2 fake");
    write_text("b.qcow2", "FAKE 4096 c.qcow2 fake");
    write_text("c.qcow2", "FAKE 4096 ./b.qcow2 fake");
    write_text("self.qcow2", "FAKE 4096 self.qcow2 fake");
    write_text("raw.qcow2", "FAKE 4096 raw.qcow2 raw");
    expect_error(*state, "a.qcow2", NULL, ERR_FORMAT, "b.qcow2");
    expect_error(*state, "a.qcow2", NULL, ERR_FORMAT, "c.qcow2 names it");
    expect_error(*state, "self.qcow2", NULL, ERR_FORMAT, "comes back");
    expect_error(*state, "raw.qcow2", NULL, ERR_FORMAT, "comes back");
}

static void a_chain_has_a_depth_limit_also_through_shared_layers(void **state)
{
    AUTO(disk) *below = NULL;
    AUTO(disk) *d = NULL;
    struct test_env *t = *state;
    struct error e;
    char name[32], text[64];

    for (int i = 0; i < 300; i++) {
        snprintf(name, sizeof name, "%d.qcow2", i);
        snprintf(text, sizeof text, i == 299 ? "FAKE 4096 - -" : "FAKE 4096 %d.qcow2 fake", i + 1);
        write_text(name, text);
    }
    assert_ok(open_in(t, "43.qcow2", NULL, &below, &e), &e); /* 256 below it */
    expect_error(t, "42.qcow2", NULL, ERR_LIMIT, "256");
    t->limits.chain_depth = 299;
    assert_ok(open_in(t, "0.qcow2", NULL, &d, &e), &e);
    disk_close(take(d));
    t->limits.chain_depth = 298;
    expect_error(t, "0.qcow2", "fake", ERR_LIMIT, "298");
}

static void names_that_are_no_file_names_are_refused(void **state)
{
    AUTO(disk) *d = NULL;
    struct error e;
    static const char *const protocols[] = {
        "json:{\"driver\":\"raw\"}",
        "nbd:unix:/tmp/x",
        "nbd://host/x",
        "fat:rw:/etc",
        "ssh://host/x",
        "file:",
        "http://host/x",
        "rbd:pool/image",
    };

    write_raw("r.img", 512);
    for (size_t i = 0; i < sizeof protocols / sizeof *protocols; i++) {
        char text[200];

        snprintf(text, sizeof text, "FAKE 4096 %s raw", protocols[i]);
        write_text("a.qcow2", text);
        if (i == 5)
            expect_error(*state, "a.qcow2", NULL, ERR_FORMAT, "empty");
        else
            expect_error(*state, "a.qcow2", NULL, ERR_UNSUPPORTED, "only plain file names");
    }
    write_text("a.qcow2", "FAKE 4096 none raw");
    expect_error(*state, "a.qcow2", NULL, ERR_FORMAT, "empty");
    write_text("a.qcow2", "FAKE 4096 gone.img raw");
    expect_error(*state, "a.qcow2", NULL, ERR_NOT_FOUND, "backing file gone.img");
    write_text("a.qcow2", "FAKE 4096 file:r.img raw");
    assert_ok(open_in(*state, "a.qcow2", NULL, &d, &e), &e);
    disk_close(take(d));
    write_text("a.qcow2", "FAKE 4096 r.img martian");
    expect_error(*state, "a.qcow2", "fake", ERR_UNSUPPORTED, "martian");
}

static void a_guest_cannot_turn_its_raw_disk_into_an_overlay(void **state)
{
    AUTO(disk) *d = NULL;
    struct error e;

    write_raw("secret", 512);
    write_text("disk.img", "FAKE 4096 secret raw");
    expect_error(*state, "disk.img", NULL, ERR_DENIED, "--image-format=fake");
    assert_ok(open_in(*state, "disk.img", "raw", &d, &e), &e);
    assert_null(disk_backing(d));
    disk_close(take(d));
    assert_ok(open_in(*state, "disk.img", "fake", &d, &e), &e);
    assert_non_null(disk_backing(d));
    /* also when it is open by now because someone said what it is */
    expect_error(*state, "disk.img", NULL, ERR_DENIED, "guest");
    /* and below an overlay that does not record the format */
    write_text("top.qcow2", "FAKE 4096 disk.img -");
    expect_error(*state, "top.qcow2", NULL, ERR_DENIED, "backing file disk.img");
    write_text("top.qcow2", "FAKE 4096 disk.img fake");
    disk_close(take(d));
    assert_ok(open_in(*state, "top.qcow2", NULL, &d, &e), &e);
    disk_close(take(d));
    write_text("plain.img", "FAKE 4096 - -");
    assert_ok(open_in(*state, "plain.img", NULL, &d, &e), &e);
}

static void an_unknown_format_is_wrong_usage_and_the_known_are_told(void **state)
{
    write_raw("r.img", 512);
    expect_error(*state, "r.img", "qcow7", ERR_USAGE, "fake, raw");
}

static void a_snapshot_that_a_format_does_not_have_is_not_found(void **state)
{
    AUTO(disk) *d = NULL;
    struct error e;
    char *path = test_path(folder, "r.img");

    write_raw("r.img", 512);
    assert_int_equal(test_env_open(*state, path, NULL, "before", &d, &e), -1);
    assert_int_equal(e.code, ERR_NOT_FOUND);
    free(path);
}

static void what_drivers_answer_is_checked(void **state)
{
    AUTO(disk) *d = NULL;
    struct extent x;
    struct error e;

    write_text("a.qcow2", "FAKE 1000 - -");
    assert_ok(open_in(*state, "a.qcow2", NULL, &d, &e), &e);
    assert_ok(disk_extent(d, 600, &x, &e), &e); /* BASE without a backing file is zero */
    assert_int_equal(x.flags, EXTENT_ZERO | EXTENT_HOLE);
    assert_int_equal(x.length, 400); /* cut at the end */
    assert_int_equal(disk_extent(d, 1000, &x, &e), -1);
    static const unsigned bad[] = {EXTENT_ZERO | EXTENT_BASE, EXTENT_LOCATED,
                                   EXTENT_LOCATED | EXTENT_COMPRESSED, 1u << 9,
                                   EXTENT_HOLE | EXTENT_COMPRESSED};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        answer_flags = bad[i];
        assert_int_equal(disk_extent(d, 0, &x, &e), -1);
        assert_int_equal(e.code, ERR_INTERNAL);
    }
    answer_flags = 0;
    answer_shift = 1;
    assert_int_equal(disk_extent(d, 0, &x, &e), -1);
    answer_shift = 0;
    answer_length = UINT64_MAX;
    assert_ok(disk_extent(d, 0, &x, &e), &e);
    assert_int_equal(x.length, 1000);
}

static void a_disk_may_not_claim_any_size(void **state)
{
    struct test_env *t = *state;

    t->limits.virtual_size = 4095;
    write_text("a.qcow2", "FAKE 4096 - -");
    expect_error(t, "a.qcow2", NULL, ERR_LIMIT, "4095");
}

int main(void)
{
#define CASE(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
    const struct CMUnitTest tests[] = {
        CASE(reads_resolve_the_chain_and_zeros_follow_a_shorter_backing_file),
        CASE(a_backing_file_of_two_overlays_is_one_disk),
        CASE(an_image_read_as_raw_is_another_disk),
        CASE(a_chain_that_comes_back_is_refused_with_both_names),
        CASE(a_chain_has_a_depth_limit_also_through_shared_layers),
        CASE(names_that_are_no_file_names_are_refused),
        CASE(a_guest_cannot_turn_its_raw_disk_into_an_overlay),
        CASE(an_unknown_format_is_wrong_usage_and_the_known_are_told),
        CASE(a_snapshot_that_a_format_does_not_have_is_not_found),
        CASE(what_drivers_answer_is_checked),
        CASE(a_disk_may_not_claim_any_size),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
