/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Each wall by itself: a whole run would not show that one of them is missing. */
#include "../test.h"

#include "app/landlock.h"
#include "app/seal.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

static int open_errno(void)
{
    return open("/etc/passwd", O_RDONLY | O_CLOEXEC) >= 0 ? 0 : errno;
}

/* What the function returns in a process of its own. */
static int in_child(int (*run)(void))
{
    int status;
    pid_t child = fork();

    if (child == 0)
        _exit(run());
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFEXITED(status));
    return WEXITSTATUS(status);
}

static int behind_first_wall(void)
{
    struct error e;

    return seal_before_threads(SANDBOX_AUTO, &e) != 0 ? 255 : open_errno();
}

static void landlock_alone_refuses_files(void **state)
{
    (void)state;
    if (landlock_abi() <= 0)
        skip();
    assert_int_equal(in_child(behind_first_wall), EACCES);
}

static int behind_second_wall(void)
{
    static const char path[] = "/etc/passwd";
    uint64_t how[3] = {};
    struct error e;

    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0 || seal_after_threads(SANDBOX_AUTO, &e) != 0)
        return 255;
    if (syscall(SYS_openat2, AT_FDCWD, path, how, sizeof how) >= 0 || errno != ENOSYS)
        return 254;
    return open_errno();
}

static void seccomp_alone_refuses_files(void **state)
{
    (void)state;
    assert_int_equal(in_child(behind_second_wall), ENOSYS);
}

static atomic_bool sealed;

static void *open_when_sealed(void *arg)
{
    while (!atomic_load(&sealed))
        ;
    *(int *)arg = open_errno();
    return NULL;
}

static int thread_behind_second_wall(void)
{
    int found = 253;
    pthread_t thread;
    struct error e;

    if (pthread_create(&thread, NULL, open_when_sealed, &found) != 0 ||
        prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0 || seal_after_threads(SANDBOX_AUTO, &e) != 0)
        return 255;
    atomic_store(&sealed, true);
    pthread_join(thread, NULL);
    return found;
}

static void threads_that_ran_before_are_sealed_as_well(void **state)
{
    (void)state;
    assert_int_equal(in_child(thread_behind_second_wall), ENOSYS);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(landlock_alone_refuses_files),
        cmocka_unit_test(seccomp_alone_refuses_files),
        cmocka_unit_test(threads_that_ran_before_are_sealed_as_well),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
