/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "app/landlock.h"

#include "base/auto.h"

#include <fcntl.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

/* Not in the headers of every system that we build on; the same on all architectures. */
#define NR_CREATE_RULESET 444
#define NR_ADD_RULE 445
#define NR_RESTRICT_SELF 446
#define VERSION_FLAG 1u
#define RULE_PATH_BENEATH 1

#define RIGHT_EXECUTE (UINT64_C(1) << 0)
#define RIGHT_READ_FILE (UINT64_C(1) << 2)
#define RIGHT_READ_DIR (UINT64_C(1) << 3)

/* struct landlock_ruleset_attr of Linux 6.12 (ABI 6); older kernels take its beginning. */
struct ruleset {
    uint64_t files, network, scoped;
};

struct __attribute__((packed)) path_beneath {
    uint64_t allowed;
    int32_t parent;
};

int landlock_abi(void)
{
    long abi = syscall(NR_CREATE_RULESET, NULL, 0, VERSION_FLAG);

    return abi < 0 ? 0 : (int)abi;
}

int landlock_rules(struct error *e)
{
    int abi = landlock_abi();
    struct ruleset rules = {.files = (UINT64_C(1) << 13) - 1};
    size_t size = abi >= 6 ? sizeof rules : abi >= 4 ? 16 : 8;
    int fd;

    if (abi >= 2)
        rules.files |= UINT64_C(1) << 13; /* rename and link across folders */
    if (abi >= 3)
        rules.files |= UINT64_C(1) << 14; /* truncate by path */
    if (abi >= 5)
        rules.files |= UINT64_C(1) << 15; /* ioctl on devices */
    if (abi >= 4)
        rules.network = 3; /* bind and connect */
    if (abi >= 6)
        rules.scoped = 3; /* abstract sockets and signals of others */
    fd = (int)syscall(NR_CREATE_RULESET, &rules, size, 0);
    return fd < 0 ? err_sys(e, "Landlock") : fd;
}

static int allow(int rules, int fd, uint64_t rights, struct error *e)
{
    struct path_beneath rule = {.allowed = rights, .parent = fd};

    return syscall(NR_ADD_RULE, rules, RULE_PATH_BENEATH, &rule, 0) != 0 ? err_sys(e, "Landlock")
                                                                         : 0;
}

int landlock_allow_read(int rules, int fd, struct error *e)
{
    return allow(rules, fd, RIGHT_READ_FILE, e);
}

void landlock_allow_system(int rules, const char *path)
{
    AUTO_FD int fd = open(path, O_PATH | O_CLOEXEC);
    uint64_t rights = RIGHT_EXECUTE | RIGHT_READ_FILE;
    struct error ignored;
    struct stat st;

    if (fd < 0 || fstat(fd, &st) != 0)
        return; /* not there: nothing to grant */
    if (S_ISDIR(st.st_mode))
        rights |= RIGHT_READ_DIR;
    if (allow(rules, fd, rights, &ignored) != 0)
        return; /* whoever needs it will say so */
}

int landlock_enforce(int rules, struct error *e)
{
    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0 || syscall(NR_RESTRICT_SELF, rules, 0) != 0)
        return err_sys(e, "Landlock");
    return 0;
}
