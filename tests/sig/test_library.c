/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "../disk/env_files.h"
#include "../test.h"

#include "base/io.h"
#include "disk/reader.h"
#include "sig/library.h"

#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <time.h>

/* ---- a cache in memory ---- */

#define ENTRIES 16

struct fake_cache {
    struct {
        char key[65];
        int fd;
        bool whole;
    } entry[ENTRIES];
    size_t n;
    size_t opened, hits, created, kept, dropped;
    enum err_code open_fails, create_fails; /* ERR_NONE: they do not */
    bool full;                              /* entries cannot be written to */
};

static size_t fake_find(const struct fake_cache *c, const char *key)
{
    size_t i = 0;

    while (i < c->n && strcmp(c->entry[i].key, key) != 0)
        i++;
    return i;
}

static int fake_open(void *arg, const char *key, int *fd, struct error *e)
{
    struct fake_cache *c = arg;
    size_t i = fake_find(c, key);

    c->opened++;
    if (c->open_fails != ERR_NONE)
        return err_set(e, c->open_fails, "the cache cannot be read");
    if (i == c->n || !c->entry[i].whole)
        return err_set(e, ERR_NOT_FOUND, "no such entry");
    c->hits++;
    *fd = dup(c->entry[i].fd);
    return 0;
}

static int fake_create(void *arg, const char *key, int *fd, struct error *e)
{
    struct fake_cache *c = arg;
    size_t i = fake_find(c, key);

    assert_int_equal(strlen(key), 64);
    assert_int_equal(strspn(key, "0123456789abcdef"), 64);
    c->created++;
    if (c->create_fails != ERR_NONE)
        return err_set(e, c->create_fails, "the cache cannot be written");
    assert_true(i < ENTRIES);
    if (i == c->n) {
        strcpy(c->entry[c->n++].key, key);
    } else {
        close(c->entry[i].fd);
    }
    c->entry[i].fd = memfd_create("entry", MFD_CLOEXEC);
    c->entry[i].whole = false;
    *fd = c->full ? open("/dev/full", O_RDWR | O_CLOEXEC) : dup(c->entry[i].fd);
    return 0;
}

static int fake_commit(void *arg, const char *key, bool keep, struct error *e)
{
    struct fake_cache *c = arg;
    size_t i = fake_find(c, key);

    (void)e;
    assert_true(i < c->n);
    c->entry[i].whole = keep;
    *(keep ? &c->kept : &c->dropped) += 1;
    return 0;
}

static void fake_release(struct fake_cache *c)
{
    for (size_t i = 0; i < c->n; i++)
        close(c->entry[i].fd);
}

/* ---- one run after another over the same folder ---- */

static int64_t clock_ahead; /* seconds */

struct place {
    char *folder;
    struct fake_cache memory;
    struct sig_cache cache;
    struct pool *pool;
};

static int set_up(void **state)
{
    struct place *p = calloc(1, sizeof *p);
    struct error e;

    p->folder = test_folder_new();
    p->cache = (struct sig_cache){fake_open, fake_create, fake_commit, &p->memory};
    p->pool = pool_new(2, &e);
    *state = p;
    return p->pool == NULL;
}

static int tear_down(void **state)
{
    struct place *p = *state;

    fake_release(&p->memory);
    pool_free(p->pool);
    test_folder_remove(p->folder);
    free(p);
    clock_ahead = 0;
    return 0;
}

/* A raw image of n clusters of this byte. No time of a file can be set back for good (ctime),
 * so whoever wants an entry waits until the file has settled. */
static void write_image(const struct place *p, const char *name, int byte, size_t n)
{
    AUTO_FREE char *path = test_path(p->folder, name);
    const struct timespec tick = {0, 20000000};
    FILE *f;

    /* Two writes within a tick of the kernel's clock would have the same times. */
    nanosleep(&tick, NULL);
    f = fopen(path, "w");
    for (size_t i = 0; i < n * CLUSTER_SIZE; i++)
        fputc(byte, f);
    fclose(f);
}

/* The clock, as the program sees it (linked with --wrap): nobody wants to wait for files to settle.
 */
int __real_clock_gettime(clockid_t clock, struct timespec *t);
int __wrap_clock_gettime(clockid_t clock, struct timespec *t);

int __wrap_clock_gettime(clockid_t clock, struct timespec *t)
{
    int result = __real_clock_gettime(clock, t);

    if (clock == CLOCK_REALTIME)
        t->tv_sec += clock_ahead;
    return result;
}

static void settle(void)
{
    clock_ahead += 3;
}

struct run {
    struct test_env env;
    struct sig_library *library;
    struct scan_options scan;
    struct progress progress;
};

static void run_begin(struct run *r, struct place *p)
{
    struct error e;

    *r = (struct run){};
    r->scan = (struct scan_options){.pool = p->pool, .progress = &r->progress};
    assert_ok(test_env_init(&r->env, &e), &e);
    r->library = sig_library_new(&p->cache, &r->scan, &r->env.env.problems, &e);
    assert_non_null(r->library);
    p->memory.opened = p->memory.hits = p->memory.created = 0;
    p->memory.kept = p->memory.dropped = 0;
}

static void run_end(struct run *r)
{
    sig_library_free(r->library);
    test_env_release(&r->env);
}

static struct disk *run_open(struct run *r, struct place *p, const char *name, const char *format)
{
    AUTO_FREE char *path = test_path(p->folder, name);
    struct disk *d = NULL;
    struct error e;

    assert_ok(test_env_open(&r->env, path, format, NULL, &d, &e), &e);
    return d;
}

static struct sig *run_get(struct run *r, struct disk *d, struct sig_origin *origin)
{
    struct sig *s = NULL;
    struct error e;

    assert_ok(sig_library_get(r->library, d, &s, origin, &e), &e);
    return s;
}

/* What one run says of one image. */
static struct sig_origin sign(struct place *p, const char *name, const char *format, struct id *id,
                              size_t *problems)
{
    struct sig_origin origin;
    struct run r;

    run_begin(&r, p);
    {
        AUTO(disk) *d = run_open(&r, p, name, format);
        AUTO(sig) *s = run_get(&r, d, &origin);

        *id = s->content;
        if (problems != NULL)
            *problems = r.env.n_problems;
    }
    run_end(&r);
    return origin;
}

/* ---- tests ---- */

static void an_unchanged_image_is_not_read_again(void **state)
{
    struct place *p = *state;
    struct sig_origin origin;
    struct id first, second;

    write_image(p, "a.img", 'a', 3);
    settle();
    origin = sign(p, "a.img", "raw", &first, NULL);
    assert_false(origin.cached);
    assert_int_equal(origin.read_bytes, 3 * CLUSTER_SIZE);
    assert_int_equal(p->memory.kept, 1);
    origin = sign(p, "a.img", "raw", &second, NULL);
    assert_true(origin.cached);
    assert_int_equal(origin.read_bytes, 0);
    assert_int_equal(p->memory.created, 0);
    assert_true(id_equal(&first, &second));
}

static void an_image_that_was_just_written_is_not_kept(void **state)
{
    struct place *p = *state;
    size_t problems;
    struct id id;

    write_image(p, "a.img", 'a', 1);
    assert_false(sign(p, "a.img", "raw", &id, &problems).cached);
    assert_int_equal(p->memory.created, 0);
    assert_int_equal(problems, 0);
}

static void an_image_whose_time_was_just_set_back_is_not_kept(void **state)
{
    const struct timespec times[2] = {{1000000000, 0}, {1000000000, 0}};
    struct place *p = *state;
    AUTO_FREE char *path = test_path(p->folder, "a.img");
    struct id id;

    write_image(p, "a.img", 'a', 1);
    assert_int_equal(utimensat(AT_FDCWD, path, times, 0), 0);
    sign(p, "a.img", "raw", &id, NULL);
    assert_int_equal(p->memory.created, 0);
}

static void an_image_from_the_future_is_not_kept(void **state)
{
    struct place *p = *state;
    AUTO_FREE char *path = test_path(p->folder, "a.img");
    struct timespec times[2] = {{time(NULL) + 100000, 0}, {time(NULL) + 100000, 0}};
    struct id id;

    write_image(p, "a.img", 'a', 1);
    assert_int_equal(utimensat(AT_FDCWD, path, times, 0), 0);
    settle();
    sign(p, "a.img", "raw", &id, NULL);
    assert_int_equal(p->memory.created, 0);
}

static void a_change_is_seen_also_when_the_time_was_set_back(void **state)
{
    struct place *p = *state;
    AUTO_FREE char *path = test_path(p->folder, "a.img");
    struct timespec times[2];
    struct id first, second;
    struct stat st;

    write_image(p, "a.img", 'a', 2);
    settle();
    sign(p, "a.img", "raw", &first, NULL);
    assert_int_equal(p->memory.kept, 1);
    assert_int_equal(stat(path, &st), 0);
    write_image(p, "a.img", 'b', 2);
    times[0] = st.st_atim;
    times[1] = st.st_mtim;
    assert_int_equal(utimensat(AT_FDCWD, path, times, 0), 0);
    assert_false(sign(p, "a.img", "raw", &second, NULL).cached);
    assert_false(id_equal(&first, &second));
}

static void a_backing_file_is_read_once_for_all_that_stand_on_it(void **state)
{
    struct place *p = *state;
    struct sig_origin origin;
    struct run r;

    if (!test_have("qemu-img"))
        skip();
    write_image(p, "base.img", 'b', 4);
    assert_int_equal(
        test_run("cd %s && for i in 1 2; do qemu-img create -q -f qcow2 -b base.img -F "
                 "raw o$i.qcow2 && qemu-io -c \"write -P $i 0 64k\" o$i.qcow2; done "
                 "> /dev/null",
                 p->folder),
        0);
    settle();
    run_begin(&r, p);
    {
        AUTO(disk) *a = run_open(&r, p, "o1.qcow2", NULL);
        AUTO(disk) *b = run_open(&r, p, "o2.qcow2", NULL);
        AUTO(sig) *s = run_get(&r, a, &origin);
        AUTO(sig) *t = run_get(&r, b, &origin);
        AUTO(sig) *base = run_get(&r, disk_backing(b), &origin);

        assert_int_equal(origin.read_bytes, 4 * CLUSTER_SIZE);
        assert_int_equal(r.progress.done, 6 * CLUSTER_SIZE);
        assert_int_equal(r.progress.total, 6 * CLUSTER_SIZE);
        assert_true(id_equal(sig_id(s, 1), sig_id(base, 1)));
        assert_false(id_equal(sig_id(s, 0), sig_id(t, 0)));
        assert_int_equal(p->memory.kept, 3);
    }
    run_end(&r);
    /* the base is not even asked for when the overlay has not changed */
    run_begin(&r, p);
    {
        AUTO(disk) *a = run_open(&r, p, "o1.qcow2", NULL);
        AUTO(sig) *s = run_get(&r, a, &origin);

        assert_true(origin.cached);
        assert_int_equal(s->n_ids, 4);
        assert_int_equal(p->memory.opened, 1);
    }
    run_end(&r);
}

static void a_changed_backing_file_makes_all_above_it_new(void **state)
{
    struct place *p = *state;
    struct id first, second;

    if (!test_have("qemu-img"))
        skip();
    write_image(p, "base.img", 'b', 4);
    assert_int_equal(test_run("cd %s && qemu-img create -q -f qcow2 -b base.img -F raw m.qcow2 && "
                              "qemu-img create -q -f qcow2 -b m.qcow2 -F qcow2 top.qcow2",
                              p->folder),
                     0);
    settle();
    sign(p, "top.qcow2", NULL, &first, NULL);
    assert_int_equal(p->memory.kept, 3);
    clock_ahead = 0;
    write_image(p, "base.img", 'c', 4);
    assert_false(sign(p, "top.qcow2", NULL, &second, NULL).cached);
    assert_false(id_equal(&first, &second));
    assert_int_equal(p->memory.created, 0); /* what stands on an unsettled file is not kept */
    settle();
    sign(p, "top.qcow2", NULL, &first, NULL);
    assert_int_equal(p->memory.kept, 3);
    assert_true(id_equal(&first, &second));
}

static void a_damaged_entry_is_told_and_made_again(void **state)
{
    struct place *p = *state;
    size_t problems;
    struct id id;

    write_image(p, "a.img", 'a', 3);
    settle();
    sign(p, "a.img", "raw", &id, NULL);
    assert_int_equal(ftruncate(p->memory.entry[0].fd, 300), 0);
    assert_false(sign(p, "a.img", "raw", &id, &problems).cached);
    assert_int_equal(problems, 1);
    assert_int_equal(p->memory.kept, 1);
    assert_true(sign(p, "a.img", "raw", &id, &problems).cached);
    assert_int_equal(problems, 0);
}

static void the_entry_of_another_disk_is_not_believed(void **state)
{
    struct place *p = *state;
    size_t problems;
    struct id id;
    int swap;

    write_image(p, "a.img", 'a', 3);
    write_image(p, "b.img", 'b', 4);
    settle();
    sign(p, "a.img", "raw", &id, NULL);
    sign(p, "b.img", "raw", &id, NULL);
    swap = p->memory.entry[0].fd;
    p->memory.entry[0].fd = p->memory.entry[1].fd;
    p->memory.entry[1].fd = swap;
    assert_false(sign(p, "a.img", "raw", &id, &problems).cached);
    assert_int_equal(problems, 1);
}

static void a_cache_that_fails_is_told_once_and_stops_nothing(void **state)
{
    struct place *p = *state;
    struct fake_cache *c = &p->memory;

    write_image(p, "a.img", 'a', 1);
    write_image(p, "b.img", 'b', 1);
    settle();
    for (unsigned how = 0; how < 3; how++) {
        struct sig_origin origin;
        struct run r;

        c->open_fails = how == 0 ? ERR_DENIED : ERR_NONE;
        c->create_fails = how <= 1 ? ERR_DENIED : ERR_NONE;
        c->full = how == 2;
        run_begin(&r, p);
        {
            AUTO(disk) *a = run_open(&r, p, "a.img", "raw");
            AUTO(disk) *b = run_open(&r, p, "b.img", "raw");
            AUTO(sig) *s = run_get(&r, a, &origin);
            AUTO(sig) *t = run_get(&r, b, &origin);

            assert_int_equal(s->n_ids + t->n_ids, 2);
        }
        assert_int_equal(r.env.n_problems, 1);
        assert_int_equal(c->kept, 0);
        assert_int_equal(c->dropped, how == 2 ? 2 : 0);
        run_end(&r);
    }
}

static void a_file_that_changes_during_the_scan_is_told_and_not_kept(void **state)
{
    struct place *p = *state;
    AUTO_FREE char *path = test_path(p->folder, "a.img");
    struct sig_origin origin;
    struct run r;

    write_image(p, "a.img", 'a', 2);
    settle();
    run_begin(&r, p);
    {
        AUTO(disk) *d = run_open(&r, p, "a.img", "raw"); /* from here on */
        AUTO_FD int fd = open(path, O_WRONLY | O_CLOEXEC);
        AUTO(sig) *s = NULL;

        assert_int_equal(pwrite(fd, "x", 1, 70000), 1);
        s = run_get(&r, d, &origin);
        assert_int_equal(s->n_ids, 2);
        assert_int_equal(r.env.n_problems, 1);
        assert_non_null(strstr(r.env.last_problem, "changed"));
    }
    run_end(&r);
    assert_int_equal(p->memory.created, 0);
}

static void formats_and_files_have_keys_of_their_own(void **state)
{
    struct place *p = *state;
    char raw[65], qcow2[65], linked[65];
    struct run r;

    if (!test_have("qemu-img"))
        skip();
    assert_int_equal(test_run("cd %s && qemu-img create -q -f qcow2 a.qcow2 1M && "
                              "ln a.qcow2 b.qcow2",
                              p->folder),
                     0);
    run_begin(&r, p);
    {
        AUTO(disk) *d = run_open(&r, p, "a.qcow2", "qcow2");

        assert_true(sig_cache_key(d, qcow2));
    }
    {
        AUTO(disk) *d = run_open(&r, p, "a.qcow2", "raw");

        assert_true(sig_cache_key(d, raw));
    }
    {
        AUTO(disk) *d = run_open(&r, p, "b.qcow2", "qcow2");

        assert_true(sig_cache_key(d, linked));
    }
    run_end(&r);
    assert_string_not_equal(raw, qcow2);
    assert_string_equal(qcow2, linked); /* it is the file, not its name */
}

static void assert_another_key(const struct disk *d, const char *key)
{
    char other[65];

    assert_true(sig_cache_key(d, other));
    assert_string_not_equal(other, key);
}

static void all_that_tells_a_file_goes_into_the_key(void **state)
{
    struct place *p = *state;
    char key[65], again[65];
    struct run r;

    if (!test_have("qemu-img"))
        skip();
    write_image(p, "base.img", 'b', 1);
    assert_int_equal(test_run("cd %s && qemu-img create -q -f qcow2 -b base.img -F raw m.qcow2 && "
                              "qemu-img create -q -f qcow2 -b m.qcow2 -F qcow2 top.qcow2",
                              p->folder),
                     0);
    run_begin(&r, p);
    {
        AUTO(disk) *top = run_open(&r, p, "top.qcow2", "qcow2");

        assert_true(sig_cache_key(top, key));
        for (struct disk *d = top; d != NULL; d = disk_backing(d)) {
            struct host_file *const *files;
            struct file_identity *f, was;

            assert_int_equal(disk_files(d, &files), 1);
            f = &files[0]->identity;
            was = *f;
            f->device++;
            assert_another_key(top, key);
            *f = was;
            f->inode++;
            assert_another_key(top, key);
            *f = was;
            f->size++;
            assert_another_key(top, key);
            *f = was;
            f->mtime_ns++;
            assert_another_key(top, key);
            *f = was;
            f->ctime_ns++;
            assert_another_key(top, key);
            *f = was;
            f->block_device = true;
            assert_false(sig_cache_key(top, again));
            *f = was;
        }
        assert_true(sig_cache_key(top, again));
        assert_string_equal(again, key);
    }
    run_end(&r);
}

/* All files of the chain were written long ago but one. */
static void one_unsettled_file_of_the_chain_is_enough(void **state)
{
    static const char *const names[] = {"base.img", "m.qcow2", "top.qcow2"};
    struct place *p = *state;
    struct id id;

    if (!test_have("qemu-img"))
        skip();
    write_image(p, "base.img", 'b', 1);
    assert_int_equal(test_run("cd %s && qemu-img create -q -f qcow2 -b base.img -F raw m.qcow2 && "
                              "qemu-img create -q -f qcow2 -b m.qcow2 -F qcow2 top.qcow2",
                              p->folder),
                     0);
    for (size_t i = 0; i < 3; i++) {
        AUTO_FREE char *path = test_path(p->folder, names[i]);
        struct timespec times[2] = {{0, UTIME_NOW}, {time(NULL) + 100000, 0}};

        assert_int_equal(utimensat(AT_FDCWD, path, times, 0), 0);
        settle();
        sign(p, "top.qcow2", NULL, &id, NULL);
        assert_int_equal(p->memory.created, i > 0); /* the one below; the rest is kept */
        times[1].tv_sec = 1000000000;
        assert_int_equal(utimensat(AT_FDCWD, path, times, 0), 0);
        settle();
    }
}

static void snapshots_have_keys_of_their_own(void **state)
{
    static const char *const names[] = {NULL, "one", "two"};
    struct place *p = *state;
    AUTO_FREE char *path = test_path(p->folder, "a.qcow2");
    char keys[3][65];
    struct run r;

    if (!test_have("qemu-img"))
        skip();
    assert_int_equal(
        test_run("cd %s && qemu-img create -q -f qcow2 a.qcow2 1M && "
                 "qemu-img snapshot -c one a.qcow2 && qemu-img snapshot -c two a.qcow2",
                 p->folder),
        0);
    run_begin(&r, p);
    for (size_t i = 0; i < 3; i++) {
        AUTO(disk) *d = NULL;
        struct error e;

        assert_ok(test_env_open(&r.env, path, NULL, names[i], &d, &e), &e);
        assert_true(sig_cache_key(d, keys[i]));
        for (size_t k = 0; k < i; k++)
            assert_string_not_equal(keys[k], keys[i]);
    }
    run_end(&r);
}

static void block_devices_are_never_kept(void **state)
{
    struct place *p = *state;
    struct sig_origin origin;
    struct run r;

    write_image(p, "a.img", 'a', 1);
    settle();
    run_begin(&r, p);
    {
        AUTO(disk) *d = run_open(&r, p, "a.img", "raw");
        struct host_file *const *files;
        AUTO(sig) *s = NULL;

        assert_int_equal(disk_files(d, &files), 1);
        files[0]->identity.block_device = true; /* only root can have a real one */
        s = run_get(&r, d, &origin);
        assert_int_equal(s->n_ids, 1);
    }
    run_end(&r);
    assert_int_equal(p->memory.created, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
#define T(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
        T(an_unchanged_image_is_not_read_again),
        T(an_image_that_was_just_written_is_not_kept),
        T(an_image_whose_time_was_just_set_back_is_not_kept),
        T(an_image_from_the_future_is_not_kept),
        T(a_change_is_seen_also_when_the_time_was_set_back),
        T(a_backing_file_is_read_once_for_all_that_stand_on_it),
        T(a_changed_backing_file_makes_all_above_it_new),
        T(a_damaged_entry_is_told_and_made_again),
        T(the_entry_of_another_disk_is_not_believed),
        T(a_cache_that_fails_is_told_once_and_stops_nothing),
        T(a_file_that_changes_during_the_scan_is_told_and_not_kept),
        T(formats_and_files_have_keys_of_their_own),
        T(all_that_tells_a_file_goes_into_the_key),
        T(one_unsettled_file_of_the_chain_is_enough),
        T(snapshots_have_keys_of_their_own),
        T(block_devices_are_never_kept),
    };
    struct error e;

    hash_init();
    assert_ok(reader_init(&e), &e);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
