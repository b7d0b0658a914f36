/* SPDX-License-Identifier: GPL-2.0-or-later */
/* stemma sign IMAGE... -o FILE|DIR */
#include "app/output.h"
#include "base/mem.h"
#include "base/text.h"
#include "cli/common.h"
#include "cli/file_names.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

struct sign_options {
    struct common_options common;
    const char *output;
};

static const struct option_row rows[] = {
    {OPTION_STRING, "output", 'o', "FILE|DIR",
     "write the signature to FILE, or NAME.sig for each image into DIR (here)",
     offsetof(struct sign_options, output)},
    {},
};

struct signed_image {
    bool done, cached;
    uint64_t size, data_bytes, read_bytes;
    struct id disk;
};

struct signing {
    struct session *session;
    char **paths; /* of the signature files, by source */
    struct output *outputs;
    struct signed_image *images;
};

static int create(void *arg, uint32_t index, int *fd, struct error *e)
{
    struct signing *s = arg;

    if (s->outputs[index].temporary != NULL)
        return err_set(e, ERR_PEER, "the worker writes a signature twice");
    if (output_create(&s->outputs[index], s->paths[index], e) != 0)
        return -1;
    *fd = dup(s->outputs[index].fd);
    return *fd < 0 ? err_sys(e, "dup") : 0;
}

static int commit(void *arg, uint32_t index, bool keep, struct error *e)
{
    struct signing *s = arg;

    return output_commit(&s->outputs[index], keep, e);
}

static int take_record(void *arg, uint16_t type, struct cursor payload, struct error *e)
{
    struct signing *s = arg;
    uint32_t index = cursor_le32(&payload);
    struct signed_image image = {.done = true};
    const uint8_t *id;

    image.size = cursor_le64(&payload);
    image.data_bytes = cursor_le64(&payload);
    image.read_bytes = cursor_le64(&payload);
    image.cached = cursor_u8(&payload) != 0;
    id = cursor_bytes(&payload, sizeof image.disk);
    if (type != MSG_SIGNED || id == NULL || index >= s->session->sources.n)
        return err_set(e, ERR_PEER, "the worker sent something else than a signature's figures");
    memcpy(&image.disk, id, sizeof image.disk);
    s->images[index] = image;
    return 0;
}

/* DIR/NAME.sig for each source; NAME is the shortest name that tells it from the others, with its
 * folders joined by _. */
static int name_in_folder(struct session *s, const char *folder, char **paths, struct error *e)
{
    struct kinship k = {.n = s->sources.n};
    char **names = NULL;
    int rc = 0;

    k.images = mem_array(k.n, sizeof *k.images, "names", e);
    if (k.images == NULL)
        return -1;
    for (size_t i = 0; i < k.n; i++)
        k.images[i].path = s->sources.items[i].name;
    rc = file_names(&k, &names, e);
    for (size_t i = 0; rc == 0 && i < k.n; i++) {
        paths[i] = mem_printf(e, "%s%s%s.sig", folder, folder[strlen(folder) - 1] == '/' ? "" : "/",
                              names[i]);
        rc = paths[i] == NULL ? -1 : 0;
    }
    file_names_free(names, k.n);
    free(k.images);
    return rc;
}

/* What does not exist yet is taken for a file when it is called like one: "a.sig". */
static bool has_extension(const char *path)
{
    const char *slash = strrchr(path, '/');
    const char *name = slash == NULL ? path : slash + 1;

    return name[0] != 0 && strchr(name + 1, '.') != NULL;
}

static int choose_paths(struct session *s, const char *output, char **paths, struct error *e)
{
    struct stat st;
    size_t length = output == NULL ? 0 : strlen(output);
    bool exists = output != NULL && stat(output, &st) == 0;
    bool folder = output == NULL || (exists && S_ISDIR(st.st_mode)) ||
                  (length > 0 && output[length - 1] == '/') || (!exists && !has_extension(output));

    if (s->sources.n == 1 && !folder) {
        paths[0] = mem_string(output, e);
        return paths[0] == NULL ? -1 : 0;
    }
    if (!folder && exists)
        return err_set(e, ERR_USAGE,
                       "-o %s: it is a file, and there are %zu images; a folder is wanted", output,
                       s->sources.n);
    if (output != NULL && mkdir(output, 0777) != 0 && errno != EEXIST)
        return err_sys(e, "-o %s", output);
    return name_in_folder(s, output == NULL ? "." : output, paths, e);
}

static void print_json(const struct signing *s, struct buf *out)
{
    struct json j;
    char hex[65];

    json_init(&j, out);
    json_object(&j, NULL);
    json_array(&j, "signatures");
    for (size_t i = 0; i < s->session->sources.n; i++) {
        if (!s->images[i].done)
            continue;
        id_to_hex(&s->images[i].disk, hex);
        json_object(&j, NULL);
        json_string(&j, "path", s->session->sources.items[i].name);
        json_string(&j, "signature", s->paths[i]);
        json_string(&j, "disk_id", hex);
        json_u64(&j, "virtual_size", s->images[i].size);
        json_u64(&j, "data_bytes", s->images[i].data_bytes);
        json_u64(&j, "read_bytes", s->images[i].read_bytes);
        json_bool(&j, "cached", s->images[i].cached);
        json_object_end(&j);
    }
    json_array_end(&j);
    session_json(s->session, &j);
    json_object_end(&j);
    buf_put_u8(out, '\n');
}

static void print_text(const struct signing *s, struct buf *out)
{
    char size[TEXT_SIZE_MAX], data[TEXT_SIZE_MAX];

    for (size_t i = 0; i < s->session->sources.n; i++) {
        AUTO_FREE char *name = shown(s->session->sources.items[i].name);
        AUTO_FREE char *path = s->paths[i] == NULL ? NULL : shown(s->paths[i]);

        if (s->images[i].done)
            buf_printf(out, "%s -> %s  (%s, %s of data%s)\n", name, path,
                       text_size(size, s->images[i].size), text_size(data, s->images[i].data_bytes),
                       s->images[i].cached ? ", from the cache" : "");
    }
}

static int sign(struct signing *s, const struct sign_options *o, struct error *e)
{
    struct session *session = s->session;
    size_t n = session->sources.n;
    struct front_outputs outputs = {create, commit, s};
    struct job job = {.kind = JOB_SIGN};
    int rc;

    s->paths = mem_array(n, sizeof *s->paths, "signatures", e);
    s->outputs = mem_array(n, sizeof *s->outputs, "signatures", e);
    s->images = mem_array(n, sizeof *s->images, "signatures", e);
    if (s->paths == NULL || s->outputs == NULL || s->images == NULL)
        return -1;
    for (size_t i = 0; i < n; i++)
        s->outputs[i].fd = -1;
    if (choose_paths(session, o->output, s->paths, e) != 0)
        return -1;
    rc = session_run(session, &job, session->sources.items, NULL, n, &outputs, take_record, NULL, s,
                     e);
    job_release(&job);
    return rc;
}

static void signing_release(struct signing *s)
{
    for (size_t i = 0; i < s->session->sources.n; i++) {
        if (s->paths != NULL)
            free(s->paths[i]);
        if (s->outputs != NULL)
            output_release(&s->outputs[i]);
    }
    free(s->paths);
    free(s->outputs);
    free(s->images);
}

static int run(void *options, const struct strings *arguments)
{
    const struct sign_options *o = options;
    struct session session;
    struct signing s = {.session = &session};
    struct buf out = {};
    struct error e;
    int status = session_open(&session, &o->common, arguments);

    if (status == 0 && session.sources.n == 0 && !session.failed) {
        err_set(&e, ERR_USAGE, "there is no image to sign");
        status = session_fail(&session, "", &e);
    } else if (status == 0 && sign(&s, o, &e) != 0) {
        status = session_fail(&session, "", &e);
    } else if (status == 0) {
        if (o->common.json)
            print_json(&s, &out);
        else
            print_text(&s, &out);
        status = print_document(&out, session_status(&session, 0));
    }
    signing_release(&s);
    session_close(&session);
    return status;
}

const struct command command_sign = {
    .name = "sign",
    .arguments = "IMAGE|DIR...",
    .summary = "write signature files that stand for images",
    .about = "Writes the signature of each image: the ids of its clusters. A signature file stands "
             "for its "
             "image in every later command, so that images on other hosts can be compared without "
             "moving "
             "them. A full disk of 10 GiB gives about 5 MB; holes and zeros cost nothing.\n\n"
             "A signature tells content by ids only, but whoever has it can tell whether the image "
             "holds "
             "a block that he knows.",
    .options = rows,
    .common = true,
    .options_size = sizeof(struct sign_options),
    .min_arguments = 0,
    .max_arguments = SIZE_MAX,
    .run = run,
};
