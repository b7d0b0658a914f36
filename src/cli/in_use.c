/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "cli/in_use.h"

#include "base/mem.h"

#include <string.h>
#include <sys/stat.h>

static bool names_source(const char *name, const struct source *source)
{
    struct stat a, b;

    if (strcmp(name, source->name) == 0)
        return true;
    return source->path != NULL && stat(name, &a) == 0 && stat(source->path, &b) == 0 &&
           a.st_dev == b.st_dev && a.st_ino == b.st_ino;
}

int mark_in_use(struct session *s, const struct strings *names, struct error *e)
{
    if (names->n == 0)
        return 0;
    s->in_use = mem_array(s->sources.n, sizeof *s->in_use, "images in use", e);
    if (s->in_use == NULL)
        return -1;
    for (size_t i = 0; i < names->n; i++) {
        bool found = false;

        for (size_t k = 0; k < s->sources.n; k++) {
            if (names_source(names->items[i], &s->sources.items[k]))
                found = s->in_use[k] = true;
        }
        if (!found)
            return err_set(e, ERR_USAGE, "--in-use=%s: it is none of the images", names->items[i]);
    }
    return 0;
}
