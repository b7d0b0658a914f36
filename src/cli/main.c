/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "app/worker.h"
#include "base/log.h"
#include "cli/command.h"
#include "cli/help.h"

#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

/* A file that is opened must not get the number of a standard stream that was closed: messages
 * would be written into it. */
static bool fill_standard_streams(void)
{
    int fd;

    do {
        fd = open("/dev/null", O_RDWR);
    } while (fd >= 0 && fd <= STDERR_FILENO);
    return fd >= 0 && close(fd) == 0;
}

int main(int argc, char **argv)
{
    const struct command *c;

    if (argc > 1 && strcmp(argv[1], "--worker") == 0)
        return worker_main(argc, argv);
    if (!fill_standard_streams())
        return 3;
    log_init();
    if (argc < 2) {
        help_overview();
        return 2;
    }
    if (strcmp(argv[1], "--version") == 0 || strcmp(argv[1], "-V") == 0)
        return help_version();
    if (strcmp(argv[1], "--help") == 0 || strcmp(argv[1], "-h") == 0)
        return help_overview();
    c = command_find(argv[1]);
    if (c == NULL) {
        fprintf(stderr, "stemma: there is no command %s; 'stemma help' lists them\n", argv[1]);
        return 2;
    }
    return command_run(c, argc - 1, argv + 1);
}
