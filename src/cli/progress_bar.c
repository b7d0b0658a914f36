/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "cli/progress_bar.h"

#include "base/mem.h"
#include "base/text.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <time.h>
#include <unistd.h>

#define SHOW_AFTER_NS 500000000  /* short work shows nothing */
#define DRAW_EVERY_NS 100000000  /* on a terminal */
#define LINE_EVERY_NS 1000000000 /* on a descriptor */

struct bar {
    int fd; /* -1: never */
    bool terminal;
    bool visible;
    int64_t start, last;
    uint64_t done, total; /* not yet told on the descriptor */
    bool pending;
};

static int64_t now_ns(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec * INT64_C(1000000000) + t.tv_nsec;
}

struct bar *bar_new(const char *mode, struct error *e)
{
    struct bar *b = mem_array(1, sizeof *b, "the progress bar", e);
    char *end;
    long fd;

    if (b == NULL)
        return NULL;
    b->start = now_ns();
    b->fd = -1;
    if (mode == NULL || strcmp(mode, "auto") == 0) {
        b->terminal = isatty(STDERR_FILENO);
        b->fd = b->terminal ? STDERR_FILENO : -1;
    } else if (strcmp(mode, "never") != 0) {
        fd = strtol(mode, &end, 10);
        if (end == mode || *end != 0 || fd < 0 || fd > 1 << 20) {
            err_set(e, ERR_USAGE, "--progress=%s: it is auto, never or the number of a descriptor",
                    mode);
            free(b);
            return NULL;
        }
        b->fd = (int)fd;
        b->terminal = isatty(b->fd);
    }
    return b;
}

static void tell_line(struct bar *b)
{
    dprintf(b->fd, "%llu %llu\n", (unsigned long long)b->done, (unsigned long long)b->total);
    b->pending = false;
}

void bar_hide(struct bar *b)
{
    if (b != NULL && b->pending) /* the last word of a job is not held back */
        tell_line(b);
    if (b != NULL && b->visible)
        dprintf(b->fd, "\r\033[K");
    if (b != NULL)
        b->visible = false;
}

void bar_free(struct bar *b)
{
    bar_hide(b);
    free(b);
}

static void remaining(char out[32], double seconds)
{
    if (!(seconds < 360000))
        snprintf(out, 32, "--:--");
    else if (seconds >= 3600)
        snprintf(out, 32, "%d:%02d:%02d", (int)seconds / 3600, (int)seconds / 60 % 60,
                 (int)seconds % 60);
    else
        snprintf(out, 32, "%d:%02d", (int)seconds / 60, (int)seconds % 60);
}

static void draw(struct bar *b, uint64_t done, uint64_t total, double elapsed, const char *which,
                 const char *what)
{
    struct winsize size = {};
    size_t columns = ioctl(b->fd, TIOCGWINSZ, &size) == 0 && size.ws_col > 0 ? size.ws_col : 80;
    char a[TEXT_SIZE_MAX], t[TEXT_SIZE_MAX], r[TEXT_SIZE_MAX], eta[32], line[256];
    double speed = elapsed > 0 ? (double)done / elapsed : 0;
    AUTO_BUF name = {};
    AUTO_BUF safe = {};
    int length;

    remaining(eta, speed > 0 ? (double)(total - done) / speed : 1e9);
    length = snprintf(line, sizeof line, "%3u%%  %s of %s  %s/s  ETA %s",
                      (unsigned)(100.0 * (double)done / (double)total), text_size(a, done),
                      text_size(t, total), text_size(r, (uint64_t)speed), eta);
    if (what != NULL && (size_t)length + 12 < columns) {
        buf_printf(&safe, "%s", which);
        text_escape(&safe, what, strlen(what));
        buf_put_u8(&safe, 0);
        if (!safe.failed)
            text_fit_left(&name, (const char *)safe.bytes, columns - (size_t)length - 3, false);
    }
    dprintf(b->fd, "\r\033[K%.*s  %.*s", (int)(columns > 2 ? columns - 2 : 0), line,
            (int)name.length, name.bytes == NULL ? "" : (const char *)name.bytes);
    b->visible = true;
}

void bar_show(struct bar *b, uint64_t done, uint64_t total, const char *which, const char *what)
{
    int64_t now;

    if (b == NULL || b->fd < 0 || total == 0)
        return;
    now = now_ns();
    if (done > total)
        done = total;
    if (!b->terminal) {
        b->pending = b->pending || b->done != done || b->total != total;
        b->done = done;
        b->total = total;
        if (b->pending && now - b->last >= LINE_EVERY_NS) {
            b->last = now;
            tell_line(b);
        }
        return;
    }
    if (now - b->start < SHOW_AFTER_NS || now - b->last < DRAW_EVERY_NS)
        return;
    b->last = now;
    draw(b, done, total, (double)(now - b->start) / 1e9, which, what);
}
