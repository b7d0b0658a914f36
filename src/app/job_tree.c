/* SPDX-License-Identifier: GPL-2.0-or-later */
/* In the worker: sign all sources, relate them, plan. */
#include "app/image.h"
#include "base/mem.h"
#include "cluster/kinship.h"
#include "cluster/kinship_build.h"

/* What is kept of an image once it is signed: not its descriptors, of which there may be thousands.
 */
struct entry {
    struct sig *sig;
    struct kinship_image image;
    struct file_identity identity, backing; /* of its own file and of its backing file's */
    bool has_identity, has_backing, in_use;
};

static void entry_release(struct entry *entry)
{
    sig_unref(entry->sig);
    kinship_image_release(&entry->image);
}

static void entries_free(struct entry *entries, size_t n)
{
    for (size_t i = 0; entries != NULL && i < n; i++)
        entry_release(&entries[i]);
    free(entries);
}

/* Why no plan can touch it, or NULL. */
static const char *why_fixed(const struct job_source *s, const struct image *image)
{
    struct host_file *const *files;

    if (s->fixed != NULL)
        return s->fixed;
    if (image->disk == NULL)
        return NULL; /* a signature: the plan is told, whoever has the image carries it out */
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

static int describe(const struct job_source *s, const struct image *image, struct entry *entry,
                    struct error *e)
{
    struct kinship_image *k = &entry->image;
    struct disk *backing = image->disk == NULL ? NULL : disk_backing(image->disk);
    struct host_file *const *files;

    k->virtual_size = image->sig->size;
    k->data_bytes = image->sig->data_bytes;
    k->disk_id = image->sig->disk;
    k->content_id = image->sig->content;
    k->read_bytes = image->origin.read_bytes;
    k->cached = image->origin.cached;
    k->allocated_bytes = allocated_bytes(image);
    k->backing = PLAN_NONE;
    k->in_use = s->in_use || (image->file != NULL && image->file->in_use);
    entry->in_use = k->in_use;
    if (image->disk != NULL && image->file != NULL) {
        entry->identity = image->file->identity;
        entry->has_identity = s->snapshot == NULL;
    }
    if (backing != NULL && disk_files(backing, &files) > 0) {
        entry->backing = files[0]->identity;
        entry->has_backing = true;
    }
    if (copy(&k->path, image->name, e) != 0 || copy(&k->guest, s->guest, e) != 0 ||
        copy(&k->fixed, why_fixed(s, image), e) != 0 ||
        copy(&k->format, image->disk == NULL ? "signature" : disk_format(image->disk), e) != 0 ||
        copy(&k->backing_path, backing == NULL ? NULL : disk_name(backing), e) != 0)
        return -1;
    return 0;
}

static int sign_one(struct worker *w, const struct job *job, uint32_t index,
                    struct sig_library *library, struct entry *entry, struct error *e)
{
    const struct job_source *s = &job->sources[index];
    struct image image;
    int rc;

    if (image_open(w, job, index, &image, e) != 0)
        return -1;
    if (image.file != NULL && image.file->in_use)
        problem_report(
            &worker_env(w)->problems, SEVERITY_WARNING, ERR_IN_USE, image.name, PROBLEM_NO_OFFSET,
            "in use: another process holds it for writing, so what was read may be between "
            "two states");
    rc = image_sign(library, &image, e);
    if (rc == 0)
        rc = describe(s, &image, entry, e);
    if (rc == 0)
        entry->sig = sig_ref(image.sig);
    image_release(&image);
    return rc;
}

static bool same_file(const struct file_identity *a, const struct file_identity *b)
{
    return a->device == b->device && a->inode == b->inode;
}

struct by_identity {
    struct file_identity identity;
    uint32_t index;
};

static int compare_identity(const void *a, const void *b)
{
    const struct by_identity *x = a, *y = b;

    if (x->identity.device != y->identity.device)
        return x->identity.device < y->identity.device ? -1 : 1;
    if (x->identity.inode != y->identity.inode)
        return x->identity.inode < y->identity.inode ? -1 : 1;
    return x->index < y->index ? -1 : x->index > y->index;
}

/* Finds each image's existing backing file among the images. */
static int link_backing(struct entry *entries, size_t n, struct error *e)
{
    AUTO_FREE
    struct by_identity *sorted = mem_array(n, sizeof *sorted, "the identities of images", e);
    size_t m = 0;

    if (sorted == NULL)
        return -1;
    for (size_t i = 0; i < n; i++) {
        if (entries[i].has_identity)
            sorted[m++] = (struct by_identity){entries[i].identity, (uint32_t)i};
    }
    qsort(sorted, m, sizeof *sorted, compare_identity);
    for (size_t i = 0; i < n; i++) {
        size_t low = 0, high = m;

        if (!entries[i].has_backing)
            continue;
        while (low < high) { /* the first that is not smaller */
            size_t middle = low + (high - low) / 2;
            struct by_identity key = {entries[i].backing, 0};

            if (compare_identity(&sorted[middle], &key) < 0)
                low = middle + 1;
            else
                high = middle;
        }
        if (low < m && same_file(&sorted[low].identity, &entries[i].backing) &&
            sorted[low].index != i)
            entries[i].image.backing = sorted[low].index;
    }
    return 0;
}

static int relate(struct worker *w, const struct job *job, struct entry *entries, size_t n,
                  struct error *e)
{
    AUTO_FREE
    const struct sig **sigs = mem_array(n, sizeof *sigs, "signatures", e);
    AUTO_FREE
    struct kinship_image *images = mem_array(n, sizeof *images, "images", e);
    struct kinship_options options = {
        .linkage = job->linkage,
        .threshold = job->threshold,
        .plan = job->plan,
        .all = job->all,
        .sketch = job->sketch || n > KINSHIP_MATRIX_MAX,
        .matrix = job->matrix,
        .pool = worker_pool(w),
    };
    struct kinship kinship = {};
    int rc;

    if (sigs == NULL || images == NULL || link_backing(entries, n, e) != 0)
        return -1;
    for (size_t i = 0; i < n; i++) {
        sigs[i] = entries[i].sig;
        images[i] = entries[i].image;
        entries[i].image = (struct kinship_image){};
    }
    rc = kinship_build(&options, images, sigs, n, &kinship, e); /* takes what images[] own */
    if (rc == 0)
        rc = kinship_send(&kinship, worker_send, w, e);
    kinship_release(&kinship);
    return rc;
}

int job_run_tree(struct worker *w, const struct job *job, struct error *e)
{
    AUTO(sig_library) *library = image_library(w, e);
    struct entry *entries = mem_array(job->n_sources, sizeof *entries, "images", e);
    size_t n = 0;
    int rc;

    if (library == NULL || entries == NULL) {
        free(entries);
        return -1;
    }
    for (uint32_t i = 0; i < job->n_sources; i++) {
        struct entry entry = {};
        struct error why;

        if (job->sources[i].skip)
            continue;
        if (sign_one(w, job, i, library, &entry, &why) == 0) {
            entries[n++] = entry;
        } else {
            entry_release(&entry);
            worker_failed(w, i, &why);
        }
    }
    atomic_store(&worker_page(w)->source, NO_SOURCE);
    rc = relate(w, job, entries, n, e);
    entries_free(entries, n);
    return rc;
}
