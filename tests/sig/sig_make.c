/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "sig_make.h"

#include <stdio.h>

struct sig *sig_of_numbers(uint64_t size, const unsigned *number, size_t n)
{
    struct id_run *runs = calloc(1, sizeof *runs);
    struct id *ids = calloc(n > 0 ? n : 1, sizeof *ids);
    struct sig *s = NULL;
    struct error e;

    for (size_t i = 0; i < n; i++) {
        for (unsigned k = 0; k < 4; k++)
            ids[i].bytes[7 + k] = (uint8_t)(number[i] >> 8 * k);
    }
    runs[0] = (struct id_run){0, n};
    if (sig_make(size, "raw", runs, n > 0, ids, &s, &e) != 0) {
        fprintf(stderr, "%s\n", e.msg);
        abort();
    }
    return s;
}
