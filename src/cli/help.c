/* SPDX-License-Identifier: GPL-2.0-or-later */
/* `stemma help`, --help, --version, and what is made from the same tables: shell completion and the
 * list that tests compare with the man pages. */
#include "cli/help.h"

#include "app/landlock.h"
#include "base/text.h"
#include "hash/id.h"

#include <stdio.h>
#include <string.h>

static void print_wrapped(const char *text, size_t indent, size_t first)
{
    size_t column = first;

    while (*text != 0) {
        size_t length = strcspn(text, " \n");

        if (column > indent && column + 1 + length > 79) {
            printf("\n%*s", (int)indent, "");
            column = indent;
        } else if (column > indent) {
            putchar(' ');
            column++;
        }
        printf("%.*s", (int)length, text);
        column += length;
        text += length;
        if (text[0] == '\n' && text[1] == '\n') {
            printf("\n\n%*s", (int)indent, "");
            column = indent;
        }
        text += strspn(text, " \n");
    }
    putchar('\n');
}

int help_overview(void)
{
    printf("usage: stemma COMMAND [OPTIONS] ARGS\n\n"
           "Works out and uses the kinship of virtual machine disks.\n\n");
    for (size_t i = 0; commands[i] != NULL; i++) {
        printf("  %-10s", commands[i]->name);
        print_wrapped(commands[i]->summary, 12, 12);
    }
    printf("\n'stemma help COMMAND' tells more; the manual is stemma(1).\n");
    return 0;
}

static void print_option(void *arg, const struct option_row *row)
{
    char left[128];
    int length;

    (void)arg;
    length = snprintf(left, sizeof left, "  %c%c%s --%s%s%s", row->letter != 0 ? '-' : ' ',
                      row->letter != 0 ? row->letter : ' ', row->letter != 0 ? "," : " ", row->name,
                      row->argument != NULL ? "=" : "", row->argument != NULL ? row->argument : "");
    if (length > 28) {
        printf("%s\n%*s", left, 30, "");
    } else {
        printf("%-30s", left);
    }
    print_wrapped(row->summary, 30, 30);
}

int help_command(const struct command *c)
{
    printf("usage: stemma %s [OPTIONS] %s\n\n", c->name, c->arguments);
    print_wrapped(c->about, 0, 0);
    printf("\nOptions:\n");
    command_each_option(c, print_option, NULL);
    printf("  -h, --help                  this text\n\nSee stemma-%s(1).\n", c->name);
    return 0;
}

int help_version(void)
{
    int abi = landlock_abi();

    hash_init();
    printf("stemma %s\n", STEMMA_VERSION);
    printf("hashing: BLAKE3 with %s\n", hash_instruction_set());
    if (abi > 0)
        printf("sandbox: seccomp and Landlock (ABI %d)\n", abi);
    else
        printf("sandbox: seccomp (this kernel has no Landlock)\n");
    printf("Licence GPL-2.0-or-later; there is no warranty.\n");
    return 0;
}

/* ---- help as a command ---- */

struct help_options {
    bool dump;
    const char *shell;
};

static const struct option_row rows[] = {
    {OPTION_FLAG, "dump", 0, NULL, "print all commands and options, one a line, separated by tabs",
     offsetof(struct help_options, dump)},
    {OPTION_STRING, "completion", 0, "bash|zsh|fish", "print completion for a shell",
     offsetof(struct help_options, shell)},
    {},
};

static void dump_option(void *arg, const struct option_row *row)
{
    const struct command *c = arg;

    printf("%s\t", c->name);
    if (row->letter != 0)
        printf("-%c,", row->letter);
    printf("--%s\t%s\t%s\n", row->name, row->argument == NULL ? "" : row->argument, row->summary);
}

static int dump(void)
{
    for (size_t i = 0; commands[i] != NULL; i++) {
        printf("%s\t\t%s\t%s\n", commands[i]->name, commands[i]->arguments, commands[i]->summary);
        command_each_option(commands[i], dump_option, (void *)commands[i]);
    }
    return 0;
}

static void bash_option(void *arg, const struct option_row *row)
{
    (void)arg;
    printf(" --%s%s", row->name, row->argument != NULL ? "=" : "");
}

static void bash_choices(void *arg, const struct option_row *row)
{
    (void)arg;
    if (row->type != OPTION_CHOICE)
        return;
    printf("        --%s=*) words=\"", row->name);
    for (const char *at = row->argument; *at != 0; at++)
        putchar(*at == '|' ? ' ' : *at);
    printf("\"; current=${current#*=} ;;\n");
}

static int complete_bash(void)
{
    printf("# completion of stemma for bash; made by 'stemma help --completion=bash'\n"
           "_stemma() {\n"
           "    local current=$2 words='' command=${COMP_WORDS[1]}\n"
           "    if [ \"$COMP_CWORD\" -eq 1 ]; then\n"
           "        COMPREPLY=($(compgen -W '");
    for (size_t i = 0; commands[i] != NULL; i++)
        printf("%s ", commands[i]->name);
    printf("--version --help' -- \"$current\"))\n        return\n    fi\n"
           "    case $command in\n");
    for (size_t i = 0; commands[i] != NULL; i++) {
        printf("    %s)\n        case $current in\n", commands[i]->name);
        command_each_option(commands[i], bash_choices, NULL);
        printf("        -*) words=\"--help");
        command_each_option(commands[i], bash_option, NULL);
        printf("\" ;;\n        esac ;;\n");
    }
    printf("    esac\n"
           "    if [ -n \"$words\" ]; then\n"
           "        COMPREPLY=($(compgen -W \"$words\" -- \"$current\"))\n"
           "        [[ ${COMPREPLY[0]} == *= ]] && compopt -o nospace\n"
           "    elif [ \"$command\" = help ]; then\n"
           "        COMPREPLY=($(compgen -W '");
    for (size_t i = 0; commands[i] != NULL; i++)
        printf("%s ", commands[i]->name);
    printf("' -- \"$current\"))\n"
           "    else\n"
           "        compopt -o filenames; COMPREPLY=($(compgen -f -- \"$current\"))\n"
           "    fi\n"
           "}\n"
           "COMP_WORDBREAKS=${COMP_WORDBREAKS//=}\n"
           "complete -F _stemma stemma\n");
    return 0;
}

/* Text between single quotes of a shell: a quote ends, is escaped, and opens again. */
static void print_quoted(const char *text, const char *quote)
{
    for (; *text != 0; text++) {
        if (*text == '\'')
            printf("%s", quote);
        else if (*text == '[' || *text == ']' || *text == ':')
            printf("%s%c", quote[1] == '\\' && quote[0] == '\'' ? "\\" : "", *text);
        else
            putchar(*text);
    }
}

static void zsh_option(void *arg, const struct option_row *row)
{
    (void)arg;
    printf(" \\\n            '%s--%s%s[", row->type == OPTION_LIST ? "*" : "", row->name,
           row->argument != NULL ? "=" : "");
    print_quoted(row->summary, "'\\''");
    printf("]");
    if (row->type == OPTION_CHOICE) {
        printf(":%s:(", row->name);
        for (const char *at = row->argument; *at != 0; at++)
            putchar(*at == '|' ? ' ' : *at);
        printf(")");
    } else if (row->argument != NULL) {
        printf(":%s:_files", row->name);
    }
    printf("'");
}

static int complete_zsh(void)
{
    printf("#compdef stemma\n# made by 'stemma help --completion=zsh'\n"
           "_stemma() {\n    local -a commands=(");
    for (size_t i = 0; commands[i] != NULL; i++) {
        printf("\n        '%s:", commands[i]->name);
        print_quoted(commands[i]->summary, "'\\''");
        printf("'");
    }
    printf("\n    )\n    if (( CURRENT == 2 )); then\n        _describe command commands\n"
           "        return\n    fi\n    local command=$words[2]\n"
           "    shift words; (( CURRENT-- ))\n    case $command in\n");
    for (size_t i = 0; commands[i] != NULL; i++) {
        printf("        %s) _arguments", commands[i]->name);
        command_each_option(commands[i], zsh_option, NULL);
        printf(" \\\n            '*:image:_files' ;;\n");
    }
    printf("    esac\n}\n_stemma \"$@\"\n");
    return 0;
}

static void fish_option(void *arg, const struct option_row *row)
{
    const struct command *c = arg;

    printf("complete -c stemma -n '__fish_seen_subcommand_from %s' -l %s%s -d '", c->name,
           row->name, row->argument != NULL ? " -r" : "");
    print_quoted(row->summary, "\\'");
    printf("'");
    if (row->type == OPTION_CHOICE) {
        printf(" -f -a '");
        for (const char *at = row->argument; *at != 0; at++)
            putchar(*at == '|' ? ' ' : *at);
        printf("'");
    }
    printf("\n");
}

static int complete_fish(void)
{
    printf("# completion of stemma for fish; made by 'stemma help --completion=fish'\n");
    for (size_t i = 0; commands[i] != NULL; i++) {
        printf("complete -c stemma -n __fish_use_subcommand -f -a %s -d '", commands[i]->name);
        print_quoted(commands[i]->summary, "\\'");
        printf("'\n");
        command_each_option(commands[i], fish_option, (void *)commands[i]);
    }
    return 0;
}

static int run(void *options, const struct strings *arguments)
{
    const struct help_options *o = options;
    const struct command *c;

    if (o->dump)
        return dump();
    if (o->shell != NULL && strcmp(o->shell, "bash") == 0)
        return complete_bash();
    if (o->shell != NULL && strcmp(o->shell, "zsh") == 0)
        return complete_zsh();
    if (o->shell != NULL && strcmp(o->shell, "fish") == 0)
        return complete_fish();
    if (o->shell != NULL) {
        fprintf(stderr, "stemma: --completion=%s: it is one of bash|zsh|fish\n", o->shell);
        return 2;
    }
    if (arguments->n == 0)
        return help_overview();
    c = command_find(arguments->items[0]);
    if (c == NULL) {
        fprintf(stderr, "stemma: there is no command %s; 'stemma help' lists them\n",
                arguments->items[0]);
        return 2;
    }
    return help_command(c);
}

const struct command command_help = {
    .name = "help",
    .arguments = "[COMMAND]",
    .summary = "tell how stemma, or one command of it, is used",
    .about =
        "Tells how stemma, or one command of it, is used. The same tables make the completion of "
        "shells.",
    .options = rows,
    .options_size = sizeof(struct help_options),
    .max_arguments = 1,
    .run = run,
};
