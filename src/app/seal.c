/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "app/seal.h"

#include "app/landlock.h"
#include "base/auto.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <seccomp.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/sysinfo.h>
#include <unistd.h>

/* Not in the headers of every system that we build on; the same on all architectures. */
#define NR_CACHESTAT 451

/* No core files of guests' data, and no more memory than the machine has. */
static int limit_resources(struct error *e)
{
    struct rlimit none = {0, 0};
    struct rlimit data;
    struct sysinfo info;

    if (setrlimit(RLIMIT_CORE, &none) != 0)
        return err_sys(e, "sandbox: core size limit");
    if (SANITIZED || sysinfo(&info) != 0) /* a sanitizer's shadow is larger than any machine */
        return 0;
    data.rlim_cur = data.rlim_max = (rlim_t)info.totalram * info.mem_unit;
    if (setrlimit(RLIMIT_DATA, &data) != 0)
        return err_sys(e, "sandbox: memory limit");
    return 0;
}

static int deny_all_files(struct error *e)
{
    AUTO_FD int rules = landlock_rules(e);

    if (rules < 0 || landlock_enforce(rules, e) != 0)
        return err_wrap(e, "sandbox");
    return 0;
}

int seal_before_threads(enum sandbox_mode mode, struct error *e)
{
    if (limit_resources(e) != 0)
        return -1;
    if (mode == SANDBOX_OFF)
        return 0;
    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0)
        return err_sys(e, "sandbox: no_new_privs");
    if (landlock_abi() > 0)
        return deny_all_files(e);
    if (mode == SANDBOX_REQUIRE)
        return err_set(e, ERR_UNSUPPORTED,
                       "sandbox: this kernel has no Landlock; --sandbox=auto does without it");
    return 0;
}

/* What hashing, comparing and talking over held descriptors needs. No call here makes a descriptor
 * from a name. */
static const int allowed_calls[] = {
    SCMP_SYS(read),
    SCMP_SYS(write),
    SCMP_SYS(pread64),
    SCMP_SYS(pwrite64),
    SCMP_SYS(readv),
    SCMP_SYS(writev),
    SCMP_SYS(preadv),
    SCMP_SYS(preadv2),
    SCMP_SYS(pwritev),
    SCMP_SYS(lseek),
    SCMP_SYS(close),
    SCMP_SYS(fstat),
    SCMP_SYS(newfstatat),
    SCMP_SYS(ftruncate),
    SCMP_SYS(fsync),
    SCMP_SYS(fdatasync),
    SCMP_SYS(fadvise64),
    SCMP_SYS(munmap),
    SCMP_SYS(mremap),
    SCMP_SYS(madvise),
    SCMP_SYS(brk),
    SCMP_SYS(mincore),
    SCMP_SYS(futex),
    SCMP_SYS(sched_yield),
    SCMP_SYS(exit),
    SCMP_SYS(exit_group),
    SCMP_SYS(rt_sigreturn),
    SCMP_SYS(rt_sigprocmask),
    SCMP_SYS(rt_sigaction),
    SCMP_SYS(sigaltstack),
    SCMP_SYS(getpid),
    SCMP_SYS(gettid),
    SCMP_SYS(getrandom),
    SCMP_SYS(clock_gettime),
    SCMP_SYS(clock_nanosleep),
    SCMP_SYS(gettimeofday),
    SCMP_SYS(getrusage),
    SCMP_SYS(restart_syscall),
    SCMP_SYS(rseq),
    SCMP_SYS(set_robust_list),
    SCMP_SYS(sched_getaffinity),
    SCMP_SYS(sendmsg),
    SCMP_SYS(recvmsg),
    SCMP_SYS(sendto),
    SCMP_SYS(recvfrom),
    SCMP_SYS(shutdown),
    SCMP_SYS(getsockopt),
    SCMP_SYS(setsockopt),
    SCMP_SYS(poll),
    SCMP_SYS(ppoll),
};

/* Nothing that only wants to work here does these: whoever tries is an intruder. */
static const int deadly_calls[] = {
    SCMP_SYS(execve), SCMP_SYS(execveat),         SCMP_SYS(ptrace),
    SCMP_SYS(socket), SCMP_SYS(process_vm_readv), SCMP_SYS(process_vm_writev),
};

/* Of fcntl(2) only the flags: F_SETOWN and F_SETSIG would send signals to other processes, F_SETLK
 * and F_SETLEASE would keep others from the images. */
static int add_fcntl(scmp_filter_ctx filter)
{
    static const unsigned commands[] = {F_GETFD, F_SETFD, F_GETFL, F_SETFL};
    int rc = 0;

    for (size_t i = 0; i < sizeof commands / sizeof commands[0] && rc == 0; i++)
        rc = seccomp_rule_add(filter, SCMP_ACT_ALLOW, SCMP_SYS(fcntl), 1,
                              SCMP_A1(SCMP_CMP_EQ, commands[i]));
    return rc;
}

static int add_rules(scmp_filter_ctx filter)
{
    int rc = add_fcntl(filter);

    /* raise() and abort(): signals to nobody else */
    if (rc == 0)
        rc = seccomp_rule_add(filter, SCMP_ACT_ALLOW, SCMP_SYS(tgkill), 1,
                              SCMP_A0(SCMP_CMP_EQ, (scmp_datum_t)getpid()));

    for (size_t i = 0; i < sizeof allowed_calls / sizeof allowed_calls[0] && rc == 0; i++)
        rc = seccomp_rule_add(filter, SCMP_ACT_ALLOW, allowed_calls[i], 0);
    for (size_t i = 0; i < sizeof deadly_calls / sizeof deadly_calls[0] && rc == 0; i++)
        rc = seccomp_rule_add(filter, SCMP_ACT_KILL_PROCESS, deadly_calls[i], 0);
    if (rc == 0)
        rc = seccomp_rule_add(filter, SCMP_ACT_ALLOW, NR_CACHESTAT, 0);
    /* memory yes, code no */
    if (rc == 0)
        rc = seccomp_rule_add(filter, SCMP_ACT_ALLOW, SCMP_SYS(mmap), 1,
                              SCMP_A2(SCMP_CMP_MASKED_EQ, PROT_EXEC, 0));
    if (rc == 0)
        rc = seccomp_rule_add(filter, SCMP_ACT_ALLOW, SCMP_SYS(mprotect), 1,
                              SCMP_A2(SCMP_CMP_MASKED_EQ, PROT_EXEC, 0));
    return rc;
}

int seal_after_threads(enum sandbox_mode mode, struct error *e)
{
    scmp_filter_ctx filter;
    int rc;

    if (mode == SANDBOX_OFF)
        return 0;
    filter = seccomp_init(SCMP_ACT_ERRNO(ENOSYS));
    if (filter == NULL)
        return err_memory(e, "the system call filter");
    rc = seccomp_attr_set(filter, SCMP_FLTATR_CTL_TSYNC, 1);
    if (rc == 0)
        rc = add_rules(filter);
    if (rc == 0)
        rc = seccomp_load(filter);
    seccomp_release(filter);
    if (rc != 0) {
        return err_set(
            e, ERR_UNSUPPORTED,
            "sandbox: seccomp: %s; --sandbox=off works without it, but then a hostile image "
            "meets no wall",
            strerrordesc_np(-rc));
    }
    return 0;
}

static void *nothing(void *arg)
{
    return arg;
}

static long try_it(const char *what)
{
    char *const argv[] = {(char *)"true", NULL};
    char params[256] = {};
    pthread_t thread;
    int rc;

    if (strcmp(what, "open") == 0)
        return open("/etc/passwd", O_RDONLY | O_CLOEXEC);
    if (strcmp(what, "create") == 0)
        return open("/tmp/stemma-probe", O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
    if (strcmp(what, "socket") == 0)
        return socket(AF_INET, SOCK_STREAM, 0);
    if (strcmp(what, "exec") == 0)
        return execve("/bin/true", argv, argv + 1);
    if (strcmp(what, "uring") == 0)
        return syscall(SYS_io_uring_setup, 8, params);
    if (strcmp(what, "thread") == 0) {
        rc = pthread_create(&thread, NULL, nothing, NULL);
        errno = rc;
        return rc == 0 ? 0 : -1;
    }
    if (strcmp(what, "signal") == 0)
        return syscall(SYS_tgkill, 1, 1, 0);
    if (strcmp(what, "owner") == 0)
        return fcntl(STDERR_FILENO, F_SETOWN, 1);
    errno = EINVAL;
    return -1;
}

int seal_probe(const char *what, char out[128], struct error *e)
{
    if (try_it(what) >= 0)
        return err_set(e, ERR_INTERNAL, "sandbox: %s worked in the sealed worker", what);
    if (errno == EINVAL)
        return err_set(e, ERR_USAGE, "no probe is called %s", what);
    snprintf(out, 128, "sandbox: %s refused: %s", what, strerrordesc_np(errno));
    return 0;
}
