/* SPDX-License-Identifier: GPL-2.0-or-later */
/* stemma cache list|prune|clear */
#include "app/cache_folder.h"
#include "base/text.h"
#include "cli/common.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

struct cache_options {
    const char *folder;
    uint64_t days;
    uint64_t max_size;
    bool json;
};

static const struct option_row rows[] = {
    {OPTION_STRING, "cache", 0, "DIR", "the folder of the cache",
     offsetof(struct cache_options, folder)},
    {OPTION_NUMBER, "older-than", 0, "DAYS", "prune: remove what was not used for DAYS days (30)",
     offsetof(struct cache_options, days)},
    {OPTION_NUMBER, "max-size", 0, "SIZE",
     "prune: then remove the longest unused until at most SIZE is left",
     offsetof(struct cache_options, max_size)},
    {OPTION_FLAG, "json", 0, NULL, "print one JSON document", offsetof(struct cache_options, json)},
    {},
};

static void defaults(void *options)
{
    struct cache_options *o = options;

    o->days = 30;
    o->max_size = UINT64_MAX;
}

static int fail(const struct cache_options *o, const char *what, const struct error *e)
{
    AUTO_FREE char *text = shown(e->msg);

    fprintf(stderr, "stemma: %s\n", text);
    if (o->json)
        print_json_error(what, e);
    return e->code == ERR_USAGE ? 2 : 3;
}

static int list(struct cache_folder *c, const struct cache_options *o, struct error *e)
{
    AUTO_FREE struct cache_entry *entries = NULL;
    struct buf out = {};
    struct json j;
    uint64_t sum = 0;
    char size[TEXT_SIZE_MAX], when[32];
    size_t n;

    if (cache_folder_list(c, &entries, &n, e) != 0)
        return fail(o, cache_folder_path(c), e);
    json_init(&j, &out);
    if (o->json) {
        json_object(&j, NULL);
        json_string(&j, "folder", cache_folder_path(c));
        json_array(&j, "entries");
    }
    for (size_t i = 0; i < n; i++) {
        time_t used = (time_t)entries[i].used_time;
        struct tm tm;

        sum += entries[i].bytes;
        if (o->json) {
            json_object(&j, NULL);
            json_string(&j, "key", entries[i].key);
            json_u64(&j, "bytes", entries[i].bytes);
            json_i64(&j, "used_time", entries[i].used_time);
            json_object_end(&j);
        } else {
            localtime_r(&used, &tm);
            strftime(when, sizeof when, "%Y-%m-%d %H:%M", &tm);
            buf_printf(&out, "%.16s  %10s  used %s\n", entries[i].key,
                       text_size(size, entries[i].bytes), when);
        }
    }
    if (o->json) {
        json_array_end(&j);
        json_u64(&j, "bytes", sum);
        json_array(&j, "errors");
        json_array_end(&j);
        json_object_end(&j);
        buf_put_u8(&out, '\n');
    } else {
        AUTO_FREE char *folder = shown(cache_folder_path(c));

        buf_printf(&out, "%zu signatures, %s, in %s\n", n, text_size(size, sum), folder);
    }
    return print_document(&out, 0);
}

static int report_removed(const struct cache_options *o, size_t removed, uint64_t freed)
{
    struct buf out = {};
    struct json j;
    char size[TEXT_SIZE_MAX];

    if (o->json) {
        json_init(&j, &out);
        json_object(&j, NULL);
        json_u64(&j, "removed", removed);
        json_u64(&j, "freed_bytes", freed);
        json_array(&j, "errors");
        json_array_end(&j);
        json_object_end(&j);
        buf_put_u8(&out, '\n');
    } else {
        buf_printf(&out, "%zu signatures removed, %s freed\n", removed, text_size(size, freed));
    }
    return print_document(&out, 0);
}

static int run(void *options, const struct strings *arguments)
{
    const struct cache_options *o = options;
    const char *what = arguments->items[0];
    struct error e;
    AUTO(cache_folder) *c = cache_folder_new(o->folder, &e);
    size_t removed = 0;
    uint64_t freed = 0;
    int rc;

    if (c == NULL)
        return fail(o, "", &e);
    if (strcmp(what, "list") == 0)
        return list(c, o, &e);
    if (strcmp(what, "prune") == 0) {
        if (o->days > INT64_MAX / 86400)
            rc = err_set(&e, ERR_USAGE, "--older-than: too many days");
        else
            rc = cache_folder_prune(c, (int64_t)o->days * 86400, o->max_size, &removed, &freed, &e);
    } else if (strcmp(what, "clear") == 0) {
        rc = cache_folder_clear(c, &removed, &freed, &e);
    } else {
        rc = err_set(&e, ERR_USAGE, "stemma cache %s: it is list, prune or clear", what);
    }
    return rc != 0 ? fail(o, cache_folder_path(c), &e) : report_removed(o, removed, freed);
}

const struct command command_cache = {
    .name = "cache",
    .arguments = "list|prune|clear",
    .summary = "look at the cache of signatures, and tidy it",
    .about =
        "Signatures of images are kept between runs, so that an unchanged image is not read again. "
        "`list` shows what is kept, `prune` removes what was not used for a while, `clear` removes "
        "everything; all of it can be made again from the images.",
    .options = rows,
    .options_size = sizeof(struct cache_options),
    .defaults = defaults,
    .min_arguments = 1,
    .max_arguments = 1,
    .run = run,
};
