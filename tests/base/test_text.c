/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "../test.h"

#include "base/auto.h"
#include "base/text.h"

#include <string.h>

static const char *text_of(struct buf *b)
{
    buf_put_u8(b, 0);
    assert_false(b->failed);
    return (const char *)b->bytes;
}

/* The right side was computed in Python with decimal, rounding halves up. */
static void sizes_have_three_digits_and_no_needless_zeros(void **state)
{
    static const struct {
        uint64_t bytes;
        const char *text;
    } cases[] = {
        {0ull, "0 B"},
        {1ull, "1 B"},
        {1023ull, "1023 B"},
        {1024ull, "1 KiB"},
        {1029ull, "1 KiB"},
        {1030ull, "1.01 KiB"},
        {1536ull, "1.5 KiB"},
        {10234ull, "9.99 KiB"},
        {10235ull, "10 KiB"},
        {10240ull, "10 KiB"},
        {102348ull, "99.9 KiB"},
        {102400ull, "100 KiB"},
        {1047552ull, "1023 KiB"},
        {1048063ull, "1023 KiB"},
        {1048064ull, "1 MiB"},
        {1048575ull, "1 MiB"},
        {10737418240ull, "10 GiB"},
        {10485759ull, "10 MiB"},
        {123456789ull, "118 MiB"},
        {107373133824ull, "100 GiB"},
        {1099511627775ull, "1 TiB"},
        {1099511627776ull, "1 TiB"},
        {1125899906842623ull, "1 PiB"},
        {9223372036854775808ull, "8 EiB"},
        {18446744073709551615ull, "16 EiB"},
    };
    char text[TEXT_SIZE_MAX];

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        assert_string_equal(text_size(text, cases[i].bytes), cases[i].text);
}

static void sizes_are_read_as_users_type_them(void **state)
{
    static const struct {
        const char *text;
        uint64_t bytes;
    } cases[] = {
        {"0", 0},
        {"4096", 4096},
        {"4096B", 4096},
        {"64K", 65536},
        {"64k", 65536},
        {"64KiB", 65536},
        {"64kib", 65536},
        {"1.5G", 1610612736},
        {"0.1K", 102},
        {"1.0009765625M", 1049600},
        {"2T", 2199023255552},
        {"1.7P", 1914029841632461},
        {"18446744073709551615", UINT64_MAX},
        {"00000000000000000000000000000000001", 1},
    };
    static const char *const bad[] = {
        "",
        "K",
        "-1",
        "+1",
        " 1",
        "1 ",
        "1 K",
        "1KB",
        "1.",
        "1.K",
        ".5K",
        "1e3",
        "0x10",
        "64X",
        "64KiX",
        "1Ki",
        "64KK",
        "1,5",
        "1BiB",
        "64\x0b",
        "\xc3",
        "1+",
        "1K ",
        "18446744073709551616",
        "16E",
        "99999999999999999999999K",
        "17179869184G",
    };

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct error e;
        uint64_t n = 77;

        assert_ok(text_parse_size(cases[i].text, &n, &e), &e);
        assert_int_equal(n, cases[i].bytes);
    }
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        struct error e;
        uint64_t n = 77;

        if (text_parse_size(bad[i], &n, &e) == 0)
            fail_msg("'%s' is taken for a size", bad[i]);
        assert_int_equal(e.code, ERR_USAGE);
        assert_int_equal(n, 77);
    }
}

static void only_well_formed_utf8_is_utf8(void **state)
{
    static const char *const good[] = {
        "",
        "abc",
        "\x01\x7f",
        "\xc2\x80",
        "\xdf\xbf",
        "\xe0\xa0\x80",
        "\xed\x9f\xbf",
        "\xee\x80\x80",
        "\xef\xbf\xbf",
        "\xf0\x90\x80\x80",
        "\xf4\x8f\xbf\xbf",
        "Gr\xc3\xbc\xc3\x9f e",
    };
    static const char *const bad[] = {
        "\x80",
        "\xbf",
        "a\xc3",
        "\xc0\xaf",
        "\xc1\xbf",
        "\xe0\x80\xaf",
        "\xe0\x9f\xbf",
        "\xed\xa0\x80",
        "\xed\xbf\xbf",
        "\xf0\x80\x80\xaf",
        "\xf0\x8f\xbf\xbf",
        "\xf4\x90\x80\x80",
        "\xf5\x80\x80\x80",
        "\xf8\x88\x80\x80\x80",
        "\xff",
        "\xe2\x82",
        "\xe2\x28\xa1",
        "\xf0\x9f\x98",
    };

    (void)state;
    for (size_t i = 0; i < sizeof good / sizeof *good; i++)
        assert_true(text_is_utf8(good[i], strlen(good[i])));
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        assert_false(text_is_utf8(bad[i], strlen(bad[i])));
    assert_false(text_is_utf8("a\0b", 3));
    assert_true(text_is_utf8("\xc3\xa9\xc3", 2));
}

static void a_name_is_shown_without_power_over_the_terminal(void **state)
{
    static const struct {
        const char *name, *shown;
    } cases[] = {
        {"", ""},
        {"plain name.qcow2", "plain name.qcow2"},
        {"Gr\xc3\xbc\xc3\x9f"
         "e \xf0\x9f\x98\x80",
         "Gr\xc3\xbc\xc3\x9f"
         "e \xf0\x9f\x98\x80"},
        {"a\nb\t\x1b[2J\x7f", "a\\x0ab\\x09\\x1b[2J\\x7f"},
        {"a\\x0ab", "a\\\\x0ab"},
        {"\xff\xfe\xc3", "\\xff\\xfe\\xc3"},
        {"\xc2\x9b"
         "2J",
         "\\xc2\\x9b2J"},
        {"ab\xe2\x80\xae"
         "cd",
         "ab\\xe2\\x80\\xae"
         "cd"},
        {"zero\xe2\x80\x8bwidth", "zero\\xe2\\x80\\x8bwidth"},
    };

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        AUTO_FREE char *shown = text_escaped(cases[i].name);

        assert_string_equal(shown, cases[i].shown);
    }
}

static void columns_count_marks_as_none_and_wide_characters_twice(void **state)
{
    static const struct {
        const char *text;
        size_t columns;
    } cases[] = {
        {"", 0},
        {"abc", 3},
        {"\xc3\xa9t\xc3\xa9", 3},
        {"e\xcc\x81", 1},                            /* e, combining acute */
        {"\xe6\x97\xa5\xe6\x9c\xac", 4},             /* two Han characters */
        {"\xed\x95\x9c\xea\xb8\x80", 4},             /* two Hangul syllables */
        {"\xe1\x84\x92\xe1\x85\xa1\xe1\x86\xab", 2}, /* the first of them, conjoined */
        {"\xef\xbc\xa1", 2},                         /* fullwidth A */
        {"\xef\xbd\xb1", 1},                         /* halfwidth katakana */
        {"\xf0\x9f\x98\x80", 2},                     /* an emoji */
        {"\xf0\xa0\x80\x80", 2},                     /* Han, plane 2 */
        {"\xe2\x94\x9c\xe2\x94\x80", 2},             /* box drawing */
        {"\xc2\xad", 1},                             /* soft hyphen */
        {"\xe2\x80\x8d", 0},                         /* zero width joiner */
        {"\xd7\x90\xd6\xb7", 1},                     /* Hebrew letter and point */
        {"\xff\xff", 2},
    };

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        assert_int_equal(text_width(cases[i].text), cases[i].columns);
}

static void what_does_not_fit_is_cut_from_the_left(void **state)
{
    static const struct {
        const char *text;
        size_t columns;
        bool ascii;
        const char *fitted;
    } cases[] = {
        {"/srv/vm/web.qcow2", 17, false, "/srv/vm/web.qcow2"},
        {"/srv/vm/web.qcow2", 16, false, "\xe2\x80\xa6rv/vm/web.qcow2"},
        {"/srv/vm/web.qcow2", 16, true, ".../vm/web.qcow2"},
        {"/srv/vm/web.qcow2", 1, false, "\xe2\x80\xa6"},
        {"/srv/vm/web.qcow2", 0, false, ""},
        {"/srv/vm/web.qcow2", 2, true, ".."},
        {"/srv/vm/web.qcow2", 3, true, "..."},
        /* a wide character that would stick out goes altogether */
        {"\xe6\x97\xa5\xe6\x9c\xac", 4, false, "\xe6\x97\xa5\xe6\x9c\xac"},
        {"\xe6\x97\xa5\xe6\x9c\xac", 3, false, "\xe2\x80\xa6\xe6\x9c\xac"},
        {"\xe6\x97\xa5\xe6\x9c\xac", 2, false, "\xe2\x80\xa6"},
        /* a mark is not left without its letter */
        {"ae\xcc\x81"
         "bc",
         4, false,
         "ae\xcc\x81"
         "bc"},
        {"ae\xcc\x81"
         "bc",
         3, false,
         "\xe2\x80\xa6"
         "bc"},
        {"a\xff", 2, false, "a\xef\xbf\xbd"},
        {"a\xff", 2, true, "a?"},
    };

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        AUTO_BUF b = {};

        text_fit_left(&b, cases[i].text, cases[i].columns, cases[i].ascii);
        assert_string_equal(text_of(&b), cases[i].fitted);
    }
}

/* Values of RFC 4648, section 10, and one computed in Python. */
static void base64_is_that_of_the_rfc(void **state)
{
    static const char *const cases[][2] = {
        {"", ""},
        {"f", "Zg=="},
        {"fo", "Zm8="},
        {"foo", "Zm9v"},
        {"foob", "Zm9vYg=="},
        {"fooba", "Zm9vYmE="},
        {"foobar", "Zm9vYmFy"},
        {"\xfb\xff\xbf\xff", "+/+//w=="},
    };

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        AUTO_BUF b = {};

        text_base64(&b, cases[i][0], strlen(cases[i][0]));
        assert_string_equal(text_of(&b), cases[i][1]);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(sizes_have_three_digits_and_no_needless_zeros),
        cmocka_unit_test(sizes_are_read_as_users_type_them),
        cmocka_unit_test(only_well_formed_utf8_is_utf8),
        cmocka_unit_test(a_name_is_shown_without_power_over_the_terminal),
        cmocka_unit_test(columns_count_marks_as_none_and_wide_characters_twice),
        cmocka_unit_test(what_does_not_fit_is_cut_from_the_left),
        cmocka_unit_test(base64_is_that_of_the_rfc),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
