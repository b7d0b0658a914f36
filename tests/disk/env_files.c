/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "env_files.h"

#include "base/io.h"
#include "base/mem.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>

static const struct disk_driver *const all_drivers[] = {
    &disk_driver_qcow2,
    &disk_driver_qemu,
    &disk_driver_raw,
    NULL,
};

static int open_named(void *arg, const struct host_file *from, const char *name,
                      enum file_reason reason, struct host_file **out, struct error *e)
{
    const char *slash = strrchr(from->name, '/');
    AUTO_FREE char *path = NULL;

    (void)arg;
    (void)reason;
    if (name[0] == '/' || slash == NULL)
        path = mem_string(name, e);
    else
        path = mem_printf(e, "%.*s/%s", (int)(slash - from->name), from->name, name);
    if (path == NULL)
        return -1;
    *out = host_file_open(path, e);
    return *out != NULL ? 0 : -1;
}

/* A listening socket without a name in the file system, and one connected to it. */
static int socket_pair(int *listener, int *connected)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    socklen_t length = sizeof(sa_family_t);
    AUTO_FD int l = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    AUTO_FD int c = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

    /* Nothing but the family: the kernel makes up an abstract name. */
    if (l < 0 || c < 0 || bind(l, (struct sockaddr *)&address, length) != 0 || listen(l, 4) != 0)
        return -1;
    length = sizeof address;
    if (getsockname(l, (struct sockaddr *)&address, &length) != 0 ||
        connect(c, (struct sockaddr *)&address, length) != 0)
        return -1;
    *listener = take_fd(&l);
    *connected = take_fd(&c);
    return 0;
}

/* Option values of QEMU have their commas doubled. */
static void double_commas(char *out, size_t size, const char *text)
{
    size_t n = 0;

    for (; *text != 0 && n + 3 < size; text++) {
        out[n++] = *text;
        if (*text == ',')
            out[n++] = ',';
    }
    out[n] = 0;
}

static void __attribute__((noreturn))
become_server(const char *path, const char *format, int listener)
{
    char name[4096], options[5000], pid[32];

    prctl(PR_SET_PDEATHSIG, SIGKILL);
    double_commas(name, sizeof name, path);
    snprintf(options, sizeof options,
             "driver=%s,file.driver=file,file.filename=%s,file.locking=off", format, name);
    snprintf(pid, sizeof pid, "%d", (int)getpid());
    if (dup2(listener, 3) < 0) /* no close-on-exec on the copy */
        _exit(126);
    setenv("LISTEN_PID", pid, 1);
    setenv("LISTEN_FDS", "1", 1);
    execlp("qemu-nbd", "qemu-nbd", "--read-only", "--image-opts", options, (char *)NULL);
    _exit(127);
}

static int serve(void *arg, const struct host_file *file, const char *format,
                 struct host_file *const *parts, size_t n, int *out, struct error *e)
{
    struct test_env *t = arg;
    AUTO_FD int listener = -1;
    AUTO_FD int connected = -1;
    pid_t pid;

    (void)parts;
    (void)n;
    if (t->n_servers == TEST_SERVERS)
        return err_set(e, ERR_LIMIT, "more than %d servers in one test", TEST_SERVERS);
    if (socket_pair(&listener, &connected) != 0)
        return err_sys(e, "socket");
    pid = fork();
    if (pid < 0)
        return err_sys(e, "fork");
    if (pid == 0)
        become_server(file->name, format, listener);
    t->servers[t->n_servers++] = pid;
    *out = take_fd(&connected);
    return 0;
}

static void keep_problem(void *arg, const struct problem *problem)
{
    struct test_env *t = arg;

    t->n_problems++;
    snprintf(t->last_problem, sizeof t->last_problem, "%s: %s", problem->object, problem->text);
}

int test_env_init(struct test_env *t, struct error *e)
{
    *t = (struct test_env){.limits = disk_limits_default};
    t->env = (struct disk_env){
        .drivers = all_drivers,
        .open_file = open_named,
        .serve = serve,
        .problems = {keep_problem, t},
        .limits = &t->limits,
        .registry = disk_registry_new(e),
        .arg = t,
    };
    return t->env.registry != NULL ? 0 : -1;
}

void test_env_release(struct test_env *t)
{
    for (size_t i = 0; i < t->n_servers; i++) {
        kill(t->servers[i], SIGKILL);
        waitpid(t->servers[i], NULL, 0);
    }
    disk_registry_free(t->env.registry);
    *t = (struct test_env){};
}

int test_env_open(struct test_env *t, const char *path, const char *format, const char *snapshot,
                  struct disk **out, struct error *e)
{
    struct disk_options options = {format, snapshot};
    AUTO(host_file) *f = host_file_open(path, e);

    return f != NULL ? disk_open(&t->env, f, &options, out, e) : -1;
}

struct host_file *test_memory_file(const char *name, const void *bytes, size_t length,
                                   struct error *e)
{
    AUTO_FD int fd = memfd_create("test", MFD_CLOEXEC);
    struct file_identity identity;
    AUTO_FREE char *copy = mem_string(name, e);

    if (fd < 0) {
        err_sys(e, "memfd");
        return NULL;
    }
    if (copy == NULL || io_pwrite(fd, bytes, length, 0, e) != 0 ||
        file_identity_get(fd, &identity, e) != 0)
        return NULL;
    return host_file_new(take(copy), take_fd(&fd), -1, &identity, e);
}

char *test_folder_new(void)
{
    const char *parent = getenv("TMPDIR");
    char *folder = test_path(parent != NULL ? parent : "/var/tmp", "stemma-test-XXXXXX");

    if (mkdtemp(folder) == NULL) {
        perror(folder);
        exit(1);
    }
    return folder;
}

void test_folder_remove(char *folder)
{
    if (folder != NULL)
        (void)!test_run("rm -rf -- '%s'", folder);
    free(folder);
}

char *test_path(const char *folder, const char *name)
{
    char *path;

    if (asprintf(&path, "%s/%s", folder, name) < 0)
        abort();
    return path;
}

int test_run(const char *format, ...)
{
    char *command;
    va_list args;
    int status;

    va_start(args, format);
    if (vasprintf(&command, format, args) < 0)
        abort();
    va_end(args);
    status = system(command);
    free(command);
    return status == 0 ? 0 : -1;
}

bool test_have(const char *program)
{
    return test_run("command -v %s >/dev/null 2>&1", program) == 0;
}
