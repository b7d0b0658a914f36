/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The folder of the cache: its keys, many writers, what is removed and when. */
#include "app/cache_folder.h"

#include "../test.h"
#include "../tools.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <time.h>

static char top[256];

static int setup(void **state)
{
    (void)state;
    enter_test_folder(top);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    leave_test_folder(top);
    return 0;
}

static struct cache_folder *folder(void)
{
    struct error e;
    struct cache_folder *c = cache_folder_new("cache", &e);

    assert_non_null(c);
    return c;
}

static void key_of(char key[65], int n)
{
    snprintf(key, 65, "%064x", n);
}

static void put(struct cache_folder *c, int n, size_t bytes)
{
    char key[65];
    uint8_t *content = calloc(1, bytes + 1);
    struct error e;
    int fd;

    key_of(key, n);
    memset(content, n, bytes);
    assert_ok(cache_folder_create(c, key, &fd, &e), &e);
    assert_int_equal(write(fd, content, bytes), bytes);
    close(fd);
    free(content);
    assert_ok(cache_folder_commit(c, key, true, &e), &e);
}

/* Whether entry n is there, whole. */
static bool has(struct cache_folder *c, int n, size_t bytes)
{
    char key[65];
    struct error e;
    struct stat st;
    int fd, rc;

    key_of(key, n);
    rc = cache_folder_open(c, key, &fd, &e);
    if (rc != 0) {
        assert_int_equal(e.code, ERR_NOT_FOUND);
        return false;
    }
    assert_int_equal(fstat(fd, &st), 0);
    assert_int_equal(st.st_size, bytes);
    close(fd);
    return true;
}

/* As if entry n had been used so many seconds ago. */
static void age(int n, int seconds)
{
    char path[200];
    struct timespec times[2] = {{.tv_sec = time(NULL) - seconds}, {.tv_sec = time(NULL) - seconds}};

    snprintf(path, sizeof path, "cache/v1/%064x.sig", n);
    assert_int_equal(utimensat(AT_FDCWD, path, times, 0), 0);
}

static void nothing_is_made_before_it_is_needed(void **state)
{
    AUTO(cache_folder) *c = folder();
    struct cache_entry *entries = NULL;
    struct error e;
    struct stat st;
    size_t n = 1;

    (void)state;
    assert_false(has(c, 1, 0));
    assert_ok(cache_folder_list(c, &entries, &n, &e), &e);
    assert_int_equal(n, 0);
    free(entries);
    assert_int_equal(access("cache", F_OK), -1);
    put(c, 1, 10);
    assert_int_equal(stat("cache", &st), 0);
    assert_int_equal(st.st_mode & 0777, 0700);
    assert_int_equal(stat("cache/v1", &st), 0);
    assert_int_equal(st.st_mode & 0777, 0700);
    assert_true(has(c, 1, 10));
}

static void only_64_hex_digits_are_a_key(void **state)
{
    static const char *const bad[] = {
        "",
        "..",
        "0",
        "../../../../../../../../../../../../../../../../../etc/passwd0000",
        "000000000000000000000000000000000000000000000000000000000000000",
        "00000000000000000000000000000000000000000000000000000000000000000",
        "ABCDEF0000000000000000000000000000000000000000000000000000000000",
        "00000000000000000000000000000000/0000000000000000000000000000000",
    };
    AUTO(cache_folder) *c = folder();
    struct error e;
    int fd;

    (void)state;
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        assert_int_equal(cache_folder_open(c, bad[i], &fd, &e), -1);
        assert_int_equal(e.code, ERR_FORMAT);
        assert_int_equal(cache_folder_create(c, bad[i], &fd, &e), -1);
        assert_int_equal(e.code, ERR_FORMAT);
        assert_int_equal(cache_folder_commit(c, bad[i], true, &e), -1);
    }
    assert_int_equal(access("cache", F_OK), -1);
}

static void an_entry_appears_whole_or_not_at_all(void **state)
{
    struct cache_folder *c = folder();
    char key[65], other[65];
    struct error e;
    int fd;

    (void)state;
    key_of(key, 1);
    key_of(other, 2);
    assert_ok(cache_folder_create(c, key, &fd, &e), &e);
    assert_int_equal(write(fd, "half", 4), 4);
    close(fd);
    assert_false(has(c, 1, 4));
    assert_int_equal(cache_folder_create(c, other, &fd, &e), -1); /* one at a time */
    assert_int_equal(cache_folder_commit(c, other, true, &e), -1);
    assert_int_equal(e.code, ERR_PEER);
    assert_ok(cache_folder_commit(c, key, false, &e), &e);
    assert_false(has(c, 1, 4));
    assert_int_equal(cache_folder_commit(c, key, true, &e), -1);
    assert_ok(cache_folder_create(c, key, &fd, &e), &e);
    close(fd);
    cache_folder_free(c); /* interrupted */
    assert_int_equal(run("test -z \"$(ls cache/v1)\""), 0);
}

static void entries_that_are_links_are_not_followed(void **state)
{
    AUTO(cache_folder) *c = folder();
    char key[65], path[200];
    struct error e;
    int fd;

    (void)state;
    put(c, 1, 1);
    key_of(key, 2);
    snprintf(path, sizeof path, "cache/v1/%s.sig", key);
    assert_int_equal(symlink("/etc/passwd", path), 0);
    assert_int_equal(cache_folder_open(c, key, &fd, &e), -1);
}

#define WRITERS 8
#define ROUNDS 40

static void many_processes_write_at_once(void **state)
{
    AUTO(cache_folder) *c = folder();
    pid_t children[WRITERS];

    (void)state;
    for (int i = 0; i < WRITERS; i++) {
        children[i] = fork();
        if (children[i] == 0) {
            AUTO(cache_folder) *mine = folder();

            for (int k = 0; k < ROUNDS; k++) {
                put(mine, k % 5, 5000);
                if (!has(mine, k % 5, 5000))
                    _exit(1);
            }
            _exit(0);
        }
    }
    for (int i = 0; i < WRITERS; i++) {
        int status = -1;

        assert_int_equal(waitpid(children[i], &status, 0), children[i]);
        assert_int_equal(status, 0);
    }
    for (int k = 0; k < 5; k++)
        assert_true(has(c, k, 5000));
    assert_int_equal(run("test $(ls -A cache/v1 | wc -l) = 5"), 0);
}

static void the_longest_unused_go_first(void **state)
{
    AUTO(cache_folder) *c = folder();
    struct cache_entry *entries = NULL;
    struct error e;
    size_t n, removed;
    uint64_t freed, sum = 0;

    (void)state;
    for (int i = 1; i <= 5; i++) {
        put(c, i, 4096);
        age(i, 1000 * i);
    }
    assert_true(has(c, 5, 4096)); /* a use: now the youngest */
    assert_ok(cache_folder_list(c, &entries, &n, &e), &e);
    assert_int_equal(n, 5);
    assert_int_equal(entries[0].key[63], '4');
    assert_int_equal(entries[4].key[63], '5');
    for (size_t i = 0; i < n; i++)
        sum += entries[i].bytes;
    assert_true(sum >= 5 * 4096);
    /* by age */
    assert_ok(cache_folder_prune(c, 3500, UINT64_MAX, &removed, &freed, &e), &e);
    assert_int_equal(removed, 1);
    assert_int_equal(freed, entries[0].bytes);
    assert_false(has(c, 4, 4096));
    /* by size: 3, 2, 1 and 5 are left, in that order */
    assert_ok(cache_folder_prune(c, INT64_MAX, sum / 5 * 2, &removed, &freed, &e), &e);
    assert_int_equal(removed, 2);
    free(entries);
    assert_ok(cache_folder_list(c, &entries, &n, &e), &e);
    assert_int_equal(n, 2);
    assert_int_equal(entries[0].key[63], '1');
    assert_int_equal(entries[1].key[63], '5');
    free(entries);
}

static void what_is_not_ours_stays(void **state)
{
    AUTO(cache_folder) *c = folder();
    struct error e;
    size_t removed;
    uint64_t freed;

    (void)state;
    put(c, 1, 10);
    assert_int_equal(run("touch cache/notes cache/v1/README cache/v1/short.sig; mkdir cache/v2; "
                         "touch -d '3 days ago' cache/v1/$(printf %%064d 7).123.tmp; "
                         "touch cache/v1/$(printf %%064d 8).123.tmp"),
                     0);
    assert_ok(cache_folder_prune(c, 86400, UINT64_MAX, &removed, &freed, &e), &e);
    assert_int_equal(removed, 0);
    /* what a crashed run left goes, what somebody writes just now stays */
    assert_int_equal(run("test ! -e cache/v1/$(printf %%064d 7).123.tmp"), 0);
    assert_int_equal(run("test -e cache/v1/$(printf %%064d 8).123.tmp"), 0);
    assert_ok(cache_folder_clear(c, &removed, &freed, &e), &e);
    assert_int_equal(removed, 1);
    assert_false(has(c, 1, 10));
    assert_int_equal(run("test -e cache/notes -a -e cache/v1/README -a -e cache/v1/short.sig -a -e "
                         "cache/v2"),
                     0);
}

static void a_place_that_cannot_be_written_is_an_error(void **state)
{
    struct error e;
    AUTO(cache_folder) *c = cache_folder_new("file/below", &e);
    char key[65];
    int fd;

    (void)state;
    assert_int_equal(run("touch file"), 0);
    key_of(key, 1);
    assert_int_equal(cache_folder_create(c, key, &fd, &e), -1);
    assert_non_null(strstr(e.msg, "file/below"));
    assert_int_equal(cache_folder_open(c, key, &fd, &e), -1);
}

int main(void)
{
#define CACHE_TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
    const struct CMUnitTest tests[] = {
        CACHE_TEST(nothing_is_made_before_it_is_needed),
        CACHE_TEST(only_64_hex_digits_are_a_key),
        CACHE_TEST(an_entry_appears_whole_or_not_at_all),
        CACHE_TEST(entries_that_are_links_are_not_followed),
        CACHE_TEST(many_processes_write_at_once),
        CACHE_TEST(the_longest_unused_go_first),
        CACHE_TEST(what_is_not_ours_stays),
        CACHE_TEST(a_place_that_cannot_be_written_is_an_error),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
