/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "app/captive.h"

#include "app/landlock.h"
#include "base/buf.h"
#include "base/mem.h"
#include "disk/foreign.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#define START_TIMEOUT_MS 30000
#define TICK_MS 100
#define NR_CLOSE_RANGE 436 /* on all architectures; not in all headers */
#define LISTEN_FD 3        /* systemd's socket activation starts here */

struct captive {
    pid_t pid;
    int errors; /* what it says on standard error; -1 */
};

/* A listening socket in the abstract name space, whose name the kernel chooses. */
static int listen_somewhere(struct sockaddr_un *address, socklen_t *length, struct error *e)
{
    AUTO_FD int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

    *address = (struct sockaddr_un){.sun_family = AF_UNIX};
    *length = sizeof *address;
    if (fd < 0 || bind(fd, (struct sockaddr *)address, sizeof(sa_family_t)) != 0 ||
        getsockname(fd, (struct sockaddr *)address, length) != 0 || listen(fd, 1) != 0)
        return err_sys(e, "qemu-nbd: socket");
    return take_fd(&fd);
}

/* The format comes from the worker: it is only looked up. NULL: there is none. */
static const char *known_format(const char *format)
{
    for (size_t i = 0; foreign_formats[i] != NULL; i++) {
        if (strcmp(foreign_formats[i], format) == 0)
            return foreign_formats[i];
    }
    return NULL;
}

/* An O_PATH descriptor of the file; ERR_CHANGED when the name is another's now. */
static int hold(const struct captive_file *file, struct error *e)
{
    AUTO_FD int fd = open(file->path, O_PATH | O_NOFOLLOW | O_CLOEXEC);
    struct file_identity now = {};
    struct stat st;

    if (fd < 0 || fstat(fd, &st) != 0)
        return err_sys(e, "%s", file->path);
    now.device = S_ISBLK(st.st_mode) ? st.st_rdev : st.st_dev;
    now.inode = S_ISBLK(st.st_mode) ? 0 : st.st_ino;
    if (!file_identity_same(&now, &file->identity))
        return err_set(e, ERR_CHANGED, "%s: another file has taken its name", file->path);
    return take_fd(&fd);
}

static bool reads_direct(int held)
{
    char link[32];
    AUTO_FD int fd = -1;

    snprintf(link, sizeof link, "/proc/self/fd/%d", held);
    fd = open(link, O_RDONLY | O_DIRECT | O_CLOEXEC);
    return fd >= 0;
}

/* driver=F,...,file.filename=PATH with the commas of the path doubled. No lock is taken or asked
 * for. */
static char *image_options(const struct captive_file *file, const char *format, struct error *e)
{
    AUTO_FD int held = hold(file, e);
    const char *path = file->path;
    const char *direct;
    struct buf b = {};

    if (held < 0)
        return NULL;
    direct = reads_direct(held) ? "on" : "off";
    buf_printf(&b,
               "driver=%s,force-share=on,read-only=on,cache.direct=%s,file.driver=file,"
               "file.locking=off,file.cache.direct=%s,file.filename=",
               format, direct, direct);
    for (; *path != 0; path++) {
        if (*path == ',')
            buf_put_u8(&b, ',');
        buf_put_u8(&b, (uint8_t)*path);
    }
    buf_put_u8(&b, 0);
    if (buf_check(&b, "qemu-nbd's options", e) != 0) {
        buf_release(&b);
        return NULL;
    }
    return (char *)b.bytes;
}

/* qemu-nbd itself, where it is installed elsewhere than the system's programs. */
static void allow_program(int rules, const char *name)
{
    const char *at = getenv("PATH");
    char path[PATH_MAX];

    while (at != NULL && *at != 0) {
        size_t length = strcspn(at, ":");

        if (snprintf(path, sizeof path, "%.*s/%s", (int)length, at, name) < (int)sizeof path &&
            access(path, X_OK) == 0) {
            landlock_allow_system(rules, path);
            return;
        }
        at += length + (at[length] == ':');
    }
}

/* What qemu-nbd may see: the system's programs and libraries, and the image's own files. */
static int wall_in(const struct captive_file *files, size_t n, struct error *e)
{
    static const char *const system_folders[] = {"/usr",
                                                 "/lib",
                                                 "/lib64",
                                                 "/bin",
                                                 "/nix/store",
                                                 "/gnu/store",
                                                 "/etc/ld.so.cache",
                                                 "/etc/ld.so.preload",
                                                 "/etc/alternatives",
                                                 "/dev/null",
                                                 "/dev/urandom",
                                                 "/dev/zero",
                                                 NULL};
    AUTO_FD int rules = landlock_rules(e);

    if (rules < 0)
        return landlock_abi() == 0 ? 0 : -1;
    for (size_t i = 0; system_folders[i] != NULL; i++)
        landlock_allow_system(rules, system_folders[i]);
    allow_program(rules, "qemu-nbd");
    for (size_t i = 0; i < n; i++) {
        AUTO_FD int held = hold(&files[i], e);

        if (held < 0 || landlock_allow_read(rules, held, e) != 0)
            return -1;
    }
    return landlock_enforce(rules, e);
}

/* In the child: never returns. */
static void become_qemu_nbd(int listening, int errors, pid_t parent, char *options,
                            const struct captive_file *files, size_t n)
{
    char pid[24];
    char *argv[] = {(char *)"qemu-nbd",
                    (char *)"--read-only",
                    (char *)"--shared=1",
                    (char *)"--image-opts",
                    options,
                    NULL};
    struct rlimit none = {0, 0};
    struct error e;
    int nothing = open("/dev/null", O_RDWR);

    prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (getppid() != parent) /* it ended before that */
        _exit(126);
    setrlimit(RLIMIT_CORE, &none);
    dup2(nothing, STDIN_FILENO);
    dup2(nothing, STDOUT_FILENO);
    dup2(errors, STDERR_FILENO);
    if (listening == LISTEN_FD)
        fcntl(listening, F_SETFD, 0);
    else
        dup2(listening, LISTEN_FD);
    (void)syscall(NR_CLOSE_RANGE, LISTEN_FD + 1, ~0u, 0); /* what is not ours may be open */
    snprintf(pid, sizeof pid, "%d", (int)getpid());
    setenv("LISTEN_PID", pid, 1);
    setenv("LISTEN_FDS", "1", 1);
    setenv("LC_ALL", "C", 1);
    if (wall_in(files, n, &e) != 0) {
        dprintf(STDERR_FILENO, "%s\n", e.msg);
        _exit(126);
    }
    execvp(argv[0], argv);
    dprintf(STDERR_FILENO, "%s\n", errno == ENOENT ? "not installed" : strerrordesc_np(errno));
    _exit(127);
}

/* Its last words, in one line. */
static void last_words(struct captive *c, char *out, size_t size)
{
    ssize_t length = read(c->errors, out, size - 1);

    if (length < 0)
        length = 0;
    out[length] = 0;
    for (char *at = out; *at != 0; at++) {
        if (*at == '\n')
            *at = at[1] == 0 ? 0 : ' ';
    }
}

/* Until it speaks or ends. */
static int wait_word(struct captive *c, int socket, const struct cancel *cancel, struct error *e)
{
    struct pollfd p[2] = {{.fd = socket, .events = POLLIN}, {.fd = c->errors}};

    for (int waited = 0; waited < START_TIMEOUT_MS; waited += TICK_MS) {
        if (cancel_requested(cancel))
            return err_set(e, ERR_CANCELLED, "interrupted");
        if (poll(p, 2, TICK_MS) > 0)
            return 0;
    }
    return err_set(e, ERR_PEER, "qemu-nbd does not answer");
}

/* Waits until it greets, or ends. */
static int wait_greeting(struct captive *c, int socket, const struct cancel *cancel,
                         struct error *e)
{
    char words[300];
    char byte;
    int status = 0;

    if (wait_word(c, socket, cancel, e) != 0)
        return -1;
    if (recv(socket, &byte, 1, MSG_PEEK | MSG_DONTWAIT) == 1)
        return 0;
    kill(c->pid, SIGKILL);
    last_words(c, words, sizeof words);
    waitpid(c->pid, &status, 0);
    c->pid = 0;
    if (WIFEXITED(status) && WEXITSTATUS(status) == 127)
        return err_set(e, ERR_NOT_FOUND,
                       "this format is read through qemu-nbd (package qemu-utils): %s", words);
    return err_set(e, ERR_PEER, "qemu-nbd cannot open it: %s",
                   words[0] != 0 ? words : "it ended without a word");
}

static int start(struct captive *c, const struct captive_file *files, size_t n, const char *format,
                 const struct cancel *cancel, int *socket_out, struct error *e)
{
    struct sockaddr_un address;
    socklen_t length;
    int errors[2] = {-1, -1};
    pid_t parent = getpid();
    AUTO_FREE char *options = image_options(&files[0], format, e);
    AUTO_FD int listening = -1;
    AUTO_FD int connected = -1;

    if (options == NULL)
        return -1;
    listening = listen_somewhere(&address, &length, e);
    if (listening < 0)
        return -1;
    connected = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (connected < 0 || connect(connected, (struct sockaddr *)&address, length) != 0 ||
        pipe2(errors, O_CLOEXEC | O_NONBLOCK) != 0)
        return err_sys(e, "qemu-nbd: socket");
    c->errors = errors[0];
    c->pid = fork(); /* the front has one thread */
    if (c->pid == 0)
        become_qemu_nbd(listening, errors[1], parent, options, files, n);
    close(errors[1]);
    if (c->pid < 0) {
        c->pid = 0;
        return err_sys(e, "qemu-nbd: fork");
    }
    close(take_fd(&listening)); /* when it dies, the connection ends */
    if (wait_greeting(c, connected, cancel, e) != 0)
        return -1;
    *socket_out = take_fd(&connected);
    return 0;
}

struct captive *captive_start(const struct captive_file *files, size_t n, const char *format,
                              const struct cancel *cancel, int *socket, struct error *e)
{
    const char *known = known_format(format);
    struct captive *c = NULL;

    if (known == NULL || n == 0)
        err_set(e, ERR_PEER, "the worker asks for a format that qemu-nbd is not wanted for");
    else
        c = mem_array(1, sizeof *c, "qemu-nbd", e);
    if (c == NULL)
        return NULL;
    c->errors = -1;
    if (start(c, files, n, known, cancel, socket, e) != 0) {
        captive_stop(c);
        return NULL;
    }
    return c;
}

bool captive_ended(struct captive *c)
{
    if (c->pid > 0 && waitpid(c->pid, NULL, WNOHANG) == c->pid)
        c->pid = 0;
    return c->pid == 0;
}

void captive_stop(struct captive *c)
{
    if (c == NULL)
        return;
    if (c->pid > 0) {
        kill(c->pid, SIGKILL);
        while (waitpid(c->pid, NULL, 0) < 0 && errno == EINTR)
            ;
    }
    if (c->errors >= 0)
        close(c->errors);
    free(c);
}
