/* SPDX-License-Identifier: GPL-2.0-or-later */
/* In the worker: the jobs that are one call each. */
#include "app/image.h"
#include "base/mem.h"
#include "cluster/overlay.h"
#include "disk/guest_config.h"
#include "sig/compare.h"
#include "sig/compare_record.h"

/* Opens sources 0 and 1, both needed: which one failed stands before the message. */
static int open_two(struct worker *w, const struct job *job, struct image two[2], struct error *e)
{
    for (uint32_t i = 0; i < 2; i++) {
        struct error why;

        if (job->sources[i].skip)
            return err_set(e, ERR_PEER, "nothing to compare with");
        if (image_open(w, job, i, &two[i], &why) != 0) {
            worker_failed(w, i, &why);
            return err_set(e, why.code, "%s", why.msg);
        }
    }
    return 0;
}

static void release_two(struct image two[2])
{
    image_release(&two[0]);
    image_release(&two[1]);
}

static int sign_two(struct worker *w, struct sig_library *library, struct image two[2],
                    struct error *e)
{
    for (uint32_t i = 0; i < 2; i++) {
        struct error why;

        atomic_store(&worker_page(w)->source, i);
        if (image_sign(library, &two[i], &why) != 0) {
            worker_failed(w, i, &why);
            return err_set(e, why.code, "%s", why.msg);
        }
    }
    return 0;
}

static int compare_to_the_byte(struct worker *w, struct image two[2], struct comparison *found,
                               struct error *e)
{
    struct comparison exact = {};

    for (size_t i = 0; i < 2; i++) {
        if (two[i].disk == NULL)
            return err_set(e, ERR_USAGE, "%s: a signature has no bytes that --exact could read",
                           two[i].name);
        if (image_wake(&two[i], e) != 0)
            return err_wrap(e, "%s", two[i].name);
    }
    if (compare_exact(two[0].disk, two[1].disk, found, worker_scan(w), &exact, e) != 0)
        return -1;
    comparison_release(found);
    *found = exact;
    return 0;
}

int job_run_compare(struct worker *w, const struct job *job, struct error *e)
{
    struct image two[2] = {};
    struct comparison found = {};
    AUTO(sig_library) *library = image_library(w, e);
    int rc = library == NULL ? -1 : 0;

    if (rc == 0)
        rc = open_two(w, job, two, e);
    if (rc == 0)
        rc = sign_two(w, library, two, e);
    if (rc == 0)
        rc = compare_signatures(two[0].sig, two[1].sig, &found, e);
    if (rc == 0 && job->exact)
        rc = compare_to_the_byte(w, two, &found, e);
    if (rc == 0)
        rc = comparison_send(&found, worker_send, w, e);
    comparison_release(&found);
    release_two(two);
    return rc;
}

static int write_signature(struct worker *w, uint32_t index, const struct sig *sig, struct error *e)
{
    AUTO_FD int fd = -1;
    struct error ignored;

    if (worker_output_create(w, index, &fd, e) != 0)
        return -1;
    if (sig_write(sig, fd, e) != 0) {
        if (worker_output_commit(w, index, false, &ignored) != 0)
            return err_wrap(e, "%s", ignored.msg);
        return -1;
    }
    return worker_output_commit(w, index, true, e);
}

static int sign_source(struct worker *w, const struct job *job, uint32_t index,
                       struct sig_library *library, struct error *e)
{
    struct image image;
    AUTO_BUF b = {};
    int rc;

    if (image_open(w, job, index, &image, e) != 0)
        return -1;
    rc = image_sign(library, &image, e);
    if (rc == 0)
        rc = write_signature(w, index, image.sig, e);
    if (rc == 0) {
        buf_put_u32(&b, index);
        buf_put_u64(&b, image.sig->size);
        buf_put_u64(&b, image.sig->data_bytes);
        buf_put_u64(&b, image.origin.read_bytes);
        buf_put_u8(&b, image.origin.cached);
        buf_put(&b, &image.sig->disk, sizeof image.sig->disk);
        rc = buf_check(&b, "a message", e);
    }
    if (rc == 0)
        rc = worker_send(w, MSG_SIGNED, b.bytes, b.length, e);
    image_release(&image);
    return rc;
}

int job_run_sign(struct worker *w, const struct job *job, struct error *e)
{
    AUTO(sig_library) *library = image_library(w, e);

    if (library == NULL)
        return -1;
    for (uint32_t i = 0; i < job->n_sources; i++) {
        struct error why;

        if (!job->sources[i].skip && sign_source(w, job, i, library, &why) != 0)
            worker_failed(w, i, &why);
    }
    return 0;
}

static int write_overlay(struct worker *w, const struct job *job, struct image two[2], int fd,
                         struct error *e)
{
    if (job->empty)
        return overlay_write_empty(fd, disk_size(two[0].disk), job->backing_name,
                                   job->backing_format, e);
    if (two[1].sig == NULL)
        return err_set(e, ERR_INTERNAL, "an overlay of nothing");
    return overlay_write(two[0].disk, two[0].sig, two[1].sig, fd, job->backing_name,
                         job->backing_format, worker_scan(w), e);
}

int job_run_overlay(struct worker *w, const struct job *job, struct error *e)
{
    struct image two[2] = {};
    AUTO(sig_library) *library = image_library(w, e);
    AUTO_FD int fd = -1;
    int rc = library == NULL ? -1 : 0;

    for (uint32_t i = 0; rc == 0 && i < job->n_sources && i < 2; i++) {
        rc = image_open(w, job, i, &two[i], e);
        if (rc == 0)
            rc = image_wake(&two[i], e);
        if (rc == 0 && !job->empty)
            rc = image_sign(library, &two[i], e);
    }
    if (rc == 0 && two[0].disk == NULL)
        rc = err_set(e, ERR_USAGE, "%s: a signature is no image", two[0].name);
    if (rc == 0)
        rc = worker_output_create(w, 0, &fd, e);
    if (rc == 0) {
        struct error ignored;

        rc = write_overlay(w, job, two, fd, e);
        if (rc == 0)
            rc = worker_output_commit(w, 0, true, e);
        else if (worker_output_commit(w, 0, false, &ignored) != 0)
            err_wrap(e, "%s", ignored.msg);
    }
    release_two(two);
    return rc;
}

int job_run_verify(struct worker *w, const struct job *job, struct error *e)
{
    struct image two[2] = {};
    int rc = open_two(w, job, two, e);

    if (rc == 0 && (two[0].disk == NULL || two[1].disk == NULL))
        rc = err_set(e, ERR_USAGE, "a signature has no bytes to verify");
    for (size_t i = 0; rc == 0 && i < 2; i++)
        rc = image_wake(&two[i], e);
    if (rc == 0)
        rc = overlay_verify(two[0].disk, two[1].disk, worker_scan(w), e);
    release_two(two);
    return rc;
}

/* ---- definitions of guests ---- */

#define DEFINITION_MAX (1u << 20) /* bytes */

static int read_definition(struct worker *w, uint32_t index, struct buf *out, char **name,
                           struct error *e)
{
    struct worker_source opened;
    uint8_t *bytes;
    int rc = 0;

    if (worker_open_source(w, index, &opened, e) != 0)
        return -1;
    if (opened.file == NULL || opened.file->identity.size > DEFINITION_MAX) {
        rc = err_set(e, ERR_LIMIT, "%s: larger than a guest's definition can be (1 MiB)",
                     opened.name);
    } else {
        bytes = buf_extend(out, opened.file->identity.size);
        rc = buf_check(out, "a guest's definition", e);
        if (rc == 0)
            rc = host_file_pread(opened.file, bytes, opened.file->identity.size, 0, e);
    }
    if (rc == 0)
        *name = take(opened.name);
    worker_source_release(&opened);
    return rc;
}

static int place_disks(const struct buf *storage, struct guest_list *list, struct error *e)
{
    for (size_t i = 0; i < list->n; i++) {
        for (size_t k = 0; k < list->guests[i].n_disks; k++) {
            if (guest_config_pve_path(storage->bytes, storage->length, &list->guests[i].disks[k],
                                      e) != 0)
                return -1;
        }
    }
    return 0;
}

static int send_guests(struct worker *w, const struct guest_list *list, struct error *e)
{
    for (size_t i = 0; i < list->n; i++) {
        AUTO_BUF b = {};

        if (guest_encode(&b, &list->guests[i]) != 0 || b.length > RECORD_MAX)
            return err_set(e, ERR_LIMIT, "the guest %s has too many disks", list->guests[i].name);
        if (worker_send(w, MSG_GUEST, b.bytes, b.length, e) != 0)
            return -1;
    }
    return 0;
}

static int parse_guests(const struct job *job, const struct buf *definition, const char *name,
                        const struct buf *storage, struct guest_list *out, struct error *e)
{
    const char *slash = strrchr(name, '/');

    if (!job->pve)
        return guest_config_parse_libvirt(definition->bytes, definition->length, out, e);
    if (guest_config_parse_pve(slash == NULL ? name : slash + 1, definition->bytes,
                               definition->length, out, e) != 0)
        return -1;
    return place_disks(storage, out, e);
}

int job_run_guests(struct worker *w, const struct job *job, struct error *e)
{
    AUTO_BUF definition = {}, storage = {};
    AUTO_FREE char *name = NULL, *storage_name = NULL;
    struct guest_list list = {};
    int rc = read_definition(w, 0, &definition, &name, e);

    if (rc == 0 && job->storage_config)
        rc = read_definition(w, 1, &storage, &storage_name, e);
    if (rc == 0)
        rc = parse_guests(job, &definition, name, &storage, &list, e);
    if (rc == 0)
        rc = send_guests(w, &list, e);
    guest_list_release(&list);
    return rc;
}

/* ---- what an image is ---- */

/* u8 there is one, then the identity of its backing file. */
static void put_backing(struct buf *b, const struct disk *disk)
{
    struct disk *backing = disk == NULL ? NULL : disk_backing(disk);
    struct host_file *const *files;
    bool known = backing != NULL && disk_files(backing, &files) > 0;

    buf_put_u8(b, known);
    if (known) {
        put_identity(b, &files[0]->identity);
        buf_put_string(b, disk_format(backing));
    }
}

static int inspect_source(struct worker *w, const struct job *job, uint32_t index, struct error *e)
{
    struct image image;
    AUTO_BUF b = {};
    int rc;

    if (image_open(w, job, index, &image, e) != 0)
        return -1;
    if (image_wake(&image, e) != 0) {
        image_release(&image);
        return -1;
    }
    buf_put_u32(&b, index);
    buf_put_string(&b, image.disk == NULL ? "signature" : disk_format(image.disk));
    buf_put_u64(&b, image.disk == NULL ? image.sig->size : disk_size(image.disk));
    buf_put_u32(&b, image.disk == NULL ? 0 : (uint32_t)disk_snapshots(image.disk));
    buf_put_u8(&b, image.file != NULL && image.file->in_use);
    put_backing(&b, image.disk);
    rc = buf_check(&b, "a message", e);
    if (rc == 0)
        rc = worker_send(w, MSG_IMAGE, b.bytes, b.length, e);
    image_release(&image);
    return rc;
}

int job_run_inspect(struct worker *w, const struct job *job, struct error *e)
{
    for (uint32_t i = 0; i < job->n_sources; i++) {
        struct error why;

        if (!job->sources[i].skip && inspect_source(w, job, i, &why) != 0)
            worker_failed(w, i, &why);
    }
    (void)e;
    return 0;
}
