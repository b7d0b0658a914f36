/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "hash/decompress.h"

#include <limits.h>
#include <stdint.h>
#include <zlib.h>
#include <zstd.h>
#include <zstd_errors.h>

#define WINDOW_BITS 15 /* the largest; qemu writes 12 (block/qcow2-threads.c) */

static void release_inflate(z_stream *z)
{
    inflateEnd(z);
}

int decompress_deflate(void *to, size_t to_length, const void *from, size_t from_length,
                       struct error *e)
{
    __attribute__((cleanup(release_inflate))) z_stream z = {};
    int result;

    if (to_length > UINT_MAX)
        return err_set(e, ERR_LIMIT, "%zu bytes are too many to decompress at once", to_length);
    if (to_length == 0)
        return 0;
    z.next_in = (Bytef *)from;
    z.avail_in = from_length < UINT_MAX ? (uInt)from_length : UINT_MAX;
    z.next_out = to;
    z.avail_out = (uInt)to_length;
    result = inflateInit2(&z, -WINDOW_BITS);
    if (result != Z_OK)
        return err_memory(e, "inflate");
    result = inflate(&z, Z_FINISH);
    if (result == Z_MEM_ERROR)
        return err_memory(e, "inflate");
    /* Z_BUF_ERROR: the stream goes on, but all that was asked for is there */
    if ((result == Z_STREAM_END || result == Z_BUF_ERROR || result == Z_OK) && z.avail_out == 0)
        return 0;
    if (result == Z_DATA_ERROR)
        return err_set(e, ERR_FORMAT, "damaged deflate data: %s", z.msg != NULL ? z.msg : "?");
    return err_set(e, ERR_FORMAT, "deflate data gives %zu bytes instead of %zu",
                   to_length - z.avail_out, to_length);
}

static void release_zstd(ZSTD_DCtx **context)
{
    ZSTD_freeDCtx(*context);
}

static int zstd_failed(size_t result, struct error *e)
{
    if (ZSTD_getErrorCode(result) == ZSTD_error_memory_allocation)
        return err_memory(e, "zstd");
    return err_set(e, ERR_FORMAT, "damaged zstd data: %s", ZSTD_getErrorName(result));
}

/* Frame by frame into place: no window is allocated, whatever size a frame claims to need. There
 * may be several frames, and the last must end where the output does (as in qemu). */
int decompress_zstd(void *to, size_t to_length, const void *from, size_t from_length,
                    struct error *e)
{
    __attribute__((cleanup(release_zstd))) ZSTD_DCtx *context = ZSTD_createDCtx();
    const uint8_t *in = from;
    uint8_t *out = to;

    if (context == NULL)
        return err_memory(e, "zstd");
    while (to_length != 0) {
        size_t frame, n;

        if (from_length == 0)
            return err_set(e, ERR_FORMAT, "zstd data lacks its last %zu bytes", to_length);
        frame = ZSTD_findFrameCompressedSize(in, from_length);
        if (ZSTD_isError(frame))
            return zstd_failed(frame, e);
        n = ZSTD_decompressDCtx(context, out, to_length, in, frame);
        if (ZSTD_isError(n))
            return zstd_failed(n, e);
        in += frame;
        from_length -= frame;
        out += n;
        to_length -= n;
    }
    return 0;
}
