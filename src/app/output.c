/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "app/output.h"

#include "base/mem.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define NAME_SHOWN 200 /* bytes of the final name, so that there is room for the rest */

int output_create(struct output *o, const char *path, struct error *e)
{
    const char *slash = strrchr(path, '/');
    size_t folder = slash == NULL ? 0 : (size_t)(slash - path) + 1;
    static unsigned count; /* the name may have been cut */

    *o = (struct output){.fd = -1};
    o->path = mem_string(path, e);
    if (o->path != NULL)
        o->temporary = mem_printf(e, "%.*s.%.*s.%d-%u.stemma-tmp", (int)folder, path, NAME_SHOWN,
                                  path + folder, (int)getpid(), count++);
    if (o->temporary == NULL) {
        output_release(o);
        return -1;
    }
    /* a file that is there belongs to a dead process, or was put there for us to write into */
    (void)unlink(o->temporary);
    o->fd = open(o->temporary, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
    if (o->fd < 0) {
        err_sys(e, "cannot write %s", path);
        free(o->temporary);
        o->temporary = NULL;
        output_release(o);
        return -1;
    }
    return 0;
}

static int sync_folder(const char *path, struct error *e)
{
    const char *slash = strrchr(path, '/');
    char *folder = slash == NULL   ? mem_string(".", e)
                   : slash == path ? mem_string("/", e)
                                   : mem_printf(e, "%.*s", (int)(slash - path), path);
    int fd, rc = 0;

    if (folder == NULL)
        return -1;
    fd = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0 || fsync(fd) != 0)
        rc = err_sys(e, "cannot sync %s", folder);
    if (fd >= 0)
        close(fd);
    free(folder);
    return rc;
}

int output_commit(struct output *o, bool keep, struct error *e)
{
    int rc = 0;

    if (o->temporary == NULL)
        return err_set(e, ERR_INTERNAL, "nothing is being written");
    if (!keep) {
        output_release(o);
        return 0;
    }
    if (fsync(o->fd) != 0 || rename(o->temporary, o->path) != 0)
        rc = err_sys(e, "cannot write %s", o->path);
    else
        rc = sync_folder(o->path, e);
    if (rc == 0) {
        free(o->temporary);
        o->temporary = NULL;
    }
    output_release(o);
    return rc;
}

void output_release(struct output *o)
{
    if (o->fd >= 0)
        close(o->fd);
    if (o->temporary != NULL)
        unlink(o->temporary);
    free(o->temporary);
    free(o->path);
    *o = (struct output){.fd = -1};
}
