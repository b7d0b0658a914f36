/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What tests need of the world around them: a folder of their own, outside programs, random numbers
 * that can be had again. */
#ifndef STEMMA_TESTS_TOOLS_H
#define STEMMA_TESTS_TOOLS_H

#include <ftw.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#define TEST_SKIP 77

/* Makes a folder and goes there. */
static inline void enter_test_folder(char path[256])
{
    const char *tmp = getenv("TMPDIR");

    snprintf(path, 256, "%s/stemma-test-XXXXXX", tmp == NULL ? "/tmp" : tmp);
    if (mkdtemp(path) == NULL || chdir(path) < 0)
        abort();
}

static inline int remove_one_(const char *path, const struct stat *st, int type, struct FTW *f)
{
    (void)st;
    (void)type;
    (void)f;
    return remove(path);
}

static inline void leave_test_folder(const char *path)
{
    if (chdir("/") == 0)
        nftw(path, remove_one_, 16, FTW_DEPTH | FTW_PHYS);
}

/* Runs a shell command; its exit status, or -1. */
__attribute__((format(printf, 1, 2))) static inline int run(const char *format, ...)
{
    char command[4096];
    va_list args;
    int status;

    va_start(args, format);
    vsnprintf(command, sizeof command, format, args);
    va_end(args);
    status = system(command);
    return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

static inline void skip_without(const char *program)
{
    if (run("command -v %s >/dev/null", program) == 0)
        return;
    printf("SKIP: %s is not installed\n", program);
    exit(TEST_SKIP);
}

/* xorshift64*: the same numbers on every machine. */
static inline uint64_t next_random(uint64_t *seed)
{
    *seed ^= *seed >> 12;
    *seed ^= *seed << 25;
    *seed ^= *seed >> 27;
    return *seed * 0x2545f4914f6cdd1dull;
}

static inline void fill_random(uint64_t *seed, void *bytes, size_t length)
{
    for (size_t i = 0; i < length; i += 8) {
        uint64_t n = next_random(seed);

        memcpy((char *)bytes + i, &n, length - i < 8 ? length - i : 8);
    }
}

#endif
