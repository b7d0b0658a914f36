/* SPDX-License-Identifier: GPL-2.0-or-later */
/* In the worker: sign all sources, relate them, plan. */
#include "app/image.h"
#include "base/mem.h"
#include "cluster/kinship.h"
#include "cluster/kinship_build.h"

/* What is kept of the images once they are signed: not their descriptors, of which there may be
 * thousands. */
struct family {
    struct kinship kinship;
    const struct sig **sigs; /* references, by image */
    struct origin *origins;
    struct backing_read *reads; /* one for each backing file that was read */
    size_t n_reads, reads_capacity;
};

/* Which files an image lies in. */
struct origin {
    struct file_identity own, backing;
    bool has_own, has_backing;
};

/* What images above it read of a file: it counts for the image that lies there, which may come
 * before or after them. */
struct backing_read {
    struct file_identity file;
    uint64_t bytes;
};

static void family_release(struct family *f)
{
    for (size_t i = 0; f->sigs != NULL && i < f->kinship.n; i++)
        sig_unref((struct sig *)f->sigs[i]);
    free(f->sigs);
    free(f->origins);
    free(f->reads);
    kinship_release(&f->kinship);
}

static int family_init(struct family *f, size_t n, struct error *e)
{
    *f = (struct family){};
    f->sigs = mem_array(n, sizeof *f->sigs, "signatures", e);
    f->origins = mem_array(n, sizeof *f->origins, "images", e);
    f->kinship.images = mem_array(n, sizeof *f->kinship.images, "images", e);
    f->kinship.leaves = mem_array(n, sizeof *f->kinship.leaves, "guests", e);
    if (f->sigs == NULL || f->origins == NULL || f->kinship.images == NULL ||
        f->kinship.leaves == NULL)
        return -1;
    return 0;
}

/* Why no plan can touch it, or NULL. */
static const char *why_fixed(const struct job *job, const struct job_source *s,
                             const struct image *image)
{
    struct host_file *const *files;

    if (s->fixed != NULL)
        return s->fixed;
    if (image->disk == NULL)
        return job->images_only ? "a signature, not an image" : NULL;
    if (image->file == NULL)
        return "an NBD export";
    if (image->file->identity.block_device)
        return "a block device";
    if (s->snapshot != NULL)
        return "an internal snapshot";
    if (disk_snapshots(image->disk) != 0)
        return "has internal snapshots";
    if (strcmp(disk_format(image->disk), "raw") != 0 &&
        strcmp(disk_format(image->disk), "qcow2") != 0)
        return "only raw and qcow2 images get backing files";
    if (disk_files(image->disk, &files) > 1)
        return "lies in more than one file";
    return NULL;
}

static uint64_t allocated_bytes(const struct image *image)
{
    struct host_file *const *files;
    uint64_t sum = 0;
    size_t n = image->disk == NULL ? 0 : disk_files(image->disk, &files);

    for (size_t i = 0; i < n; i++)
        sum += files[i]->identity.allocated;
    return image->disk == NULL ? image->sig->data_bytes : sum;
}

static int copy(char **to, const char *from, struct error *e)
{
    if (from == NULL)
        return 0;
    *to = mem_string(from, e);
    return *to == NULL ? -1 : 0;
}

/* Adds a signed image. The place is the image's once it is counted, even when something fails. */
static int add_image(struct family *f, const struct job *job, const struct job_source *s,
                     const struct image *image, struct error *e)
{
    size_t i = f->kinship.n++;
    struct kinship_image *k = &f->kinship.images[i];
    struct origin *origin = &f->origins[i];
    struct disk *backing = image->disk == NULL ? NULL : disk_backing(image->disk);
    struct host_file *const *files;

    f->sigs[i] = sig_ref(image->sig);
    k->read_bytes = image->origin.read_bytes;
    k->cached = image->origin.cached;
    k->allocated_bytes = allocated_bytes(image);
    k->backing = PLAN_NONE;
    k->in_use = s->in_use || (image->file != NULL && image->file->in_use);
    if (image->disk != NULL && image->file != NULL) {
        origin->own = image->file->identity;
        origin->has_own = s->snapshot == NULL;
    }
    if (backing != NULL && disk_files(backing, &files) > 0) {
        origin->backing = files[0]->identity;
        origin->has_backing = true;
    }
    if (copy(&k->path, image->name, e) != 0 || copy(&k->guest, s->guest, e) != 0 ||
        copy(&k->fixed, why_fixed(job, s, image), e) != 0 ||
        copy(&k->format, image->disk == NULL ? "signature" : disk_format(image->disk), e) != 0 ||
        copy(&k->backing_path, backing == NULL ? NULL : disk_name(backing), e) != 0)
        return -1;
    return 0;
}

static int add_read(struct family *f, const struct file_identity *file, uint64_t bytes,
                    struct error *e)
{
    for (size_t i = 0; i < f->n_reads; i++) {
        if (file_identity_same(&f->reads[i].file, file)) {
            f->reads[i].bytes += bytes;
            return 0;
        }
    }
    if (mem_grow(&f->reads, &f->reads_capacity, f->n_reads + 1, sizeof *f->reads, "backing files",
                 e) != 0)
        return -1;
    f->reads[f->n_reads++] = (struct backing_read){*file, bytes};
    return 0;
}

/* Takes what was read of the files below, so that it is counted once whoever looks next. */
static int note_backing_reads(struct family *f, const struct image *image, struct error *e)
{
    struct disk *d = image->disk == NULL ? NULL : disk_backing(image->disk);

    for (; d != NULL; d = disk_backing(d)) {
        struct host_file *const *files;
        size_t n = disk_files(d, &files);

        for (size_t i = 0; i < n; i++) {
            uint64_t bytes = atomic_exchange(&files[i]->read_bytes, 0);

            if (bytes > 0 && add_read(f, &files[i]->identity, bytes, e) != 0)
                return -1;
        }
    }
    return 0;
}

static int sign_one(struct worker *w, const struct job *job, uint32_t index,
                    struct sig_library *library, struct family *f, struct error *e)
{
    struct image image;
    int rc;

    if (image_open(w, job, index, &image, e) != 0)
        return -1;
    if (image.file != NULL && image.file->in_use)
        problem_report(&worker_env(w)->problems, SEVERITY_WARNING, ERR_IN_USE, image.name,
                       PROBLEM_NO_OFFSET,
                       "in use: another process holds it for writing, so what was read may be "
                       "between two states");
    rc = image_sign(library, &image, e);
    if (rc == 0)
        rc = note_backing_reads(f, &image, e);
    if (rc == 0)
        rc = add_image(f, job, &job->sources[index], &image, e);
    image_release(&image);
    return rc;
}

struct by_identity {
    struct file_identity identity;
    uint32_t index;
};

static int compare_files(const struct file_identity *a, const struct file_identity *b)
{
    if (a->device != b->device)
        return a->device < b->device ? -1 : 1;
    return a->inode < b->inode ? -1 : a->inode > b->inode;
}

static int compare_identity(const void *a, const void *b)
{
    const struct by_identity *x = a, *y = b;
    int order = compare_files(&x->identity, &y->identity);

    return order != 0 ? order : x->index < y->index ? -1 : x->index > y->index;
}

/* The first image that lies in this file, or PLAN_NONE. */
static uint32_t find_image(const struct by_identity *sorted, size_t n,
                           const struct file_identity *file)
{
    size_t low = 0, high = n;

    while (low < high) {
        size_t middle = low + (high - low) / 2;

        if (compare_files(&sorted[middle].identity, file) < 0)
            low = middle + 1;
        else
            high = middle;
    }
    return low < n && compare_files(&sorted[low].identity, file) == 0 ? sorted[low].index
                                                                      : PLAN_NONE;
}

/* Finds each image's existing backing file among the images, and whose reads those of backing files
 * were. */
static int link_backing(struct family *f, struct error *e)
{
    size_t n = f->kinship.n, m = 0;
    AUTO_FREE struct by_identity *sorted =
        mem_array(n, sizeof *sorted, "the identities of images", e);

    if (sorted == NULL)
        return -1;
    for (size_t i = 0; i < n; i++) {
        if (f->origins[i].has_own)
            sorted[m++] = (struct by_identity){f->origins[i].own, (uint32_t)i};
    }
    qsort(sorted, m, sizeof *sorted, compare_identity);
    for (size_t i = 1; i < m; i++) { /* one file under two names cannot stand on itself */
        struct kinship_image *k = &f->kinship.images[sorted[i].index];

        if (compare_files(&sorted[i - 1].identity, &sorted[i].identity) == 0 && k->fixed == NULL &&
            copy(&k->fixed, "the same file as another image", e) != 0)
            return -1;
    }
    for (size_t i = 0; i < n; i++) {
        if (f->origins[i].has_backing)
            f->kinship.images[i].backing = find_image(sorted, m, &f->origins[i].backing);
    }
    for (size_t i = 0; i < f->n_reads; i++) {
        uint32_t image = find_image(sorted, m, &f->reads[i].file);

        if (image != PLAN_NONE)
            f->kinship.images[image].read_bytes += f->reads[i].bytes;
    }
    return 0;
}

/* Disks of one guest stand together: they are one leaf. */
static void make_leaves(struct kinship *k)
{
    for (size_t i = 0; i < k->n; i++) {
        struct kinship_leaf *last = k->n_leaves == 0 ? NULL : &k->leaves[k->n_leaves - 1];

        if (last != NULL && k->images[i].guest != NULL && k->images[last->first].guest != NULL &&
            strcmp(k->images[i].guest, k->images[last->first].guest) == 0)
            last->count++;
        else
            k->leaves[k->n_leaves++] = (struct kinship_leaf){(uint32_t)i, 1};
    }
}

static int relate(struct worker *w, const struct job *job, struct family *f, struct error *e)
{
    struct kinship_options options = {
        .linkage = job->linkage,
        .threshold = job->threshold,
        .plan = job->plan,
        .all = job->all,
        .sketch = job->sketch,
        .matrix = job->matrix,
        .pool = worker_pool(w),
    };

    if (link_backing(f, e) != 0)
        return -1;
    make_leaves(&f->kinship);
    if (kinship_build(&f->kinship, f->sigs, &options, e) != 0)
        return -1;
    for (size_t i = 0; i < f->kinship.n; i++) {
        if (sig_lost(f->sigs[i]))
            return err_set(e, ERR_CHANGED, "%s: shrank while it was being read",
                           f->kinship.images[i].path);
    }
    return kinship_send(&f->kinship, worker_send, w, e);
}

int job_run_tree(struct worker *w, const struct job *job, struct error *e)
{
    AUTO(sig_library) *library = image_library(w, e);
    struct family f = {};
    int rc = library == NULL ? -1 : family_init(&f, job->n_sources, e);

    for (uint32_t i = 0; rc == 0 && i < job->n_sources; i++) {
        size_t before = f.kinship.n;
        struct error why;

        if (job->sources[i].skip || sign_one(w, job, i, library, &f, &why) == 0)
            continue;
        worker_failed(w, i, &why);
        if (f.kinship.n > before) /* half described: out of memory */
            rc = err_set(e, why.code, "%s", why.msg);
    }
    atomic_store(&worker_page(w)->source, NO_SOURCE);
    if (rc == 0)
        rc = relate(w, job, &f, e);
    family_release(&f);
    return rc;
}
