/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "cli/rebase_run.h"

#include "base/mem.h"

#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/xattr.h>

/* ---- looking ---- */

struct inspection {
    struct inspected *images;
    size_t n;
};

static int get_name(struct cursor *c, char out[16], struct error *e)
{
    AUTO_FREE char *name = cursor_string(c, 15);

    if (name == NULL)
        return err_set(e, ERR_PEER, "the worker told no format");
    strcpy(out, name);
    return 0;
}

static int take_image(void *arg, uint16_t type, struct cursor payload, struct error *e)
{
    struct inspection *i = arg;
    uint32_t index = cursor_le32(&payload);
    struct inspected image = {.known = true};

    if (type != MSG_IMAGE || index >= i->n)
        return err_set(e, ERR_PEER, "the worker sent something else than an image");
    if (get_name(&payload, image.format, e) != 0)
        return -1;
    image.size = cursor_le64(&payload);
    image.snapshots = cursor_le32(&payload);
    image.in_use = cursor_u8(&payload) != 0;
    image.has_backing = cursor_u8(&payload) != 0;
    if (image.has_backing) {
        get_identity(&payload, &image.backing);
        if (get_name(&payload, image.backing_format, e) != 0)
            return -1;
    }
    if (payload.bad)
        return err_set(e, ERR_PEER, "the worker told half an image");
    i->images[index] = image;
    return 0;
}

int rebase_inspect(struct session *s, const struct source *sources, size_t n, struct inspected *out,
                   struct error *e)
{
    struct job job = {.kind = JOB_INSPECT};
    struct inspection inspection = {out, n};
    int rc = session_run(s, &job, sources, NULL, n, NULL, take_image, NULL, &inspection, e);

    job_release(&job);
    return rc;
}

/* ---- writing and verifying ---- */

struct one_output {
    int fd;
};

static int lend(void *arg, uint32_t output, int *fd, struct error *e)
{
    struct one_output *o = arg;

    if (output != 0)
        return err_set(e, ERR_PEER, "the worker writes what it was not asked for");
    *fd = dup(o->fd);
    return *fd < 0 ? err_sys(e, "dup") : 0;
}

static int accept_output(void *arg, uint32_t output, bool keep, struct error *e)
{
    (void)arg;
    (void)output;
    (void)keep; /* the job's status says it, and the caller has the file */
    (void)e;
    return 0;
}

/* A job over two files that were checked to be what they are. A source that fails ends it. */
static int run_two(struct session *s, struct job *job, const char *const paths[2],
                   const char *const formats[2], size_t n, const struct front_outputs *outputs,
                   struct error *e)
{
    struct source sources[2] = {};
    bool quiet = s->quiet;
    int rc;

    for (size_t i = 0; i < n; i++) {
        sources[i].name = sources[i].path = (char *)paths[i];
        sources[i].format = (char *)formats[i];
        if (opener_allow_file(s->opener, paths[i], e) != 0)
            return -1;
    }
    s->quiet = true; /* it is told once, with what it ends */
    s->untold = (struct error){};
    rc = session_run(s, job, sources, NULL, n, outputs, NULL, NULL, NULL, e);
    s->quiet = quiet;
    if (rc == 0 && s->untold.code != ERR_NONE) {
        *e = s->untold;
        rc = -1;
    }
    return rc;
}

int rebase_write(struct session *s, const char *child, const char *child_format,
                 const char *backing, const char *backing_format, const char *backing_name,
                 bool empty, int fd, struct error *e)
{
    struct job job = {.kind = JOB_OVERLAY, .empty = empty};
    struct one_output output = {fd};
    struct front_outputs outputs = {lend, accept_output, &output};
    const char *paths[2] = {child, backing};
    const char *formats[2] = {child_format, backing_format};
    int rc = -1;

    job.backing_name = mem_string(backing_name, e);
    job.backing_format = job.backing_name == NULL ? NULL : mem_string(backing_format, e);
    if (job.backing_format != NULL)
        rc = run_two(s, &job, paths, formats, empty ? 1 : 2, &outputs, e);
    job_release(&job);
    return rc;
}

int rebase_verify(struct session *s, const char *original, const char *original_format,
                  const char *overlay, struct error *e)
{
    struct job job = {.kind = JOB_VERIFY};
    const char *paths[2] = {original, overlay};
    const char *formats[2] = {original_format, "qcow2"};
    int rc = run_two(s, &job, paths, formats, 2, NULL, e);

    job_release(&job);
    return rc;
}

/* ---- for cluster/replace.h ---- */

int rebase_worker_write(void *arg, const struct replace_step *s, int fd, struct error *e)
{
    struct rebase_worker *w = arg;
    bool fresh = s->kind == REPLACE_STEP_WRITE_FRESH;

    /* it may take the name of a raw image, and is known as what it is by this (where the file
     * system has attributes) */
    (void)fsetxattr(fd, FORMAT_ATTRIBUTE, "qcow2", strlen("qcow2"), 0);
    return rebase_write(w->session, s->path, fresh ? s->backing_format : w->items[s->item].format,
                        s->backing_path, s->backing_format, s->backing_name, fresh, fd, e);
}

int rebase_worker_verify(void *arg, const struct replace_step *s, struct error *e)
{
    struct rebase_worker *w = arg;
    bool fresh = s->kind == REPLACE_STEP_WRITE_FRESH;

    if (s->backing_path != NULL && opener_allow_file(w->session->opener, s->backing_path, e) != 0)
        return -1;
    return rebase_verify(w->session, s->path, fresh ? s->backing_format : w->items[s->item].format,
                         s->to, e);
}

/* Looks at images that only matter for what they stand on. One that cannot be opened as what it
 * seems to be is looked at as qcow2 as well: it could be an overlay under a raw image's name. */
static int inspect_neighbours(struct session *s, struct source_set *found, struct inspected *images,
                              struct error *e)
{
    bool quiet = s->quiet;
    int rc;

    s->quiet = true;
    rc = rebase_inspect(s, found->items, found->n, images, e);
    for (size_t i = 0; rc == 0 && i < found->n; i++) {
        struct source again = found->items[i];

        again.format = (char *)"qcow2";
        if (!images[i].known && again.path != NULL)
            rc = rebase_inspect(s, &again, 1, &images[i], e);
    }
    s->quiet = quiet;
    return rc;
}

/* An image of the command line and the frozen base made of it, unless they lie below the folder. */
static int add_elsewhere(struct source_set *found, const char *path, const char *folder,
                         struct error *e)
{
    AUTO_FREE
    char *real = realpath(path, NULL);
    AUTO_FREE
    char *base = real == NULL ? NULL : mem_printf(e, "%s" REPLACE_BASE, real);
    size_t length = strlen(folder);
    struct stat st;

    if (real == NULL)
        return 0; /* gone, or under another name by now */
    if (base == NULL)
        return -1;
    if (strncmp(real, folder, length) == 0 && (real[length] == '/' || length == 1))
        return 0;
    if (stat(base, &st) == 0 && source_add(found, base, e) != 0)
        return -1;
    return source_add(found, real, e);
}

/* Looks at every image of the folder that `base` lies in, and at those of the command line. */
int rebase_worker_used_by(void *arg, const char *base, const char *except, char **user,
                          struct error *e)
{
    struct rebase_worker *w = arg;
    struct source_set found = {.opener = w->session->opener,
                               .problems = w->session->sources.problems};
    AUTO_FREE struct inspected *images = NULL;
    AUTO_FREE char *folder = mem_string(base, e);
    struct stat st;
    char *slash = folder == NULL ? NULL : strrchr(folder, '/');
    int rc;

    *user = NULL;
    if (slash == NULL || stat(base, &st) != 0)
        return slash == NULL ? err_set(e, ERR_INTERNAL, "no folder") : err_sys(e, "%s", base);
    slash[slash == folder] = 0;
    rc = source_add(&found, folder, e);
    for (size_t i = 0; rc == 0 && i < w->session->sources.n; i++) {
        if (w->session->sources.items[i].path != NULL)
            rc = add_elsewhere(&found, w->session->sources.items[i].path, folder, e);
    }
    if (rc == 0) {
        images = mem_array(found.n, sizeof *images, "images", e);
        rc = images == NULL ? -1 : inspect_neighbours(w->session, &found, images, e);
    }
    for (size_t i = 0; rc == 0 && *user == NULL && i < found.n; i++) {
        if (images[i].known && images[i].has_backing && images[i].backing.device == st.st_dev &&
            images[i].backing.inode == st.st_ino &&
            (except == NULL || strcmp(except, found.items[i].path) != 0)) {
            *user = mem_string(found.items[i].path, e);
            rc = *user == NULL ? -1 : 0;
        }
    }
    source_set_release(&found);
    return rc;
}
