/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "disk/nbd_library.h"

#include "disk/nbd.h"

#include <dlfcn.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>

static pthread_once_t once = PTHREAD_ONCE_INIT;
static struct nbd_library library;
static char reason[200]; /* empty: it is loaded */

static void find(void *handle, const char *name, void *function, size_t size)
{
    void *symbol = dlsym(handle, name);

    memcpy(function, &symbol, size);
    if (symbol == NULL && reason[0] == 0)
        snprintf(reason, sizeof reason, "it has no %s", name);
}

static void load(void)
{
    void *handle = dlopen("libnbd.so.0", RTLD_NOW | RTLD_LOCAL);

    if (handle == NULL) {
        snprintf(reason, sizeof reason, "%s", dlerror());
        return;
    }
#define FIND(name) find(handle, "nbd_" #name, &library.name, sizeof library.name);
    NBD_FUNCTIONS(FIND)
}

const struct nbd_library *nbd_library(const char **why)
{
    pthread_once(&once, load);
    *why = reason;
    return reason[0] == 0 ? &library : NULL;
}

int nbd_library_load(struct error *e)
{
    const char *why;

    return nbd_library(&why) != NULL
               ? 0
               : err_set(e, ERR_UNSUPPORTED,
                         "libnbd, which this needs, cannot be loaded (package libnbd0): %s", why);
}
