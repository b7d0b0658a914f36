/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "app/cache_folder.h"

#include "base/mem.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>

#define KEY_LENGTH 64
#define VERSION "v1"
#define END ".sig"
#define TEMPORARY ".tmp"
#define LEFT_BEHIND_SECONDS 86400 /* a temporary file this old has no writer any more */

struct cache_folder {
    char *path;
    char *version_path;           /* PATH/v1 */
    char writing[KEY_LENGTH + 1]; /* the entry being written; empty: none */
    char *temporary;
};

static char *default_path(struct error *e)
{
    const char *xdg = getenv("XDG_CACHE_HOME");
    const char *home = getenv("HOME");

    if (xdg != NULL && xdg[0] == '/')
        return mem_printf(e, "%s/stemma", xdg);
    if (home != NULL && home[0] == '/')
        return mem_printf(e, "%s/.cache/stemma", home);
    return mem_string("", e); /* nowhere to keep anything */
}

struct cache_folder *cache_folder_new(const char *path, struct error *e)
{
    struct cache_folder *c = mem_array(1, sizeof *c, "the cache", e);

    if (c == NULL)
        return NULL;
    c->path = path == NULL ? default_path(e) : mem_string(path, e);
    if (c->path != NULL)
        c->version_path = mem_printf(e, "%s/" VERSION, c->path);
    if (c->version_path == NULL) {
        cache_folder_free(c);
        return NULL;
    }
    return c;
}

static void forget_temporary(struct cache_folder *c)
{
    free(c->temporary);
    c->temporary = NULL;
    c->writing[0] = 0;
}

void cache_folder_free(struct cache_folder *c)
{
    if (c == NULL)
        return;
    if (c->temporary != NULL)
        unlink(c->temporary);
    forget_temporary(c);
    free(c->version_path);
    free(c->path);
    free(c);
}

const char *cache_folder_path(const struct cache_folder *c)
{
    return c->path;
}

/* A key comes from the worker: it becomes a file name only as 64 lower-case hex digits. */
static int check_key(const char *key, struct error *e)
{
    if (strlen(key) != KEY_LENGTH || strspn(key, "0123456789abcdef") != KEY_LENGTH)
        return err_set(e, ERR_FORMAT, "a cache key that is none");
    return 0;
}

/* ERR_DENIED, which is said once, unlike ERR_NOT_FOUND. */
static int check_place(const struct cache_folder *c, struct error *e)
{
    if (c->path[0] != 0)
        return 0;
    return err_set(
        e, ERR_DENIED,
        "neither XDG_CACHE_HOME nor HOME says where; --cache=DIR does, --cache=none does "
        "without");
}

static char *entry_path(const struct cache_folder *c, const char *key, struct error *e)
{
    if (check_key(key, e) != 0 || check_place(c, e) != 0)
        return NULL;
    return mem_printf(e, "%s/%s" END, c->version_path, key);
}

int cache_folder_open(struct cache_folder *c, const char *key, int *fd, struct error *e)
{
    AUTO_FREE char *path = entry_path(c, key, e);
    struct timespec now[2] = {{.tv_nsec = UTIME_OMIT}, {.tv_nsec = UTIME_NOW}};

    if (path == NULL)
        return -1;
    *fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
    if (*fd < 0)
        return err_sys(e, "cache %s", c->path);
    (void)utimensat(AT_FDCWD, path, now, AT_SYMLINK_NOFOLLOW); /* for prune; may be refused */
    return 0;
}

/* PATH, its parents and PATH/v1. */
static int make_folders(struct cache_folder *c, struct error *e)
{
    AUTO_FREE char *path = mem_string(c->version_path, e);

    if (path == NULL)
        return -1;
    for (char *at = path + 1; *at != 0; at++) {
        if (*at != '/')
            continue;
        *at = 0;
        if (mkdir(path, 0700) != 0 && errno != EEXIST)
            return err_sys(e, "cache %s", c->path);
        *at = '/';
    }
    if (mkdir(path, 0700) != 0 && errno != EEXIST)
        return err_sys(e, "cache %s", c->path);
    return 0;
}

int cache_folder_create(struct cache_folder *c, const char *key, int *fd, struct error *e)
{
    if (check_key(key, e) != 0 || check_place(c, e) != 0)
        return -1;
    if (c->temporary != NULL)
        return err_set(e, ERR_PEER, "two cache entries are written at once");
    c->temporary = mem_printf(e, "%s/%s.%d" TEMPORARY, c->version_path, key, (int)getpid());
    if (c->temporary == NULL)
        return -1;
    (void)unlink(c->temporary); /* of a process that had our number */
    *fd = open(c->temporary, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    if (*fd < 0 && errno == ENOENT && make_folders(c, e) == 0)
        *fd = open(c->temporary, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    if (*fd < 0) {
        forget_temporary(c);
        return err_sys(e, "cache %s", c->path);
    }
    strcpy(c->writing, key);
    return 0;
}

/* No sync: an entry that a power cut tears fails its checksum and is made again. */
int cache_folder_commit(struct cache_folder *c, const char *key, bool keep, struct error *e)
{
    AUTO_FREE char *path = entry_path(c, key, e);
    int rc = 0;

    if (path == NULL)
        return -1;
    if (c->temporary == NULL || strcmp(c->writing, key) != 0)
        return err_set(e, ERR_PEER, "no such cache entry is being written");
    if (keep && rename(c->temporary, path) != 0)
        rc = err_sys(e, "cache %s", c->path);
    if (!keep || rc != 0)
        unlink(c->temporary);
    forget_temporary(c);
    return rc;
}

static int by_use(const void *a, const void *b)
{
    const struct cache_entry *x = a, *y = b;

    if (x->used_time != y->used_time)
        return x->used_time < y->used_time ? -1 : 1;
    return strcmp(x->key, y->key);
}

static bool is_entry(const char *name)
{
    return strlen(name) == KEY_LENGTH + strlen(END) && strcmp(name + KEY_LENGTH, END) == 0 &&
           strspn(name, "0123456789abcdef") == KEY_LENGTH;
}

static DIR *open_folder(struct cache_folder *c, bool *missing, struct error *e)
{
    DIR *d;

    *missing = false;
    if (check_place(c, e) != 0)
        return NULL;
    d = opendir(c->version_path);
    *missing = d == NULL && errno == ENOENT;
    if (d == NULL && !*missing)
        err_sys(e, "cache %s", c->path);
    return d;
}

int cache_folder_list(struct cache_folder *c, struct cache_entry **out, size_t *n, struct error *e)
{
    struct cache_entry *entries = NULL;
    size_t count = 0, capacity = 0;
    bool missing;
    DIR *d = open_folder(c, &missing, e);
    struct dirent *entry;
    int rc = 0;

    if (d == NULL && !missing)
        return -1;
    while (d != NULL && rc == 0 && (entry = readdir(d)) != NULL) {
        struct stat st;

        if (!is_entry(entry->d_name) ||
            fstatat(dirfd(d), entry->d_name, &st, AT_SYMLINK_NOFOLLOW) != 0)
            continue;
        rc = mem_grow(&entries, &capacity, count + 1, sizeof *entries, "the cache's list", e);
        if (rc == 0) {
            memcpy(entries[count].key, entry->d_name, KEY_LENGTH);
            entries[count].bytes = (uint64_t)st.st_blocks * 512;
            entries[count++].used_time = st.st_mtim.tv_sec;
        }
    }
    if (d != NULL)
        closedir(d);
    if (rc != 0) {
        free(entries);
        return -1;
    }
    if (count > 0)
        qsort(entries, count, sizeof *entries, by_use);
    *out = entries;
    *n = count;
    return 0;
}

static int remove_entry(struct cache_folder *c, const struct cache_entry *entry, size_t *removed,
                        uint64_t *freed, struct error *e)
{
    AUTO_FREE char *path = entry_path(c, entry->key, e);

    if (path == NULL)
        return -1;
    if (unlink(path) != 0 && errno != ENOENT)
        return err_sys(e, "cache %s", c->path);
    *freed += entry->bytes;
    ++*removed;
    return 0;
}

/* What crashed runs left. */
static int remove_left_behind(struct cache_folder *c, int64_t max_age, struct error *e)
{
    bool missing;
    DIR *d = open_folder(c, &missing, e);
    struct dirent *entry;
    time_t now = time(NULL);

    if (d == NULL)
        return missing ? 0 : -1;
    while ((entry = readdir(d)) != NULL) {
        size_t length = strlen(entry->d_name);
        struct stat st;

        if (length > KEY_LENGTH + strlen(TEMPORARY) &&
            strcmp(entry->d_name + length - strlen(TEMPORARY), TEMPORARY) == 0 &&
            fstatat(dirfd(d), entry->d_name, &st, AT_SYMLINK_NOFOLLOW) == 0 &&
            now - st.st_mtim.tv_sec >= max_age)
            unlinkat(dirfd(d), entry->d_name, 0);
    }
    closedir(d);
    return 0;
}

int cache_folder_prune(struct cache_folder *c, int64_t max_age, uint64_t max_bytes, size_t *removed,
                       uint64_t *freed, struct error *e)
{
    AUTO_FREE struct cache_entry *entries = NULL;
    int64_t now = (int64_t)time(NULL);
    uint64_t left = 0;
    size_t n;

    *removed = 0;
    *freed = 0;
    if (remove_left_behind(c, LEFT_BEHIND_SECONDS, e) != 0 ||
        cache_folder_list(c, &entries, &n, e) != 0)
        return -1;
    for (size_t i = 0; i < n; i++)
        left += entries[i].bytes;
    for (size_t i = 0; i < n; i++) { /* oldest use first */
        if (now - entries[i].used_time <= max_age && left <= max_bytes)
            break;
        if (remove_entry(c, &entries[i], removed, freed, e) != 0)
            return -1;
        left -= entries[i].bytes;
    }
    return 0;
}

int cache_folder_clear(struct cache_folder *c, size_t *removed, uint64_t *freed, struct error *e)
{
    AUTO_FREE struct cache_entry *entries = NULL;
    size_t n;

    *removed = 0;
    *freed = 0;
    if (remove_left_behind(c, 0, e) != 0 || cache_folder_list(c, &entries, &n, e) != 0)
        return -1;
    for (size_t i = 0; i < n; i++) {
        if (remove_entry(c, &entries[i], removed, freed, e) != 0)
            return -1;
    }
    return 0;
}
