/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Each allocation of base/ made to fail in turn. */
#include "../alloc_fail.h"
#include "../test.h"

#include "base/auto.h"
#include "base/json.h"
#include "base/mem.h"
#include "base/pool.h"
#include "base/record.h"
#include "base/text.h"

#include <string.h>

static int use_mem(void *arg, struct error *e)
{
    AUTO_FREE uint64_t *array = mem_array(3, sizeof *array, "numbers", e);
    AUTO_FREE char *copy = array == NULL ? NULL : mem_string("text", e);
    AUTO_FREE char *made = copy == NULL ? NULL : mem_printf(e, "%s %d", copy, 7);
    size_t capacity = 3;

    (void)arg;
    if (made == NULL)
        return -1;
    assert_string_equal(made, "text 7");
    array[2] = 42;
    for (size_t needed = 4; needed < 200; needed++) {
        if (mem_grow(&array, &capacity, needed, sizeof *array, "numbers", e) != 0) {
            assert_true(capacity < needed);
            assert_int_equal(array[2], 42);
            return -1;
        }
        assert_true(capacity >= needed);
        assert_int_equal(array[needed - 1], 0);
    }
    return 0;
}

static int use_buf_and_json(void *arg, struct error *e)
{
    AUTO_BUF b = {};
    struct json j;

    (void)arg;
    json_init(&j, &b);
    json_object(&j, NULL);
    json_array(&j, "items");
    for (uint64_t i = 0; i < 500; i++) {
        json_u64(&j, NULL, i);
        json_string(&j, NULL, "a\xff\n");
    }
    json_array_end(&j);
    json_string(&j, "key", "\xff");
    json_object_end(&j);
    text_escape(&b, "\xff\xff", 2);
    text_fit_left(&b, "0123456789", 5, false);
    text_base64(&b, "0123456789", 10);
    return buf_check(&b, "a document", e);
}

static int use_strings(void *arg, struct error *e)
{
    struct cursor c = cursor_of("\3\0\0\0abc", 7);
    AUTO_FREE char *text = cursor_string(&c, 10);
    AUTO_FREE char *escaped = text_escaped("\\");

    (void)arg;
    assert_int_equal(c.bad, text == NULL);
    if (text == NULL || escaped == NULL)
        return err_memory(e, "strings");
    assert_string_equal(escaped, "\\\\");
    return 0;
}

static int count_item(void *arg, size_t item, size_t thread, struct error *e)
{
    AUTO_FREE char *p = mem_array(item, thread + 1, "an item", e);

    (void)arg;
    return p == NULL ? -1 : 0;
}

static int use_pool(void *arg, struct error *e)
{
    AUTO(pool) *p = pool_new(3, e);

    (void)arg;
    return p == NULL ? -1 : pool_run(p, 0, 20, count_item, NULL, NULL, e);
}

static void memory_that_is_short_is_an_error_everywhere(void **state)
{
    (void)state;
    assert_int_equal(alloc_fail_each(use_mem, NULL), 3 + 6);
    assert_true(alloc_fail_each(use_buf_and_json, NULL) > 5);
    assert_true(alloc_fail_each(use_strings, NULL) >= 2);
    assert_int_equal(alloc_fail_each(use_pool, NULL), 21);
}

static void sizes_that_overflow_are_no_memory(void **state)
{
    struct error e = {};
    AUTO_FREE char *array = mem_array(4, 1, "bytes", &e);
    size_t capacity = 4;

    (void)state;
    assert_null(mem_array(SIZE_MAX / 2, 4, "numbers", &e));
    assert_int_equal(e.code, ERR_MEMORY);
    assert_int_equal(mem_grow(&array, &capacity, SIZE_MAX / 2, 4, "numbers", &e), -1);
    assert_int_equal(mem_grow(&array, &capacity, SIZE_MAX, 1, "bytes", &e), -1);
    assert_int_equal(e.code, ERR_MEMORY);
    assert_int_equal(capacity, 4);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(memory_that_is_short_is_an_error_everywhere),
        cmocka_unit_test(sizes_that_overflow_are_no_memory),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
