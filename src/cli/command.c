/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "cli/command.h"

#include "base/auto.h"
#include "base/mem.h"
#include "base/text.h"
#include "cli/common.h"
#include "cli/help.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

const struct command *const commands[] = {
    &command_tree,  &command_rebase, &command_sign, &command_compare,
    &command_cache, &command_help,   NULL,
};

int strings_add(struct strings *s, const char *text, struct error *e)
{
    if (mem_grow(&s->items, &s->capacity, s->n + 1, sizeof *s->items, "arguments", e) != 0)
        return -1;
    s->items[s->n++] = text;
    return 0;
}

const struct command *command_find(const char *name)
{
    for (size_t i = 0; commands[i] != NULL; i++) {
        if (strcmp(commands[i]->name, name) == 0)
            return commands[i];
    }
    return NULL;
}

/* Calls match(row) over a command's rows; the first that it takes, or NULL. */
static const struct option_row *
find_row(const struct command *c, bool (*match)(const void *key, const struct option_row *row),
         const void *key)
{
    const struct option_row *tables[] = {c->options, c->common ? common_option_rows : NULL};

    for (size_t t = 0; t < 2; t++) {
        for (const struct option_row *r = tables[t]; r != NULL && r->type != OPTION_END; r++) {
            if (match(key, r))
                return r;
        }
    }
    return NULL;
}

struct name_key {
    const char *name;
    size_t length;
};

static bool match_name(const void *key, const struct option_row *row)
{
    const struct name_key *k = key;

    return strlen(row->name) == k->length && memcmp(row->name, k->name, k->length) == 0;
}

static bool match_letter(const void *key, const struct option_row *row)
{
    return row->letter != 0 && row->letter == *(const char *)key;
}

void command_each_option(const struct command *c,
                         void (*each)(void *arg, const struct option_row *row), void *arg)
{
    const struct option_row *tables[] = {c->options, c->common ? common_option_rows : NULL};

    for (size_t t = 0; t < 2; t++) {
        for (const struct option_row *r = tables[t]; r != NULL && r->type != OPTION_END; r++)
            each(arg, r);
    }
}

/* How many letters to insert, remove or change; both short. */
static size_t edit_distance(const char *a, size_t n, const char *b)
{
    size_t row[65];
    size_t m = strlen(b);

    if (n > 64 || m > 64)
        return SIZE_MAX;
    for (size_t j = 0; j <= m; j++)
        row[j] = j;
    for (size_t i = 1; i <= n; i++) {
        size_t diagonal = row[0];

        row[0] = i;
        for (size_t j = 1; j <= m; j++) {
            size_t best = diagonal + (a[i - 1] != b[j - 1]);

            diagonal = row[j];
            if (row[j] + 1 < best)
                best = row[j] + 1;
            if (row[j - 1] + 1 < best)
                best = row[j - 1] + 1;
            row[j] = best;
        }
    }
    return row[m];
}

struct nearest {
    const struct name_key *wanted;
    const char *name;
    size_t distance;
};

static void try_nearest(void *arg, const struct option_row *row)
{
    struct nearest *n = arg;
    size_t distance = edit_distance(n->wanted->name, n->wanted->length, row->name);

    if (distance < n->distance) {
        n->distance = distance;
        n->name = row->name;
    }
}

static int unknown_option(const struct command *c, const struct name_key *key, struct error *e)
{
    struct nearest n = {key, NULL, 4};

    command_each_option(c, try_nearest, &n);
    if (n.name != NULL)
        return err_set(e, ERR_USAGE, "unknown option --%.*s; did you mean --%s?", (int)key->length,
                       key->name, n.name);
    return err_set(e, ERR_USAGE, "unknown option --%.*s", (int)key->length, key->name);
}

static int set_choice(const struct option_row *row, const char *value, unsigned *out,
                      struct error *e)
{
    const char *at = row->argument;

    for (unsigned i = 0; at != NULL; i++) {
        const char *bar = strchr(at, '|');
        size_t length = bar == NULL ? strlen(at) : (size_t)(bar - at);

        if (strlen(value) == length && memcmp(at, value, length) == 0) {
            *out = i;
            return 0;
        }
        at = bar == NULL ? NULL : bar + 1;
    }
    return err_set(e, ERR_USAGE, "--%s=%s: it is one of %s", row->name, value, row->argument);
}

static int set_percent(const struct option_row *row, const char *value, double *out,
                       struct error *e)
{
    char *end;
    double number;

    errno = 0;
    number = strtod(value, &end);
    if (end != value && *end == '%')
        end++;
    if (end == value || *end != 0 || errno != 0 || !(number >= 0 && number <= 100))
        return err_set(e, ERR_USAGE, "--%s=%s: a per cent from 0 to 100 is wanted", row->name,
                       value);
    *out = number;
    return 0;
}

static int set_value(const struct option_row *row, void *options, const char *value,
                     struct error *e)
{
    void *to = (char *)options + row->offset;

    switch (row->type) {
    case OPTION_FLAG:
        *(bool *)to = true;
        return 0;
    case OPTION_STRING:
        *(const char **)to = value;
        return 0;
    case OPTION_LIST:
        return strings_add(to, value, e);
    case OPTION_CHOICE:
        return set_choice(row, value, to, e);
    case OPTION_NUMBER:
        if (text_parse_size(value, to, e) != 0)
            return err_wrap(e, "--%s", row->name);
        return 0;
    case OPTION_PERCENT:
        return set_percent(row, value, to, e);
    case OPTION_END:
        break;
    }
    return err_set(e, ERR_INTERNAL, "an option of no type");
}

/* One --option, at argv[*i]; takes its value from the next word when it stands there. */
static int parse_long(const struct command *c, int argc, char **argv, int *i, void *options,
                      bool *help, struct error *e)
{
    const char *text = argv[*i] + 2;
    const char *equals = strchr(text, '=');
    struct name_key key = {text, equals == NULL ? strlen(text) : (size_t)(equals - text)};
    const struct option_row *row = find_row(c, match_name, &key);
    const char *value = equals == NULL ? NULL : equals + 1;

    if (row == NULL && key.length == 4 && memcmp(text, "help", 4) == 0) {
        *help = true;
        return 0;
    }
    if (row == NULL)
        return unknown_option(c, &key, e);
    if (row->type == OPTION_FLAG && value != NULL)
        return err_set(e, ERR_USAGE, "--%s takes no value", row->name);
    if (row->type != OPTION_FLAG && value == NULL) {
        if (*i + 1 >= argc)
            return err_set(e, ERR_USAGE, "--%s wants a value: --%s=%s", row->name, row->name,
                           row->argument);
        value = argv[++*i];
    }
    return set_value(row, options, value, e);
}

/* Short options in one word: -ab, -oFILE, -o FILE. */
static int parse_short(const struct command *c, int argc, char **argv, int *i, void *options,
                       bool *help, struct error *e)
{
    for (const char *at = argv[*i] + 1; *at != 0; at++) {
        const struct option_row *row = find_row(c, match_letter, at);
        const char *value = NULL;

        if (row == NULL && *at == 'h') {
            *help = true;
            continue;
        }
        if (row == NULL)
            return err_set(e, ERR_USAGE, "unknown option -%c", *at);
        if (row->type != OPTION_FLAG) {
            value = at[1] != 0 ? at + 1 : *i + 1 < argc ? argv[++*i] : NULL;
            if (value == NULL)
                return err_set(e, ERR_USAGE, "-%c wants a value: -%c %s", *at, *at, row->argument);
            return set_value(row, options, value, e);
        }
        if (set_value(row, options, NULL, e) != 0)
            return -1;
    }
    return 0;
}

static int check_count(const struct command *c, size_t n, struct error *e)
{
    if (n < c->min_arguments)
        return err_set(e, ERR_USAGE, "stemma %s wants %s", c->name, c->arguments);
    if (n > c->max_arguments)
        return err_set(e, ERR_USAGE, "stemma %s takes no more than %s", c->name,
                       c->arguments[0] == 0 ? "options" : c->arguments);
    return 0;
}

int command_parse(const struct command *c, int argc, char **argv, void *options,
                  struct strings *arguments, bool *help, struct error *e)
{
    bool only_arguments = false;

    for (int i = 1; i < argc; i++) {
        int rc;

        if (only_arguments || argv[i][0] != '-' || argv[i][1] == 0) {
            rc = strings_add(arguments, argv[i], e);
        } else if (strcmp(argv[i], "--") == 0) {
            only_arguments = true;
            rc = 0;
        } else if (argv[i][1] == '-') {
            rc = parse_long(c, argc, argv, &i, options, help, e);
        } else {
            rc = parse_short(c, argc, argv, &i, options, help, e);
        }
        if (rc != 0)
            return -1;
    }
    return *help ? 0 : check_count(c, arguments->n, e);
}

static void free_list(void *options, const struct option_row *row)
{
    if (row->type == OPTION_LIST)
        free(((struct strings *)(void *)((char *)options + row->offset))->items);
}

/* Whoever asked for a document gets one, even when another option was wrong. */
static bool wants_json(const struct command *c, int argc, char **argv)
{
    const struct name_key key = {"json", 4};

    if (find_row(c, match_name, &key) == NULL)
        return false;
    for (int i = 1; i < argc && strcmp(argv[i], "--") != 0; i++) {
        if (strcmp(argv[i], "--json") == 0)
            return true;
    }
    return false;
}

static int fail_usage(const struct command *c, int argc, char **argv, const struct error *e)
{
    AUTO_FREE char *message = shown(e->msg);

    fprintf(stderr, "stemma: %s\nTry 'stemma help %s'.\n", message, c->name);
    if (wants_json(c, argc, argv))
        print_json_error("", e);
    return e->code == ERR_USAGE ? 2 : 3;
}

int command_run(const struct command *c, int argc, char **argv)
{
    AUTO_FREE void *options = calloc(1, c->options_size);
    struct strings arguments = {};
    bool help = false;
    struct error e;
    int status;

    if (options == NULL) {
        fprintf(stderr, "stemma: out of memory\n");
        return 3;
    }
    if (c->defaults != NULL)
        c->defaults(options);
    if (command_parse(c, argc, argv, options, &arguments, &help, &e) != 0) {
        status = fail_usage(c, argc, argv, &e);
    } else if (help) {
        status = help_command(c);
    } else {
        status = c->run(options, &arguments);
    }
    command_each_option(c, free_list, options);
    free(arguments.items);
    return status;
}
