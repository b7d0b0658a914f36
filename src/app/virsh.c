/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "app/virsh.h"

#include "base/auto.h"
#include "base/io.h"

#include <errno.h>
#include <fcntl.h>
#include <spawn.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#define OUTPUT_MAX (16u << 20) /* bytes of names; a definition has a limit of its own */

extern char **environ;

/* What a file holds, as one line of text. */
static void one_line(int fd, char *out, size_t size)
{
    int64_t length = io_pread(fd, out, size - 1, 0);

    out[length < 0 ? 0 : length] = 0;
    out[strcspn(out, "\n")] = 0;
}

static int spawn(char *const argv[], int out, int errors, pid_t *pid)
{
    posix_spawn_file_actions_t actions;
    int rc = posix_spawn_file_actions_init(&actions);

    if (rc == 0)
        rc = posix_spawn_file_actions_addopen(&actions, STDIN_FILENO, "/dev/null", O_RDONLY, 0);
    if (rc == 0)
        rc = posix_spawn_file_actions_adddup2(&actions, out, STDOUT_FILENO);
    if (rc == 0)
        rc = posix_spawn_file_actions_adddup2(&actions, errors, STDERR_FILENO);
    if (rc == 0)
        rc = posix_spawnp(pid, argv[0], &actions, NULL, argv, environ);
    posix_spawn_file_actions_destroy(&actions);
    return rc;
}

/* Runs virsh; *fd gets what it printed. */
static int run(char *const argv[], int *fd, struct error *e)
{
    AUTO_FD int out = memfd_create("virsh", MFD_CLOEXEC);
    AUTO_FD int errors = memfd_create("virsh-errors", MFD_CLOEXEC);
    char words[300];
    int status = 0, rc;
    pid_t pid;

    if (out < 0 || errors < 0)
        return err_sys(e, "virsh");
    rc = spawn(argv, out, errors, &pid);
    if (rc != 0) {
        errno = rc;
        return err_sys(e, "virsh (package libvirt-clients)");
    }
    while (waitpid(pid, &status, 0) < 0 && errno == EINTR)
        ;
    if (!WIFEXITED(status) || WEXITSTATUS(status) != 0) {
        one_line(errors, words, sizeof words);
        return err_set(e, ERR_PEER, "virsh: %s", words[0] != 0 ? words : "it failed");
    }
    *fd = take_fd(&out);
    return 0;
}

int virsh_list(struct buf *names, struct error *e)
{
    char *const argv[] = {(char *)"virsh", (char *)"--readonly", (char *)"list",
                          (char *)"--all", (char *)"--name",     NULL};
    AUTO_FD int fd = -1;
    struct stat st;
    uint8_t *bytes;
    size_t start = 0;

    if (run(argv, &fd, e) != 0)
        return -1;
    if (fstat(fd, &st) != 0)
        return err_sys(e, "virsh");
    if (st.st_size > OUTPUT_MAX)
        return err_set(e, ERR_LIMIT, "virsh lists too many guests");
    AUTO_BUF text = {};
    bytes = buf_extend(&text, (size_t)st.st_size);
    if (buf_check(&text, "the list of guests", e) != 0 ||
        io_pread_exact(fd, bytes, (size_t)st.st_size, 0, e) != 0)
        return -1;
    for (size_t i = 0; i < text.length; i++) { /* a line each, empty ones between */
        if (bytes[i] != '\n')
            continue;
        if (i > start) {
            buf_put(names, bytes + start, i - start);
            buf_put_u8(names, 0);
        }
        start = i + 1;
    }
    return buf_check(names, "the list of guests", e);
}

int virsh_definition(const char *guest, int *fd, struct error *e)
{
    char *const argv[] = {(char *)"virsh",    (char *)"--readonly", (char *)"dumpxml",
                          (char *)"--domain", (char *)guest,        NULL};

    if (run(argv, fd, e) != 0)
        return err_wrap(e, "guest %s", guest);
    return 0;
}
