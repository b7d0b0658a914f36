/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A small family of raw images in the test's folder, a plan for it, and a worker that writes the
 * overlays from saved copies: R is the root; P, the middle, stands on R; C on P; sub/D on R. */
#ifndef STEMMA_TESTS_FAMILY_H
#define STEMMA_TESTS_FAMILY_H

#include "../test.h"
#include "../tools.h"

#include "base/ckd.h"
#include "cluster/replace.h"
#include "disk/qcow2_write.h"
#include "hash/id.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/xattr.h>

enum { R, P, C, D, FAMILY };

static const char *const family_paths[FAMILY] = {"R.img", "P.img", "C.img", "sub/D.img"};
static const char *const family_saved[FAMILY] = {"saved/R", "saved/P", "saved/C", "saved/D"};
static const mode_t family_modes[FAMILY] = {0640, 0664, 0600, 0444};
/* C is longer than what it stands on, D is shorter, and neither is a whole number of sectors. */
static const size_t family_sizes[FAMILY] = {1 << 20, 1 << 20, (1 << 20) + 66236, (1 << 20) - 70001};
static ino_t family_inodes[FAMILY];
static struct stat family_stats[FAMILY];

static struct replace_item family_items[FAMILY] = {
    [R] = {.path = "R.img", .backing = REPLACE_NONE, .format = "raw", .base_format = "raw"},
    [P] = {.path = "P.img", .backing = R, .format = "raw"},
    [C] = {.path = "C.img", .backing = P, .format = "raw"},
    [D] = {.path = "sub/D.img", .backing = R, .format = "raw"},
};

static inline void write_file(const char *path, const void *bytes, size_t length)
{
    FILE *f = fopen(path, "w");

    assert_non_null(f);
    assert_int_equal(fwrite(bytes, 1, length, f), length);
    assert_int_equal(fclose(f), 0);
}

/* Zero-padded to a whole cluster. */
static inline uint8_t *read_file(const char *path, size_t *length)
{
    AUTO_FD int fd = open(path, O_RDONLY);
    struct stat st;
    uint8_t *bytes;

    assert_true(fd >= 0);
    assert_int_equal(fstat(fd, &st), 0);
    *length = (size_t)st.st_size;
    bytes = calloc(1, *length + CLUSTER_SIZE);
    assert_int_equal(pread(fd, bytes, *length, 0), *length);
    return bytes;
}

static inline void make_saved(void)
{
    static uint8_t bytes[2 << 20];
    uint64_t seed = 4711;

    assert_int_equal(mkdir("saved", 0755), 0);
    fill_random(&seed, bytes, sizeof bytes);
    memset(bytes + 5 * CLUSTER_SIZE, 0, CLUSTER_SIZE);
    write_file(family_saved[R], bytes, family_sizes[R]);
    bytes[3 * CLUSTER_SIZE] ^= 1;
    memset(bytes + 7 * CLUSTER_SIZE, 0, CLUSTER_SIZE);
    write_file(family_saved[P], bytes, family_sizes[P]);
    bytes[4 * CLUSTER_SIZE + 17] ^= 1;
    write_file(family_saved[C], bytes, family_sizes[C]);
    bytes[5 * CLUSTER_SIZE + 17] ^= 1;
    write_file(family_saved[D], bytes, family_sizes[D]);
}

/* The family as it was before anything happened to it. */
static inline void make_family(void)
{
    assert_int_equal(run("chmod -R u+w . && rm -rf R.img* P.img* C.img* sub && mkdir sub"), 0);
    for (int i = 0; i < FAMILY; i++) {
        const struct timespec times[2] = {{1500000000, 5}, {1600000000 + i, 123456789}};
        AUTO_FREE uint8_t *bytes = NULL;
        size_t length;

        bytes = read_file(family_saved[i], &length);
        write_file(family_paths[i], bytes, length);
        assert_int_equal(chmod(family_paths[i], family_modes[i]), 0);
        assert_int_equal(utimensat(AT_FDCWD, family_paths[i], times, 0), 0);
        assert_int_equal(stat(family_paths[i], &family_stats[i]), 0);
        family_inodes[i] = family_stats[i].st_ino;
        family_items[i].virtual_size = length;
        family_items[i].overlay_bytes = length;
    }
}

/* ---- a worker ---- */

static inline void write_content(const struct replace_step *s, struct qcow2_writer *w)
{
    AUTO_FREE uint8_t *child = NULL, *parent = NULL;
    size_t n, m;
    struct error e;

    child = read_file(family_saved[s->item], &n);
    parent = read_file(family_saved[s->backing_item], &m);
    for (uint64_t i = 0; i < div_up(n, CLUSTER_SIZE); i++) {
        static const uint8_t zeros[CLUSTER_SIZE];
        const uint8_t *c = child + i * CLUSTER_SIZE;
        const uint8_t *p = i * CLUSTER_SIZE < m ? parent + i * CLUSTER_SIZE : zeros;

        if (memcmp(c, zeros, CLUSTER_SIZE) == 0)
            assert_ok(qcow2_write_zero(w, i, &e), &e);
        else if (memcmp(c, p, CLUSTER_SIZE) != 0)
            assert_ok(qcow2_write_data(w, i, c, &e), &e);
    }
}

static inline int family_write(void *arg, const struct replace_step *s, int fd, struct error *e)
{
    const struct qcow2_write_options o = {family_sizes[s->item], s->backing_name,
                                          s->backing_format};
    AUTO(qcow2_writer) *w = qcow2_writer_new(fd, &o, e);

    (void)arg;
    assert_non_null(w);
    if (s->kind == REPLACE_STEP_WRITE)
        write_content(s, w);
    return qcow2_write_finish(w, e);
}

static inline bool reads_as(const char *path, const char *saved)
{
    return run("qemu-img compare -q -F raw %s %s", path, saved) == 0;
}

static inline int family_verify(void *arg, const struct replace_step *s, struct error *e)
{
    (void)arg;
    if (!reads_as(s->to, family_saved[s->item]))
        return err_set(e, ERR_FORMAT, "differs");
    return 0;
}

static inline int family_trust(void *arg, const struct replace_step *s, struct error *e)
{
    (void)arg;
    (void)s;
    (void)e;
    return 0;
}

/* The backing file's absolute path, from the header. */
static inline bool stands_on(const char *path, const char *base)
{
    uint8_t h[512];
    char name[512] = {}, full[1024], folder[512];
    AUTO_FD int fd = open(path, O_RDONLY | O_NOFOLLOW);
    size_t at, length;

    if (fd < 0 || pread(fd, h, sizeof h, 0) != sizeof h || memcmp(h, "QFI\xfb", 4) != 0)
        return false;
    at = (size_t)h[14] << 8 | h[15];
    length = (size_t)h[18] << 8 | h[19];
    assert_true(length < sizeof name && at + length <= sizeof h);
    memcpy(name, h + at, length);
    if (name[0] == '/')
        return strcmp(name, base) == 0;
    assert_non_null(realpath(path, full));
    *strrchr(full, '/') = 0;
    snprintf(folder, sizeof folder, "%.500s", full);
    snprintf(full, sizeof full, "%s/%s", folder, name);
    return strcmp(full, base) == 0;
}

static inline int family_used_by(void *arg, const char *base, const char *except, char **user,
                                 struct error *e)
{
    const char *const suffixes[] = {"", REPLACE_NEW, REPLACE_BASE, REPLACE_OLD};

    (void)arg;
    (void)e;
    *user = NULL;
    for (int i = 0; i < FAMILY && *user == NULL; i++) {
        for (int k = 0; k < 4 && *user == NULL; k++) {
            char path[256], full[PATH_MAX];

            snprintf(path, sizeof path, "%s%s", family_paths[i], suffixes[k]);
            if (realpath(path, full) == NULL || !stands_on(path, base))
                continue;
            if (except == NULL || strcmp(full, except) != 0)
                *user = strdup(full);
        }
    }
    return 0;
}

static const struct replace_worker family_worker = {
    .write = family_write, .verify = family_verify, .used_by = family_used_by};
/* The same without a comparison at each step, for tests that compare afterwards. */
static const struct replace_worker family_quick_worker = {
    .write = family_write, .verify = family_trust, .used_by = family_used_by};

/* ---- calls ---- */

static inline int family_replace(const struct replace_worker *w, const struct fileops_hook *hook,
                                 struct error *e)
{
    struct replace_options o = {};
    AUTO(replace) *r = NULL;

    if (hook != NULL)
        o.hook = *hook;
    r = replace_plan(family_items, FAMILY, &o, e);
    return r == NULL ? -1 : replace_run(r, w, NULL, e);
}

static inline int family_undo(const struct fileops_hook *hook, bool force, struct error *e)
{
    struct replace_options o = {.force = force};
    AUTO(replace) *r = NULL;

    if (hook != NULL)
        o.hook = *hook;
    r = replace_plan_undo(family_paths, FAMILY, &o, e);
    return r == NULL ? -1 : replace_run(r, &family_quick_worker, NULL, e);
}

static inline int family_commit(const struct fileops_hook *hook, struct error *e)
{
    struct replace_options o = {};
    AUTO(replace) *r = NULL;

    if (hook != NULL)
        o.hook = *hook;
    r = replace_plan_commit(family_paths, FAMILY, &o, e);
    return r == NULL ? -1 : replace_run(r, &family_quick_worker, NULL, e);
}

/* ---- what must hold ---- */

static inline bool same_bytes(const char *a, const char *b)
{
    AUTO_FREE uint8_t *x = NULL, *y = NULL;
    size_t n, m;

    x = read_file(a, &n);
    y = read_file(b, &m);
    return n == m && memcmp(x, y, n) == 0;
}

/* The file that was the image is still there under one of its names, with its bytes and times. */
static inline void assert_original_exists(int i)
{
    const char *const suffixes[] = {"", REPLACE_BASE, REPLACE_OLD};
    struct stat st;

    for (int k = 0; k < 3; k++) {
        char path[256];

        snprintf(path, sizeof path, "%s%s", family_paths[i], suffixes[k]);
        if (lstat(path, &st) == 0 && st.st_ino == family_inodes[i]) {
            assert_true(same_bytes(path, family_saved[i]));
            assert_int_equal(st.st_mtim.tv_nsec, family_stats[i].st_mtim.tv_nsec);
            return;
        }
    }
    fail_msg("the original of %s is gone", family_paths[i]);
}

/* Each image opens under its name and has the content it had. */
static inline void assert_family_reads(void)
{
    for (int i = 0; i < FAMILY; i++) {
        struct stat st;

        assert_original_exists(i);
        assert_int_equal(stat(family_paths[i], &st), 0);
        if (st.st_ino != family_inodes[i] && !reads_as(family_paths[i], family_saved[i]))
            fail_msg("%s does not read as it did", family_paths[i]);
    }
}

/* All is as it was, to the byte and the mode, and there are no other files. */
static inline void assert_family_restored(void)
{
    for (int i = 0; i < FAMILY; i++) {
        struct stat st, *was = &family_stats[i];

        assert_int_equal(lstat(family_paths[i], &st), 0);
        assert_int_equal(st.st_ino, was->st_ino);
        assert_int_equal(st.st_mode, was->st_mode);
        assert_int_equal(st.st_nlink, 1);
        assert_int_equal(st.st_mtim.tv_nsec, was->st_mtim.tv_nsec);
        assert_true(same_bytes(family_paths[i], family_saved[i]));
    }
    if (run("ls *.stemma-* sub/*.stemma-* 2>/dev/null") == 0)
        fail_msg("there are files left");
}

static inline void assert_family_replaced(void)
{
    const char *const bases[] = {"R.img" REPLACE_BASE, "P.img" REPLACE_BASE};
    char base[PATH_MAX];

    assert_family_reads();
    for (int i = 0; i < FAMILY; i++) {
        struct stat st;

        assert_int_equal(lstat(family_paths[i], &st), 0);
        assert_true(S_ISREG(st.st_mode));
        assert_int_not_equal(st.st_ino, family_inodes[i]);
        assert_int_equal(st.st_mode, family_stats[i].st_mode);
        assert_int_equal(st.st_mtim.tv_nsec, family_stats[i].st_mtim.tv_nsec);
    }
    for (int i = 0; i < 2; i++) {
        struct stat st;

        assert_int_equal(lstat(bases[i], &st), 0);
        assert_int_equal(st.st_mode & 0222, 0);
    }
    assert_non_null(realpath(bases[1], base));
    assert_true(stands_on("C.img", base));
    assert_non_null(realpath(bases[0], base));
    assert_true(stands_on("sub/D.img", base));
    assert_int_not_equal(run("ls *.stemma-new sub/*.stemma-new 2>/dev/null"), 0);
}

#endif
