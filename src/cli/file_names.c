/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "cli/file_names.h"

#include "base/mem.h"
#include "cluster/draw.h"

#include <stdlib.h>
#include <string.h>

/* "./ov/../a" -> "ov_a". In place: it only gets shorter. */
static void flatten(char *name)
{
    char *to = name;

    for (const char *from = name; *from != 0;) {
        size_t length = strcspn(from, "/");
        bool counts = length > 2 || strncmp(from, "..", length) != 0;

        if (counts) {
            if (to != name)
                *to++ = '_';
            memmove(to, from, length);
            to += length;
        }
        from += length;
        from += strspn(from, "/");
    }
    *to = 0;
}

struct named {
    const char *name;
    size_t index;
};

static int compare(const void *a, const void *b)
{
    const struct named *x = a, *y = b;
    int order = strcmp(x->name, y->name);

    return order != 0 ? order : (x->index > y->index) - (x->index < y->index);
}

static bool is_taken(char *const *names, size_t n, const char *name)
{
    for (size_t i = 0; i < n; i++) {
        if (strcmp(names[i], name) == 0)
            return true;
    }
    return false;
}

static int rename_twin(char **names, size_t n, size_t i, struct error *e)
{
    for (size_t number = 2;; number++) {
        char *name = mem_printf(e, "%s_%zu", names[i], number);

        if (name == NULL)
            return -1;
        if (!is_taken(names, n, name)) {
            free(names[i]);
            names[i] = name;
            return 0;
        }
        free(name);
    }
}

/* "a/b" and "a_b" are one name by now: the later gets a number. */
static int part_twins(char **names, size_t n, struct error *e)
{
    AUTO_FREE
    struct named *sorted = mem_array(n, sizeof *sorted, "names", e);
    AUTO_FREE
    bool *twin = mem_array(n, sizeof *twin, "names", e);

    if (sorted == NULL || twin == NULL)
        return -1;
    for (size_t i = 0; i < n; i++)
        sorted[i] = (struct named){names[i], i};
    qsort(sorted, n, sizeof *sorted, compare);
    for (size_t i = 1; i < n; i++)
        twin[sorted[i].index] = strcmp(sorted[i].name, sorted[i - 1].name) == 0;
    for (size_t i = 0; i < n; i++) {
        if (twin[i] && rename_twin(names, n, i, e) != 0)
            return -1;
    }
    return 0;
}

int file_names(const struct kinship *k, char ***out, struct error *e)
{
    char **names = NULL;

    if (draw_names(k, &names, e) != 0)
        return -1;
    for (size_t i = 0; i < k->n; i++)
        flatten(names[i]);
    if (part_twins(names, k->n, e) != 0) {
        file_names_free(names, k->n);
        return -1;
    }
    *out = names;
    return 0;
}

void file_names_free(char **names, size_t n)
{
    for (size_t i = 0; names != NULL && i < n; i++)
        free(names[i]);
    free(names);
}
