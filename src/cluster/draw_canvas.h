/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Lines of text for a terminal: colours beside the count of columns, never wider than it. */
#ifndef STEMMA_CLUSTER_DRAW_CANVAS_H
#define STEMMA_CLUSTER_DRAW_CANVAS_H

#include "base/buf.h"
#include "cluster/draw.h"

enum draw_style { STYLE_PLAIN, STYLE_STRONG, STYLE_QUIET, STYLE_GOOD, STYLE_WARN };

struct canvas {
    struct buf *out;
    size_t columns; /* a line has at most */
    size_t at;      /* columns written on this line */
    bool ascii, colour;
};

void canvas_init(struct canvas *c, struct buf *out, const struct draw_options *o);

/* Text on the current line; what would not fit is cut from the right. */
void canvas_put(struct canvas *c, enum draw_style style, const char *utf8);
void canvas_format(struct canvas *c, enum draw_style style, const char *format, ...)
    PRINTF_LIKE(3, 4);

/* The same, cut from the left when more than `columns` columns wide. */
void canvas_put_end_of(struct canvas *c, enum draw_style style, const char *utf8, size_t columns);

/* Spaces up to `column`; none when the line is there already. */
void canvas_pad(struct canvas *c, size_t column);
void canvas_line(struct canvas *c);

/* Columns left on this line. */
size_t canvas_room(const struct canvas *c);

/* Words one after the other, `between` them, on as many lines as needed, each line begun with
 * `indent` spaces. */
struct canvas_list {
    struct canvas *canvas;
    size_t indent;
    const char *between; /* "," */
    bool more;           /* a word stands before */
};
void canvas_list_put(struct canvas_list *l, enum draw_style style, const char *word);

#endif
