/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The first byte picks the method and the size of the output, the rest is the stream. */
#include "hash/decompress.h"

#include <stdint.h>
#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t length);

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t length)
{
    static const size_t sizes[] = {512, 4096, 65536, 65537};
    struct error e = {};
    uint8_t *to;
    size_t size;
    int result;
    unsigned sum = 0;

    if (length < 1)
        return 0;
    size = sizes[bytes[0] >> 1 & 3];
    to = malloc(size);
    if (to == NULL)
        return 0;
    result = bytes[0] & 1 ? decompress_zstd(to, size, bytes + 1, length - 1, &e)
                          : decompress_deflate(to, size, bytes + 1, length - 1, &e);
    for (size_t i = 0; result == 0 && i < size; i++)
        sum += to[i];
    if (result != 0 && e.code != ERR_FORMAT)
        abort();
    free(to);
    return sum == UINT32_MAX ? 1 : 0;
}
