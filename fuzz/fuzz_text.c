/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Any bytes, as names of files are: what is shown is UTF-8 that fits and steers no terminal. */
#include "base/auto.h"
#include "base/json.h"
#include "base/text.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t length);

static void require(bool holds)
{
    if (!holds)
        abort();
}

/* Undoes text_escape(): what is shown is never ambiguous. */
static void check_unescape(const struct buf *shown, const uint8_t *bytes, size_t length)
{
    size_t at = 0;

    for (size_t i = 0; i < shown->length; i++, at++) {
        unsigned byte = shown->bytes[i];

        require(at < length && byte >= ' ' && byte != 0x7f);
        if (byte == '\\' && shown->bytes[i + 1] == '\\') {
            i++;
        } else if (byte == '\\') {
            char digits[3] = {(char)shown->bytes[i + 2], (char)shown->bytes[i + 3], 0};

            require(shown->bytes[i + 1] == 'x');
            byte = (unsigned)strtoul(digits, NULL, 16);
            i += 3;
        }
        require(byte == bytes[at]);
    }
    require(at == length);
}

static void check_fit(const char *text, size_t columns, bool ascii)
{
    AUTO_BUF b = {};

    text_fit_left(&b, text, columns, ascii);
    require(b.length == 0 || text_is_utf8((char *)b.bytes, b.length));
    buf_put_u8(&b, 0);
    require(text_width((char *)b.bytes) <= columns);
    if (text_width(text) <= columns && text_is_utf8(text, strlen(text)))
        require(strcmp(text, (char *)b.bytes) == 0);
}

static void check_json(const char *text)
{
    AUTO_BUF b = {};
    struct json j;

    json_init(&j, &b);
    json_object(&j, NULL);
    json_string(&j, "text", text);
    json_object_end(&j);
    require(text_is_utf8((char *)b.bytes, b.length));
    require(memchr(b.bytes, '\n', b.length) == NULL && memchr(b.bytes, '<', b.length) == NULL);
    buf_put_u8(&b, 0);
    require((strstr((char *)b.bytes, "\"text_b64\":") != NULL) ==
            !text_is_utf8(text, strlen(text)));
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t length)
{
    AUTO_BUF shown = {};
    AUTO_BUF base64 = {};
    AUTO_FREE char *text = NULL;
    struct error e;
    uint64_t n;

    if (length < 1)
        return 0;
    text = strndup((const char *)bytes + 1, length - 1);
    text_escape(&shown, (const char *)bytes + 1, length - 1);
    require(shown.length == 0 || text_is_utf8((char *)shown.bytes, shown.length));
    check_unescape(&shown, bytes + 1, length - 1);
    check_fit(text, bytes[0] & 0x7f, bytes[0] >> 7);
    check_json(text);
    text_base64(&base64, bytes, length);
    require(base64.length == (length + 2) / 3 * 4);
    if (text_parse_size(text, &n, &e) == 0)
        require(text_size((char[TEXT_SIZE_MAX]){}, n) != NULL);
    return 0;
}
