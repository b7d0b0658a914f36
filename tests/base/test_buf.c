/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "../test.h"

#include "base/buf.h"
#include "base/ckd.h"
#include "base/cursor.h"

#include <string.h>

static void numbers_are_read_as_they_were_written(void **state)
{
    AUTO_BUF b = {};
    struct cursor c;

    (void)state;
    buf_put_u8(&b, 0x01);
    buf_put_u16(&b, 0x0203);
    buf_put_u32(&b, 0x04050607);
    buf_put_u64(&b, 0x08090a0b0c0d0e0f);
    buf_put_be16(&b, 0x1011);
    buf_put_be32(&b, 0x12131415);
    buf_put_be64(&b, 0x161718191a1b1c1d);
    buf_printf(&b, "%s-%d", "x", 5);
    assert_int_equal(b.length, 32);
    assert_memory_equal(b.bytes,
                        "\x01\x03\x02\x07\x06\x05\x04\x0f\x0e\x0d\x0c\x0b\x0a\x09\x08"
                        "\x10\x11\x12\x13\x14\x15\x16\x17\x18\x19\x1a\x1b\x1c\x1dx-5",
                        32);
    c = cursor_of(b.bytes, b.length);
    assert_int_equal(cursor_u8(&c), 0x01);
    assert_int_equal(cursor_le16(&c), 0x0203);
    assert_int_equal(cursor_le32(&c), 0x04050607);
    assert_int_equal(cursor_le64(&c), 0x08090a0b0c0d0e0f);
    assert_int_equal(cursor_be16(&c), 0x1011);
    assert_int_equal(cursor_be32(&c), 0x12131415);
    assert_int_equal(cursor_be64(&c), 0x161718191a1b1c1d);
    assert_int_equal(cursor_left(&c), 3);
    assert_false(c.bad);
}

static void a_short_read_is_zero_and_sticks(void **state)
{
    struct cursor c = cursor_of("\xff\xff\xff", 3);

    (void)state;
    assert_int_equal(cursor_le32(&c), 0);
    assert_true(c.bad);
    assert_int_equal(cursor_u8(&c), 0);
    assert_int_equal(cursor_left(&c), 0);
    assert_null(cursor_bytes(&c, 0));
    c = cursor_of(NULL, 0);
    assert_int_equal(cursor_left(&c), 0);
    cursor_skip(&c, SIZE_MAX);
    assert_true(c.bad);
}

static void a_failure_sticks_and_is_told_once(void **state)
{
    AUTO_BUF b = {};
    struct error e;

    (void)state;
    buf_put(&b, "abc", 3);
    assert_ok(buf_check(&b, "text", &e), &e);
    assert_null(buf_extend(&b, SIZE_MAX));
    buf_put(&b, "abc", 3);
    buf_printf(&b, "x");
    assert_int_equal(b.length, 3);
    assert_int_equal(buf_check(&b, "text", &e), -1);
    assert_int_equal(e.code, ERR_MEMORY);
}

static void ranges_are_checked_without_overflow(void **state)
{
    (void)state;
    assert_false(range_outside(0, 10, 10));
    assert_false(range_outside(10, 0, 10));
    assert_true(range_outside(11, 0, 10));
    assert_true(range_outside(1, UINT64_MAX, 10));
    assert_true(range_outside(UINT64_MAX, 2, UINT64_MAX));
    assert_int_equal(div_up(UINT64_MAX, 65536), (uint64_t)1 << 48);
    assert_int_equal(div_up(0, 65536), 0);
    assert_int_equal(div_up(65537, 65536), 2);
    assert_true(is_power_of_2((uint64_t)1 << 63));
    assert_false(is_power_of_2(0));
    assert_false(is_power_of_2(UINT64_MAX));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(numbers_are_read_as_they_were_written),
        cmocka_unit_test(a_short_read_is_zero_and_sticks),
        cmocka_unit_test(a_failure_sticks_and_is_told_once),
        cmocka_unit_test(ranges_are_checked_without_overflow),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
