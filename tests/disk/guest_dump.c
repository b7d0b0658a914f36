/* SPDX-License-Identifier: GPL-2.0-or-later */
/* guest-dump FILE: what the layer makes of a libvirt definition, in a process that dies when it
 * opens a file, asks for entropy or starts a thread. For guest_oracle.py. */
#include "base/io.h"
#include "disk/guest_config.h"

#include <fcntl.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

static char space[1 << 21];

#define DIE_AT(call)                                                                               \
    BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, (call), 0, 1),                                             \
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_KILL_PROCESS)

static int seal(void)
{
    struct sock_filter code[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, 0 /* the call's number */),
        DIE_AT(SYS_openat),
        DIE_AT(SYS_getrandom),
        DIE_AT(SYS_socket),
        DIE_AT(SYS_clone),
        DIE_AT(SYS_clone3),
        DIE_AT(SYS_execve),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
    };
    struct sock_fprog program = {sizeof code / sizeof *code, code};

    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0)
        return -1;
    return prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program);
}

static void put(const char *text)
{
    fputs(text == NULL ? " -" : " =", stdout);
    for (; text != NULL && *text != 0; text++)
        printf("%02x", (unsigned)(unsigned char)*text);
}

static void put_guest(const struct guest *g)
{
    printf("guest %d", g->running);
    put(g->name);
    put(g->uuid);
    for (size_t i = 0; i < g->n_disks; i++) {
        const struct guest_disk *d = &g->disks[i];

        printf("\ndisk %d %d %d", d->device, d->read_only, d->why_not == NULL);
        put(d->target);
        put(d->source);
        put(d->format);
        for (size_t k = 0; d->backing != NULL && d->backing[k] != NULL; k++)
            put(d->backing[k]);
    }
    printf("\n");
}

int main(int argc, char **argv)
{
    struct guest_list list = {};
    struct error e = {};
    int64_t n;
    void *volatile warm;
    int fd;

    if (argc != 2 || (fd = open(argv[1], O_RDONLY | O_CLOEXEC)) < 0)
        return 2;
    warm = malloc(1); /* the allocator asks for entropy once, in any program */
    free(warm);
    n = io_pread(fd, space, sizeof space, 0);
    if (n < 0 || seal() != 0)
        return 2;
    if (guest_config_parse_libvirt(space, (size_t)n, &list, &e) != 0) {
        printf("error %s\n", e.msg);
        return 3;
    }
    for (size_t i = 0; i < list.n; i++)
        put_guest(&list.guests[i]);
    guest_list_release(&list);
    fflush(stdout);
    _exit(0); /* a leak checker would start a thread now */
}
