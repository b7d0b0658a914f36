/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "disk/vmdk.h"

#include "base/mem.h"

#include <string.h>
#include <strings.h>

int vmdk_header_parse(struct vmdk_header *out, struct cursor c, struct error *e)
{
    struct vmdk_header h = {};

    cursor_skip(&c, 4 + 4 + 4); /* magic, version, flags */
    h.capacity = cursor_le64(&c);
    cursor_skip(&c, 8); /* grain size */
    h.descriptor_offset = cursor_le64(&c);
    h.descriptor_size = cursor_le64(&c);
    if (c.bad)
        return err_set(e, ERR_FORMAT, "the header of a VMDK ends too early");
    *out = h;
    return 0;
}

void vmdk_names_release(struct vmdk_names *n)
{
    for (size_t i = 0; i < n->n; i++)
        free(n->list[i].name);
    free(n->list);
    *n = (struct vmdk_names){};
}

/* A line without its end; what follows a NUL is padding, which is what QEMU takes it for. */
struct line {
    const char *at;
    size_t length;
};

static bool next_line(struct line *line, const char **at, const char *end)
{
    const char *newline;

    if (*at >= end || **at == 0)
        return false;
    newline = memchr(*at, '\n', (size_t)(end - *at));
    line->at = *at;
    line->length = (size_t)((newline != NULL ? newline : end) - *at);
    *at = newline != NULL ? newline + 1 : end;
    newline = memchr(line->at, 0, line->length);
    if (newline != NULL) {
        line->length = (size_t)(newline - line->at);
        *at = end;
    }
    return true;
}

static bool starts(const struct line *line, const char *text)
{
    return line->length >= strlen(text) && strncasecmp(line->at, text, strlen(text)) == 0;
}

bool vmdk_is_descriptor(const uint8_t *text, size_t length)
{
    const char *at = (const char *)text, *end = at + length;
    struct line line;

    while (next_line(&line, &at, end)) {
        size_t blank = 0;

        while (blank < line.length && (line.at[blank] == ' ' || line.at[blank] == '\r'))
            blank++;
        if (line.at[0] != '#' && blank < line.length)
            return starts(&line, "version=");
    }
    return false;
}

static int add_name(struct vmdk_names *out, const char *name, size_t length, bool parent,
                    bool sparse, struct error *e)
{
    struct vmdk_name *slot;

    if (out->n >= VMDK_EXTENTS_MAX)
        return err_set(e, ERR_LIMIT, "a VMDK of more than %u files", VMDK_EXTENTS_MAX);
    if (mem_grow(&out->list, &out->capacity, out->n + 1, sizeof *out->list, "VMDK extents", e) != 0)
        return -1;
    slot = &out->list[out->n];
    *slot = (struct vmdk_name){strndup(name, length), parent, sparse};
    if (slot->name == NULL)
        return err_memory(e, "VMDK extents");
    out->n++;
    return 0;
}

/* The words before the name tell the kind: "RW 4192256 SPARSE". */
static bool line_has_word(const char *at, size_t length, const char *word)
{
    size_t n = strlen(word);

    for (size_t i = 0; i + n <= length; i++) {
        if (strncasecmp(at + i, word, n) == 0)
            return true;
    }
    return false;
}

static int parse_line(struct vmdk_names *out, const struct line *line, struct error *e)
{
    bool parent = line_has_word(line->at, line->length, "parentFileNameHint");
    const char *open, *close;
    size_t left;

    if (!parent && !starts(line, "RW") && !starts(line, "RDONLY"))
        return 0;
    open = memchr(line->at, '"', line->length);
    if (open == NULL)
        return parent ? err_set(e, ERR_FORMAT, "a VMDK names its parent without quotes") : 0;
    left = line->length - (size_t)(++open - line->at);
    close = memchr(open, '"', left);
    if (close == NULL || close == open)
        return err_set(e, ERR_FORMAT, "a VMDK's descriptor has a name without an end, or none");
    return add_name(out, open, (size_t)(close - open), parent,
                    line_has_word(line->at, (size_t)(open - line->at), "SPARSE"), e);
}

int vmdk_descriptor_parse(struct vmdk_names *out, const uint8_t *text, size_t length,
                          struct error *e)
{
    const char *at = (const char *)text, *end = at + length;
    AUTO_VMDK_NAMES names = {};
    struct line line;

    while (next_line(&line, &at, end)) {
        while (line.length > 0 && (line.at[0] == ' ' || line.at[0] == '\t')) {
            line.at++;
            line.length--;
        }
        if (line.length > 0 && line.at[0] != '#' && parse_line(&names, &line, e) != 0)
            return -1;
    }
    *out = names;
    names = (struct vmdk_names){};
    return 0;
}
