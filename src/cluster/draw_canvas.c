/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "cluster/draw_canvas.h"

#include "base/text.h"

#include <stdio.h>
#include <string.h>

#define COLUMNS_LEAST 20

void canvas_init(struct canvas *c, struct buf *out, const struct draw_options *o)
{
    *c = (struct canvas){
        .out = out,
        .columns = o->columns < COLUMNS_LEAST ? COLUMNS_LEAST : o->columns,
        .ascii = o->ascii,
        .colour = o->colour,
    };
}

size_t canvas_room(const struct canvas *c)
{
    return c->columns > c->at ? c->columns - c->at : 0;
}

static const char *style_code(enum draw_style style)
{
    static const char *const codes[] = {
        [STYLE_PLAIN] = "",  [STYLE_STRONG] = "1", [STYLE_QUIET] = "2",
        [STYLE_GOOD] = "32", [STYLE_WARN] = "33",
    };

    return codes[style];
}

static void put_styled(struct canvas *c, enum draw_style style, const char *utf8, size_t length)
{
    bool styled = c->colour && style != STYLE_PLAIN && length > 0;

    if (styled)
        buf_printf(c->out, "\033[%sm", style_code(style));
    buf_put(c->out, utf8, length);
    if (styled)
        buf_printf(c->out, "\033[0m");
}

/* Bytes of the longest start of the text that takes at most `columns`. */
static size_t fitting(const char *utf8, size_t columns, size_t *width)
{
    size_t length = 0;

    *width = 0;
    while (utf8[length] != 0) {
        char one[8] = {};
        size_t n = 1, w;

        while (n < 4 && ((unsigned char)utf8[length + n] & 0xc0) == 0x80)
            n++;
        memcpy(one, utf8 + length, n);
        w = text_width(one);
        if (*width + w > columns)
            break;
        *width += w;
        length += n;
    }
    return length;
}

void canvas_put(struct canvas *c, enum draw_style style, const char *utf8)
{
    size_t width = text_width(utf8), room = canvas_room(c);

    if (width <= room) {
        put_styled(c, style, utf8, strlen(utf8));
        c->at += width;
    } else if (room > 3) {
        size_t length = fitting(utf8, room - (c->ascii ? 3 : 1), &width);

        put_styled(c, style, utf8, length);
        buf_printf(c->out, "%s", c->ascii ? "..." : "…");
        c->at = c->columns;
    }
}

void canvas_format(struct canvas *c, enum draw_style style, const char *format, ...)
{
    char text[512];
    va_list args;

    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    canvas_put(c, style, text);
}

void canvas_put_end_of(struct canvas *c, enum draw_style style, const char *utf8, size_t columns)
{
    AUTO_BUF cut = {};

    text_fit_left(&cut, utf8, columns, c->ascii);
    buf_put_u8(&cut, 0);
    if (cut.failed)
        c->out->failed = true;
    else
        canvas_put(c, style, (const char *)cut.bytes);
}

void canvas_pad(struct canvas *c, size_t column)
{
    for (; c->at < column && c->at < c->columns; c->at++)
        buf_put_u8(c->out, ' ');
}

void canvas_line(struct canvas *c)
{
    buf_put_u8(c->out, '\n');
    c->at = 0;
}

void canvas_list_put(struct canvas_list *l, enum draw_style style, const char *word)
{
    struct canvas *c = l->canvas;
    size_t width = text_width(word), between = strlen(l->between);

    if (l->more)
        canvas_put(c, STYLE_PLAIN, l->between);
    /* room for what will stand between this word and the next */
    if (l->more && c->at + 1 + width + between > c->columns)
        canvas_line(c);
    if (c->at == 0)
        canvas_pad(c, l->indent);
    else if (l->more)
        canvas_put(c, STYLE_PLAIN, " ");
    canvas_put_end_of(c, style, word, canvas_room(c) - between);
    l->more = true;
}
