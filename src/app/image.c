/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "app/image.h"

#include "base/ckd.h"

static int read_signature(struct image *image, bool *is_signature, struct error *e)
{
    uint8_t head[64];
    uint64_t length = min_u64(sizeof head, image->file->identity.size);

    if (host_file_pread(image->file, head, length, 0, e) != 0)
        return -1;
    *is_signature = sig_probe(head, length);
    if (!*is_signature)
        return 0;
    return sig_read(image->file->fd, image->name, &image->sig, e);
}

static int open_image(struct worker *w, const struct job_source *s, struct worker_source *opened,
                      struct image *image, struct error *e)
{
    struct disk_options options = {
        .format = s->format,
        .snapshot = s->snapshot,
        .lazy = true, /* an unchanged image is known by its files */
    };
    bool is_signature = false;

    image->name = take(opened->name);
    if (opened->file == NULL)
        return disk_open_nbd(worker_env(w), image->name,
                             s->export_name == NULL ? "" : s->export_name, take_fd(&opened->socket),
                             &image->disk, e);
    image->file = take(opened->file);
    if (options.format == NULL && options.snapshot == NULL &&
        read_signature(image, &is_signature, e) != 0)
        return -1;
    if (is_signature)
        return 0;
    return disk_open(worker_env(w), image->file, &options, &image->disk, e);
}

int image_open(struct worker *w, const struct job *job, uint32_t index, struct image *out,
               struct error *e)
{
    struct worker_source opened;
    struct image image = {};
    int rc;

    atomic_store(&worker_page(w)->source, index);
    if (worker_open_source(w, index, &opened, e) != 0)
        return -1;
    rc = open_image(w, &job->sources[index], &opened, &image, e);
    worker_source_release(&opened);
    if (rc != 0)
        image_release(&image);
    else
        *out = image;
    return rc;
}

int image_wake(struct image *image, struct error *e)
{
    return image->disk == NULL ? 0 : disk_wake(image->disk, e);
}

int image_sign(struct sig_library *library, struct image *image, struct error *e)
{
    if (image->sig != NULL)
        return 0;
    return sig_library_get(library, image->disk, &image->sig, &image->origin, e);
}

void image_release(struct image *image)
{
    free(image->name);
    sig_unref(image->sig);
    disk_close(image->disk);
    host_file_unref(image->file);
    *image = (struct image){};
}

struct sig_library *image_library(struct worker *w, struct error *e)
{
    return sig_library_new(worker_cache(w), worker_scan(w), &worker_env(w)->problems, e);
}
