/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Commands and options are tables: one file a command, one row in commands[]. The rows feed the
 * parser, --help, shell completion and the test that compares them with the man pages. */
#ifndef STEMMA_CLI_COMMAND_H
#define STEMMA_CLI_COMMAND_H

#include "base/error.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum option_type {
    OPTION_END = 0, /* ends a table */
    OPTION_FLAG,    /* bool */
    OPTION_STRING,  /* const char *, borrowed from argv */
    OPTION_LIST,    /* struct strings: every occurrence adds one */
    OPTION_CHOICE,  /* unsigned: which of the words in `argument`, separated by | */
    OPTION_NUMBER,  /* uint64_t; K, M, G, T are multiples of 1024 */
    OPTION_PERCENT, /* double, 0 to 100 */
};

struct option_row {
    enum option_type type;
    const char *name;     /* without -- */
    char letter;          /* short form, or 0 */
    const char *argument; /* what stands after =, as help shows it; NULL for flags */
    const char *summary;
    size_t offset; /* of the value in the command's options */
};

struct strings {
    const char **items;
    size_t n, capacity;
};
[[nodiscard]] int strings_add(struct strings *s, const char *text, struct error *e);

struct command {
    const char *name;
    const char *arguments;            /* "IMAGE|DIR|FILE.sig..." */
    const char *summary;              /* one line */
    const char *about;                /* a paragraph or two for help */
    const struct option_row *options; /* ended by OPTION_END */
    bool common; /* the options of common.h as well (they stand first in its struct) */
    size_t options_size;
    void (*defaults)(void *options);
    size_t min_arguments, max_arguments;
    int (*run)(void *options, const struct strings *arguments); /* the exit status */
};

extern const struct command command_tree, command_rebase, command_sign, command_compare,
    command_cache, command_help;
/* All of them, in the order of help; NULL-terminated. */
extern const struct command *const commands[];

const struct command *command_find(const char *name);

/* Reads argv[1..argc) of a command. ERR_USAGE says what is wrong and what was perhaps meant. `help`
 * is set when --help was asked for. */
[[nodiscard]] int command_parse(const struct command *c, int argc, char **argv, void *options,
                                struct strings *arguments, bool *help, struct error *e);

/* Calls each(arg, row) for all options of a command, common ones last. */
void command_each_option(const struct command *c,
                         void (*each)(void *arg, const struct option_row *row), void *arg);

/* Runs a command line; the exit status. */
int command_run(const struct command *c, int argc, char **argv);

#endif
