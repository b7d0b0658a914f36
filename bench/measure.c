/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Runs a command and tells what it and all processes it started used, orphans included: this
 * process is their reaper, and waits until the last of them ended. A small C program, because the
 * peak memory of what a large process starts begins at that process's own. usage: bench-measure
 * FILE COMMAND [ARG]...   writes JSON to FILE; exits with COMMAND's status */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

struct used {
    double user, system;
    long peak_kib; /* of the process that needed most */
    uint64_t read_bytes, write_bytes, rchar;
};

static double seconds(struct timeval t)
{
    return (double)t.tv_sec + (double)t.tv_usec * 1e-6;
}

static double wall_now(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

/* The kernel adds what a process's reaped children did to the process's own figures, and keeps them
 * until it is reaped itself. */
static void add_io(pid_t pid, struct used *u)
{
    char path[64], line[128];
    uint64_t n;
    FILE *f;

    snprintf(path, sizeof path, "/proc/%d/io", (int)pid);
    f = fopen(path, "re");
    while (f != NULL && fgets(line, sizeof line, f) != NULL) {
        if (sscanf(line, "rchar: %" SCNu64, &n) == 1)
            u->rchar += n;
        else if (sscanf(line, "read_bytes: %" SCNu64, &n) == 1)
            u->read_bytes += n;
        else if (sscanf(line, "write_bytes: %" SCNu64, &n) == 1)
            u->write_bytes += n;
    }
    if (f != NULL)
        fclose(f);
}

/* Until no descendant is left. Returns the wait status of `first`. */
static int reap_all(pid_t first, struct used *u)
{
    int status, result = 0;
    struct rusage usage;
    siginfo_t info;

    while (waitid(P_ALL, 0, &info, WEXITED | WNOWAIT) == 0) {
        add_io(info.si_pid, u);
        if (wait4(info.si_pid, &status, 0, &usage) < 0)
            continue;
        u->user += seconds(usage.ru_utime);
        u->system += seconds(usage.ru_stime);
        if (usage.ru_maxrss > u->peak_kib)
            u->peak_kib = usage.ru_maxrss;
        if (info.si_pid == first)
            result = status;
    }
    return result;
}

int main(int argc, char **argv)
{
    struct used u = {};
    double start, wall;
    int status;
    FILE *out;
    pid_t pid;

    if (argc < 3)
        return 2;
    prctl(PR_SET_CHILD_SUBREAPER, 1);
    start = wall_now();
    pid = fork();
    if (pid < 0)
        return 3;
    if (pid == 0) {
        execvp(argv[2], argv + 2);
        _exit(127);
    }
    status = reap_all(pid, &u);
    wall = wall_now() - start;
    out = fopen(argv[1], "we");
    if (out == NULL)
        return 3;
    fprintf(out,
            "{\"wall_s\":%.6f,\"user_s\":%.6f,\"system_s\":%.6f,\"cpu_s\":%.6f,\"peak_kib\":%ld,"
            "\"read_bytes\":%" PRIu64 ",\"write_bytes\":%" PRIu64 ",\"rchar\":%" PRIu64 "}\n",
            wall, u.user, u.system, u.user + u.system, u.peak_kib, u.read_bytes, u.write_bytes,
            u.rchar);
    if (fclose(out) != 0)
        return 3;
    return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}
