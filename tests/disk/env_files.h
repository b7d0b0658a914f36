/* SPDX-License-Identifier: GPL-2.0-or-later */
/* An environment for tests and fuzzers of disk/ and the layers above: it opens what an image names,
 * relative to the image's folder, with no policy, and really starts qemu-nbd. */
#ifndef STEMMA_TESTS_DISK_ENV_FILES_H
#define STEMMA_TESTS_DISK_ENV_FILES_H

#include "disk/disk.h"
#include "disk/driver.h"

#include <sys/types.h>

#define TEST_SERVERS 64

struct test_env {
    struct disk_env env; /* pass &t.env on; fields may be changed after test_env_init() */
    struct disk_limits limits;
    pid_t servers[TEST_SERVERS]; /* of the qemu-nbd started by now */
    size_t n_servers;
    size_t n_problems;
    char last_problem[512];
};

/* All drivers, serve() included. t must stay where it is. */
[[nodiscard]] int test_env_init(struct test_env *t, struct error *e);
void test_env_release(struct test_env *t); /* kills the servers */

/* `format` and `snapshot` may be NULL. */
[[nodiscard]] int test_env_open(struct test_env *t, const char *path, const char *format,
                                const char *snapshot, struct disk **out, struct error *e);

/* A file without a name on disk (memfd) with these bytes. */
[[nodiscard]] struct host_file *test_memory_file(const char *name, const void *bytes, size_t length,
                                                 struct error *e);

/* A new folder for one test, and its removal with all that is in it. */
char *test_folder_new(void); /* for test_folder_remove(); ends the program when it cannot */
void test_folder_remove(char *folder);
/* FOLDER/NAME, for free(). */
char *test_path(const char *folder, const char *name);

/* Runs a shell command; 0 when it ended with status 0. */
int test_run(const char *format, ...) PRINTF_LIKE(1, 2);
/* True when the program can be found in PATH. */
bool test_have(const char *program);

#endif
