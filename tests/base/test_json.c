/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What stands on the right parses, in Python, to what stands on the left. */
#include "../test.h"

#include "base/auto.h"
#include "base/json.h"

#include <float.h>
#include <math.h>
#include <string.h>

static const char *text_of(struct buf *b)
{
    buf_put_u8(b, 0);
    assert_false(b->failed);
    return (const char *)b->bytes;
}

static void commas_and_nesting_are_the_writers_business(void **state)
{
    AUTO_BUF b = {};
    struct json j;

    (void)state;
    json_init(&j, &b);
    json_object(&j, NULL);
    json_array(&j, "empty");
    json_array_end(&j);
    json_object(&j, "nothing");
    json_object_end(&j);
    json_array(&j, "ranges");
    for (uint64_t i = 0; i < 2; i++) {
        json_array(&j, NULL);
        json_u64(&j, NULL, i * 65536);
        json_u64(&j, NULL, UINT64_MAX);
        json_array_end(&j);
    }
    json_array_end(&j);
    json_i64(&j, "low", INT64_MIN);
    json_bool(&j, "yes", true);
    json_bool(&j, "no", false);
    json_null(&j, "none");
    json_string(&j, "text", "a");
    json_string(&j, "missing", NULL);
    json_raw(&j, "raw", "[1]");
    json_object_end(&j);
    assert_string_equal(text_of(&b),
                        "{\"empty\":[],\"nothing\":{},\"ranges\":[[0,18446744073709551615],"
                        "[65536,18446744073709551615]],\"low\":-9223372036854775808,\"yes\":true,"
                        "\"no\":false,\"none\":null,\"text\":\"a\",\"missing\":null,\"raw\":[1]}");
}

static void strings_are_escaped(void **state)
{
    static const char *const cases[][2] = {
        {"", "\"\""},
        {"\"\\/", "\"\\\"\\\\/\""},
        {"\n\t\r\b\f", "\"\\n\\t\\r\\b\\f\""},
        {"\x01\x1f\x7f", "\"\\u0001\\u001f\x7f\""},
        {"</script>", "\"\\u003c/script>\""},
        {"\xc3\xa9\xf0\x9f\x98\x80", "\"\xc3\xa9\xf0\x9f\x98\x80\""},
        {"a\xff\xfe", "\"a\xef\xbf\xbd\xef\xbf\xbd\""},
    };

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        AUTO_BUF b = {};
        struct json j;

        json_init(&j, &b);
        json_string(&j, NULL, cases[i][0]);
        assert_string_equal(text_of(&b), cases[i][1]);
    }
}

static void bytes_that_are_not_utf8_stand_beside_the_string(void **state)
{
    AUTO_BUF b = {};
    struct json j;

    (void)state;
    json_init(&j, &b);
    json_object(&j, NULL);
    json_string(&j, "path", "a\xff");
    json_u64(&j, "size", 1);
    json_array(&j, "paths");
    json_string(&j, NULL, "\xff");
    json_string(&j, NULL, "b");
    json_array_end(&j);
    json_object_end(&j);
    assert_string_equal(text_of(&b), "{\"path\":\"a\xef\xbf\xbd\",\"path_b64\":\"Yf8=\",\"size\":1,"
                                     "\"paths\":[\"\xef\xbf\xbd\",\"b\"]}");
}

/* The right side is Python's repr() of the number. */
static void numbers_read_back_as_they_were(void **state)
{
    static const struct {
        double value;
        const char *text;
    } cases[] = {
        {0, "0"},       {0.1, "0.1"},       {1.0 / 3, "0.3333333333333333"},
        {-2.5, "-2.5"}, {99.99, "99.99"},   {DBL_MAX, "1.7976931348623157e+308"},
        {NAN, "null"},  {INFINITY, "null"},
    };

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        AUTO_BUF b = {};
        struct json j;

        json_init(&j, &b);
        json_double(&j, NULL, cases[i].value);
        assert_string_equal(text_of(&b), cases[i].text);
    }
}

static void nesting_too_deep_fails_the_buffer(void **state)
{
    AUTO_BUF b = {};
    AUTO_BUF b2 = {};
    struct json j;

    (void)state;
    json_init(&j, &b);
    for (unsigned i = 0; i < JSON_DEPTH; i++)
        json_array(&j, NULL);
    assert_false(b.failed);
    for (unsigned i = 0; i < 10; i++)
        json_array(&j, NULL);
    assert_true(b.failed);
    for (unsigned i = 0; i < JSON_DEPTH + 10; i++)
        json_array_end(&j);
    json_init(&j, &b2);
    json_array_end(&j);
    assert_true(b2.failed);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(commas_and_nesting_are_the_writers_business),
        cmocka_unit_test(strings_are_escaped),
        cmocka_unit_test(bytes_that_are_not_utf8_stand_beside_the_string),
        cmocka_unit_test(numbers_read_back_as_they_were),
        cmocka_unit_test(nesting_too_deep_fails_the_buffer),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
