/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "../test.h"

#include "hash/zero.h"

#include <stdlib.h>
#include <string.h>

#define LENGTH_MAX 300
#define ALIGNMENTS 65

/* The bytes around the range are not zero, and end where the allocation does. */
static void one_byte_anywhere_is_seen_and_none_outside(void **state)
{
    (void)state;
    for (size_t align = 0; align < ALIGNMENTS; align++) {
        for (size_t length = 0; length <= LENGTH_MAX; length++) {
            uint8_t *bytes = malloc(align + length + 1), *p = bytes + align;

            assert_non_null(bytes);
            memset(bytes, 0xff, align + length + 1);
            memset(p, 0, length);
            assert_true(zero_test(p, length));
            for (size_t i = 0; i < length; i++) {
                p[i] = (uint8_t)(1 << i % 8);
                if (zero_test(p, length))
                    fail_msg("byte %zu of %zu at %zu", i, length, align);
                p[i] = 0;
            }
            free(bytes);
        }
    }
}

static void one_byte_of_a_cluster_is_seen(void **state)
{
    uint8_t *p = calloc(1, 65536);

    (void)state;
    assert_non_null(p);
    assert_true(zero_test(p, 65536));
    for (size_t i = 0; i < 65536; i++) {
        p[i] = 1;
        assert_false(zero_test(p, 65536));
        p[i] = 0;
    }
    free(p);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(one_byte_anywhere_is_seen_and_none_outside),
        cmocka_unit_test(one_byte_of_a_cluster_is_seen),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
