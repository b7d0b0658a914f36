/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "cli/rebase_output.h"

#include "app/output.h"
#include "base/mem.h"
#include "cli/file_names.h"
#include "cli/rebase_run.h"
#include "cluster/replace.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

static const char *const extensions[] = {".qcow2", ".raw", ".img", ".qcow", ".qc2", NULL};

/* The name without one of an image's extensions. */
static size_t stem_length(const char *name)
{
    size_t n = strlen(name);

    for (size_t i = 0; extensions[i] != NULL; i++) {
        size_t m = strlen(extensions[i]);

        if (n > m && strcmp(name + n - m, extensions[i]) == 0)
            return n - m;
    }
    return n;
}

static bool stem_is_unique(char *const *names, size_t n, size_t i)
{
    size_t length = stem_length(names[i]);

    for (size_t j = 0; j < n; j++) {
        if (j != i && stem_length(names[j]) == length && memcmp(names[i], names[j], length) == 0)
            return false;
    }
    return true;
}

int rebase_output_names(const struct kinship *k, const char *folder, char **path, struct error *e)
{
    AUTO_FREE char *whole = realpath(folder, NULL);
    char **names = NULL;
    int rc = whole == NULL ? err_sys(e, "%s", folder) : file_names(k, &names, e);

    for (size_t i = 0; rc == 0 && i < k->n; i++) {
        size_t length = strlen(names[i]);

        if (k->plan.steps[i].action != PLAN_REBASE)
            continue;
        if (stem_is_unique(names, k->n, i))
            length = stem_length(names[i]);
        path[i] = mem_printf(e, "%s/%.*s.qcow2", whole, (int)length, names[i]);
        rc = path[i] == NULL ? -1 : 0;
    }
    file_names_free(names, k->n);
    return rc;
}

const char *rebase_output_backing(const struct kinship *k, char *const *path, size_t i)
{
    uint32_t parent = k->plan.steps[i].backing;

    if (parent >= k->n)
        return NULL;
    return path[parent] != NULL ? path[parent] : k->images[parent].path;
}

static char *folder_of(const char *path, struct error *e)
{
    char *folder = mem_string(path, e);

    if (folder != NULL)
        *strrchr(folder, '/') = 0;
    return folder;
}

static int write_one(struct session *s, const struct kinship *k, char *const *path, size_t i,
                     uint64_t *size, struct error *e)
{
    uint32_t parent = k->plan.steps[i].backing;
    const char *format = path[parent] != NULL ? "qcow2" : k->images[parent].format;
    AUTO_FREE char *backing = realpath(rebase_output_backing(k, path, i), NULL);
    AUTO_FREE char *folder = folder_of(path[i], e);
    AUTO_FREE char *name = NULL;
    struct output output;
    struct stat st;
    int rc;

    if (backing == NULL)
        return err_sys(e, "%s", rebase_output_backing(k, path, i));
    if (folder == NULL)
        return -1;
    if (stat(path[i], &st) == 0)
        return err_set(e, ERR_DENIED, "%s exists already, and nothing is overwritten", path[i]);
    name = replace_backing_name(folder, backing, e);
    if (name == NULL || output_create(&output, path[i], e) != 0)
        return -1;
    rc = rebase_write(s, k->images[i].path, k->images[i].format, backing, format, name, false,
                      output.fd, e);
    if (rc == 0 && fstat(output.fd, &st) != 0)
        rc = err_sys(e, "%s", path[i]);
    if (rc == 0)
        rc = rebase_verify(s, k->images[i].path, k->images[i].format, output.temporary, e);
    if (rc == 0)
        rc = output_commit(&output, true, e);
    else
        output_release(&output);
    if (rc == 0)
        *size = (uint64_t)st.st_size;
    return rc;
}

/* Images in an order in which parents stand before their children. */
static int parents_first(const struct kinship *k, uint32_t *order, size_t *n, struct error *e)
{
    AUTO_FREE uint32_t *depth = mem_array(k->n, sizeof *depth, "the order of the plan", e);

    if (depth == NULL)
        return -1;
    *n = 0;
    for (size_t i = 0; i < k->n; i++) {
        uint32_t at = (uint32_t)i;

        while (depth[i] < k->n && k->plan.steps[at].action == PLAN_REBASE &&
               k->plan.steps[at].backing < k->n) {
            at = k->plan.steps[at].backing;
            depth[i]++;
        }
    }
    for (uint32_t d = 1; *n < k->n; d++) { /* depth 0 is whole */
        bool any = false;

        for (size_t i = 0; i < k->n; i++) {
            if (depth[i] >= d)
                any = true;
            if (depth[i] == d)
                order[(*n)++] = (uint32_t)i;
        }
        if (!any)
            break;
    }
    return 0;
}

int rebase_output_write(struct session *s, const struct kinship *k, char *const *path,
                        uint64_t *sizes, struct error *e)
{
    AUTO_FREE uint32_t *order = mem_array(k->n, sizeof *order, "the order of the plan", e);
    AUTO_FREE bool *failed = mem_array(k->n, sizeof *failed, "the plan", e);
    size_t n;

    if (order == NULL || failed == NULL || parents_first(k, order, &n, e) != 0)
        return -1;
    for (size_t o = 0; o < n; o++) {
        uint32_t i = order[o], parent = k->plan.steps[i].backing;
        struct error why;

        if (failed[parent]) {
            err_set(&why, ERR_NOT_FOUND, "not written, because what it would stand on was not");
        } else if (write_one(s, k, path, i, &sizes[i], &why) == 0) {
            continue;
        } else if (why.code == ERR_CANCELLED) {
            *e = why;
            return -1;
        }
        failed[i] = true;
        session_tell(s, k->images[i].path, &why);
    }
    return 0;
}
