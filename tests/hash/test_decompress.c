/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Decompression of what python's zlib and the zstd tool made. Each output buffer is allocated to
 * the byte, so that the address sanitizer sees any write behind it. */
#include "../test.h"

#include "hash/decompress.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define INPUT_MAX (4u << 20)
#define PADDING 512u

typedef int decompressor(void *to, size_t to_length, const void *from, size_t from_length,
                         struct error *e);

/* The content, as python makes it: text-like, with far repeats; its size is in the environment. */
#define CONTENT                                                                                    \
    "import os,sys,zlib;n=int(os.environ[\"SIZE\"]);w=sys.stdout.buffer.write;"                    \
    "d=bytes((i*i>>7&63)+(i>>13)&255 for i in range(n));"

static uint8_t content(size_t i)
{
    return (uint8_t)(((i * i >> 7) & 63) + (i >> 13));
}

static size_t output_of(const char *command, size_t size, uint8_t *to)
{
    char text[32];
    FILE *f;
    size_t n;

    snprintf(text, sizeof text, "%zu", size);
    assert_int_equal(setenv("SIZE", text, 1), 0);
    f = popen(command, "r");

    assert_non_null(f);
    n = fread(to, 1, INPUT_MAX, f);
    if (pclose(f) != 0)
        fail_msg("failed: %s", command);
    return n;
}

/* 0 and the right bytes, or -1 with ERR_FORMAT. */
static int attempt(decompressor *decompress, size_t to_length, const uint8_t *from, size_t length,
                   struct error *e)
{
    uint8_t *to = malloc(to_length + (to_length == 0));
    uint8_t *exact = malloc(length + (length == 0));
    int result;

    assert_non_null(to);
    assert_non_null(exact);
    memcpy(exact, from, length);
    result = decompress(to, to_length, exact, length, e);
    for (size_t i = 0; result == 0 && i < to_length; i++)
        assert_int_equal(to[i], content(i));
    if (result != 0)
        assert_int_equal(e->code, ERR_FORMAT);
    free(exact);
    free(to);
    return result;
}

/* Damaged input may still decompress to something; only what it must not do is looked at. */
static void damage(decompressor *decompress, size_t size, uint8_t *from, size_t n)
{
    uint8_t *to = malloc(size);
    struct error e;

    assert_non_null(to);
    for (size_t i = 0; i < n; i += 1 + n / 50)
        for (int bit = 0; bit < 8; bit++) {
            from[i] ^= (uint8_t)(1 << bit);
            if (decompress(to, size, from, n, &e) != 0)
                assert_int_equal(e.code, ERR_FORMAT);
            from[i] ^= (uint8_t)(1 << bit);
        }
    free(to);
}

static void check(decompressor *decompress, const char *make, size_t size)
{
    uint8_t *from = malloc(INPUT_MAX + PADDING);
    struct error e;
    size_t n;

    assert_non_null(from);
    n = output_of(make, size, from);
    memset(from + n, 0xee, PADDING);
    assert_ok(attempt(decompress, size, from, n, &e), &e);
    assert_ok(attempt(decompress, size, from, n + PADDING, &e), &e);
    memset(from + n, 0, PADDING);
    assert_ok(attempt(decompress, size, from, n + PADDING, &e), &e);
    assert_ok(attempt(decompress, 0, from, n, &e), &e);
    assert_int_equal(attempt(decompress, size + 1, from, n, &e), -1);
    for (size_t cut = 0; cut + 8 < n; cut += 1 + n / 50)
        assert_int_equal(attempt(decompress, size, from, cut, &e), -1);
    damage(decompress, size, from, n);
    free(from);
}

#define DEFLATE(bits, level)                                                                       \
    "python3 -c '" CONTENT "c=zlib.compressobj(" level ",8," bits ");w(c.compress(d)+c.flush())'"
#define ZSTD(options) "python3 -c '" CONTENT "w(d)' | zstd -q -c " options

static void deflate_of_python_comes_back(void **state)
{
    (void)state;
    check(decompress_deflate, DEFLATE("-12", "9"), 65536);
    check(decompress_deflate, DEFLATE("-15", "9"), 65536);
    check(decompress_deflate, DEFLATE("-15", "0"), 65536);
    check(decompress_deflate, DEFLATE("-12", "1"), 512);
    check(decompress_deflate, DEFLATE("-15", "6"), 512u << 10);
}

static void zstd_of_the_tool_comes_back(void **state)
{
    (void)state;
    check(decompress_zstd, ZSTD(""), 65536);
    check(decompress_zstd, ZSTD("-19"), 65536);
    check(decompress_zstd, ZSTD("--no-check"), 512);
    check(decompress_zstd, ZSTD("--ultra -22 --long=27"), 512u << 10);
}

/* qemu reads on while the cluster is not full (block/qcow2-threads.c). */
static void several_zstd_frames_make_one_cluster(void **state)
{
    (void)state;
    check(decompress_zstd,
          "python3 -c '" CONTENT
          "import subprocess as s;[w(s.run([\"zstd\",\"-qc\"],input=x,stdout=-1).stdout)for x in "
          "(d[:1000],b\"\",d[1000:])]'",
          65536);
}

static void a_frame_larger_than_the_output_is_refused_a_deflate_stream_is_not(void **state)
{
    uint8_t *from = malloc(INPUT_MAX);
    struct error e;
    size_t n;

    (void)state;
    assert_non_null(from);
    n = output_of(ZSTD(""), 65536, from);
    assert_int_equal(attempt(decompress_zstd, 65535, from, n, &e), -1);
    n = output_of(DEFLATE("-12", "6"), 65536, from);
    assert_ok(attempt(decompress_deflate, 65535, from, n, &e), &e);
    free(from);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(deflate_of_python_comes_back),
        cmocka_unit_test(zstd_of_the_tool_comes_back),
        cmocka_unit_test(several_zstd_frames_make_one_cluster),
        cmocka_unit_test(a_frame_larger_than_the_output_is_refused_a_deflate_stream_is_not),
    };

    if (system("command -v python3 >/dev/null && command -v zstd >/dev/null") != 0) {
        fprintf(stderr, "python3 or zstd is missing\n");
        return 77;
    }
    return cmocka_run_group_tests(tests, NULL, NULL);
}
