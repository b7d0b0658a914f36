/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "base/text.h"

#include "base/auto.h"
#include "base/ckd.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

struct width_range {
    uint32_t first, last;
};

#include "base/width_table.h"

#define LENGTH(array) (sizeof(array) / sizeof *(array))

static const char unit_letters[] = "KMGTPE";

char *text_size(char out[TEXT_SIZE_MAX], uint64_t bytes)
{
    unsigned unit = 0;
    uint64_t hundredths = 0;
    unsigned decimals = 0;

    if (bytes < 1024) {
        snprintf(out, TEXT_SIZE_MAX, "%u B", (unsigned)bytes);
        return out;
    }
    /* the first unit in which the rounded number has at most four digits and is below 1024 */
    for (unit = 1; unit < sizeof unit_letters; unit++) {
        unsigned shift = 10 * unit;
        uint64_t whole = bytes >> shift;
        uint64_t step = whole >= 100 ? 100 : whole >= 10 ? 10 : 1;
        unsigned __int128 exact = (unsigned __int128)bytes * 100;
        unsigned __int128 half = ((unsigned __int128)step << shift) / 2;

        hundredths = (uint64_t)((exact + half) / ((unsigned __int128)step << shift)) * step;
        if (hundredths < 102400)
            break;
    }
    if (hundredths % 100 != 0)
        decimals = hundredths % 10 == 0 ? 1 : 2;
    snprintf(out, TEXT_SIZE_MAX, "%" PRIu64, hundredths / 100);
    if (decimals > 0)
        snprintf(out + strlen(out), TEXT_SIZE_MAX - strlen(out), ".%0*u", (int)decimals,
                 (unsigned)(hundredths % 100 / (decimals == 1 ? 10 : 1)));
    snprintf(out + strlen(out), TEXT_SIZE_MAX - strlen(out), " %ciB", unit_letters[unit - 1]);
    return out;
}

static bool is_digit(char c)
{
    return c >= '0' && c <= '9';
}

/* Reads "", "B", "K" or "KiB" and so on, of any case, to the end of the text. */
static bool parse_unit(const char *text, unsigned *shift)
{
    const char *letter;

    *shift = 0;
    if (*text == 0 || strcasecmp(text, "B") == 0)
        return true;
    letter = strchr(unit_letters, *text & ~0x20);
    if (letter == NULL || *letter == 0)
        return false;
    *shift = 10 * (unsigned)(letter - unit_letters + 1);
    return text[1] == 0 || strcasecmp(text + 1, "iB") == 0;
}

int text_parse_size(const char *text, uint64_t *out, struct error *e)
{
    uint64_t whole = 0, fraction = 0, scale = 1, bytes;
    const char *at = text;
    bool too_large = false;
    unsigned shift;

    for (; is_digit(*at); at++)
        too_large |= ckd_mul(&whole, whole, 10) || ckd_add(&whole, whole, *at - '0');
    if (at != text && at[0] == '.' && is_digit(at[1])) {
        for (at++; is_digit(*at); at++) {
            if (scale >= 1000000000000)
                continue;
            fraction = fraction * 10 + (uint64_t)(*at - '0');
            scale *= 10;
        }
    }
    if (at == text || !parse_unit(at, &shift))
        return err_set(e, ERR_USAGE, "'%s' is not a size: 4096, 64K, 64KiB, 1.5G", text);
    too_large |= ckd_mul(&bytes, whole, (uint64_t)1 << shift);
    fraction = (uint64_t)((((unsigned __int128)fraction << shift) + scale / 2) / scale);
    too_large |= ckd_add(&bytes, bytes, fraction);
    if (too_large)
        return err_set(e, ERR_USAGE, "'%s' is larger than any size", text);
    *out = bytes;
    return 0;
}

size_t text_decode(const char *bytes, size_t length, uint32_t *code)
{
    static const uint32_t least[] = {0, 1, 0x80, 0x800, 0x10000};
    uint8_t first;
    size_t n;
    uint32_t c;

    if (length == 0 || bytes[0] == 0)
        return 0;
    first = (uint8_t)bytes[0];
    n = first < 0x80 ? 1 : first < 0xc0 ? 0 : first < 0xe0 ? 2 : first < 0xf0 ? 3 : 4;
    if (n == 0 || n > length || first >= 0xf8)
        return 0;
    c = n == 1 ? first : first & (0xffu >> (n + 1));
    for (size_t i = 1; i < n; i++) {
        if (((uint8_t)bytes[i] & 0xc0) != 0x80)
            return 0;
        c = c << 6 | ((uint8_t)bytes[i] & 0x3f);
    }
    if (c < least[n] || c > 0x10ffff || (c >= 0xd800 && c <= 0xdfff))
        return 0;
    *code = c;
    return n;
}

bool text_is_utf8(const char *bytes, size_t length)
{
    uint32_t code;

    for (size_t at = 0, n; at < length; at += n) {
        n = text_decode(bytes + at, length - at, &code);
        if (n == 0)
            return false;
    }
    return true;
}

/* Characters that steer a terminal, reorder what stands beside them or cannot be seen. */
static bool is_hidden(uint32_t c)
{
    static const struct width_range hidden[] = {
        {0x00, 0x1f},     {0x7f, 0x9f},     {0xad, 0xad},     {0x61c, 0x61c},
        {0x180e, 0x180e}, {0x200b, 0x200b}, {0x200e, 0x200f}, {0x2028, 0x202e},
        {0x2060, 0x206f}, {0xfeff, 0xfeff}, {0xfff9, 0xfffb}, {0xe0000, 0xe007f},
    };

    for (size_t i = 0; i < LENGTH(hidden); i++) {
        if (c >= hidden[i].first && c <= hidden[i].last)
            return true;
    }
    return false;
}

void text_escape(struct buf *out, const char *bytes, size_t length)
{
    for (size_t at = 0, n; at < length; at += n) {
        uint32_t code = 0;

        n = text_decode(bytes + at, length - at, &code);
        if (n > 0 && code == '\\') {
            buf_put(out, "\\\\", 2);
        } else if (n > 0 && !is_hidden(code)) {
            buf_put(out, bytes + at, n);
        } else {
            n = n == 0 ? 1 : n;
            for (size_t i = 0; i < n; i++)
                buf_printf(out, "\\x%02x", (uint8_t)bytes[at + i]);
        }
    }
}

char *text_escaped(const char *name)
{
    AUTO_BUF b = {};

    text_escape(&b, name, strlen(name));
    buf_put_u8(&b, 0);
    if (b.failed)
        return NULL;
    /* the caller's now */
    return (char *)take(b.bytes);
}

static bool in_table(const struct width_range *table, size_t n, uint32_t code)
{
    size_t low = 0;

    while (n > 0) {
        size_t middle = low + n / 2;

        if (code < table[middle].first) {
            n /= 2;
        } else if (code > table[middle].last) {
            n -= n / 2 + 1;
            low = middle + 1;
        } else {
            return true;
        }
    }
    return false;
}

/* Columns of the character at `text`, and its length in bytes; a byte that is not UTF-8 is shown as
 * a character of its own. */
static size_t width_at(const char *text, size_t left, size_t *length)
{
    uint32_t code = 0;

    *length = text_decode(text, left, &code);
    if (*length == 0) {
        *length = 1;
        return 1;
    }
    if (code < 0x80)
        return 1;
    if (in_table(zero_width, LENGTH(zero_width), code))
        return 0;
    return in_table(double_width, LENGTH(double_width), code) ? 2 : 1;
}

size_t text_width(const char *utf8)
{
    size_t left = strlen(utf8), columns = 0, n;

    for (; left > 0; utf8 += n, left -= n)
        columns += width_at(utf8, left, &n);
    return columns;
}

void text_fit_left(struct buf *out, const char *utf8, size_t columns, bool ascii)
{
    size_t left = strlen(utf8), width = text_width(utf8), n;

    if (width > columns) {
        size_t dots = ascii ? 3 : 1;

        if (dots > columns)
            dots = columns;
        columns -= dots;
        /* a mark that lost its letter goes with it */
        for (size_t w; left > 0 && ((w = width_at(utf8, left, &n)) == 0 || width > columns);
             utf8 += n, left -= n)
            width -= w;
        if (ascii)
            buf_put(out, "...", dots);
        else
            buf_put(out, "…", dots * strlen("…"));
    }
    for (; left > 0; utf8 += n, left -= n) {
        uint32_t code;

        n = text_decode(utf8, left, &code);
        if (n > 0)
            buf_put(out, utf8, n);
        else
            buf_put(out, ascii ? "?" : "\xef\xbf\xbd", ascii ? 1 : 3);
        n = n == 0 ? 1 : n;
    }
}

void text_base64(struct buf *out, const void *bytes, size_t length)
{
    static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    const uint8_t *from = bytes;

    for (size_t at = 0; at < length; at += 3) {
        size_t n = length - at < 3 ? length - at : 3;
        uint32_t group = 0;
        char four[4] = {'=', '=', '=', '='};

        for (size_t i = 0; i < 3; i++)
            group = group << 8 | (i < n ? from[at + i] : 0);
        for (size_t i = 0; i <= n; i++)
            four[i] = digits[group >> (18 - 6 * i) & 63];
        buf_put(out, four, sizeof four);
    }
}
