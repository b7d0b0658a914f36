/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "cli/common.h"

#include "app/drivers.h"
#include "base/mem.h"
#include "base/text.h"
#include "cli/guests.h"
#include "cli/progress_bar.h"
#include "disk/layer.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#define AT(field) offsetof(struct common_options, field)

const struct option_row common_option_rows[] = {
    {OPTION_STRING, "image-format", 0, "FORMAT",
     "read every image as FORMAT (raw, qcow2, vmdk, ...) instead of probing", AT(image_format)},
    {OPTION_LIST, "allow-backing", 0, "DIR", "images may name backing files below DIR (repeatable)",
     AT(allow_backing)},
    {OPTION_LIST, "domain", 0, "NAME", "the disks of this libvirt guest (repeatable)", AT(domains)},
    {OPTION_FLAG, "all-domains", 0, NULL, "the disks of all libvirt guests", AT(all_domains)},
    {OPTION_LIST, "domain-xml", 0, "FILE|DIR",
     "take guests from these domain XML files instead of libvirt's (repeatable)", AT(domain_xml)},
    {OPTION_STRING, "pve-conf", 0, "DIR",
     "the disks of all Proxmox VE guests whose VMID.conf lie in DIR", AT(pve_conf)},
    {OPTION_STRING, "cache", 0, "DIR|none", "where signatures are kept between runs", AT(cache)},
    {OPTION_STRING, "progress", 0, "auto|never|FD",
     "show progress on a terminal, never, or as lines 'DONE TOTAL' on descriptor FD", AT(progress)},
    {OPTION_CHOICE, "sandbox", 0, "auto|require|off",
     "walls around the process that reads images: as good as the kernel has them, both or an "
     "error, "
     "none",
     AT(sandbox)},
    {OPTION_NUMBER, "threads", 0, "N", "threads that read and hash", AT(threads)},
    {OPTION_FLAG, "json", 0, NULL, "print one JSON document", AT(json)},
    {},
};

static struct session *interrupted_session; /* of the signal handler */

static void interrupt(int signal_number)
{
    (void)signal_number;
    if (interrupted_session != NULL)
        atomic_store(&interrupted_session->cancel.requested, true);
}

char *shown(const char *name)
{
    char *text = text_escaped(name);

    return text != NULL ? text : strdup("?");
}

static void remember(struct session *s, const char *path, const char *code, const char *text,
                     bool warning)
{
    struct error ignored;
    struct told t = {.code = code, .warning = warning};

    t.path = strdup(path);
    t.text = strdup(text);
    if (t.path == NULL || t.text == NULL ||
        mem_grow(&s->told, &s->told_capacity, s->n_told + 1, sizeof *s->told, "messages",
                 &ignored) != 0) {
        free(t.path);
        free(t.text);
        return;
    }
    s->told[s->n_told++] = t;
}

/* A message may repeat a hostile name, so it is escaped whole; names in it that were escaped before
 * keep their backslashes single. */
static char *shown_message(const char *message)
{
    char *text = shown(message);
    char *to = text;

    for (const char *at = text; at != NULL && *at != 0; at++) {
        *to++ = *at;
        if (at[0] == '\\' && at[1] == '\\')
            at++;
    }
    if (to != NULL)
        *to = 0;
    return text;
}

static void say(struct session *s, bool warning, const char *what, const char *why)
{
    AUTO_FREE char *a = shown(what);
    AUTO_FREE char *b = shown_message(why);
    size_t length = strlen(a);

    bar_hide(s->bar);
    if (length == 0 || (strncmp(b, a, length) == 0 && b[length] == ':')) /* it names it already */
        fprintf(stderr, "stemma: %s%s\n", warning ? "warning: " : "", b);
    else
        fprintf(stderr, "stemma: %s%s: %s\n", warning ? "warning: " : "", a, b);
}

void session_tell(struct session *s, const char *what, const struct error *e)
{
    say(s, false, what, e->msg);
    remember(s, what, err_code_name(e->code), e->msg, false);
    s->failed = true;
}

static void take_problem(void *arg, const struct problem *p)
{
    struct session *s = arg;
    bool warning = p->severity == SEVERITY_WARNING;

    say(s, warning, p->object, p->text);
    remember(s, p->object, err_code_name(p->code), p->text, warning);
    if (!warning)
        s->failed = true;
}

static void tick(void *arg, uint64_t done, uint64_t total, uint32_t source)
{
    struct session *s = arg;
    char which[48] = "";

    if (source < s->sources.n && s->sources.n > 1)
        snprintf(which, sizeof which, "%u/%zu ", source + 1, s->sources.n);
    bar_show(s->bar, done, total, which,
             source < s->sources.n ? s->sources.items[source].name : NULL);
}

static void note(void *arg, const char *text)
{
    struct session *s = arg;

    say(s, false, "", text);
}

int session_status(const struct session *s, int status)
{
    if (cancel_requested(&s->cancel))
        return 130;
    return s->failed ? 3 : status;
}

int session_fail(struct session *s, const char *what, const struct error *e)
{
    if (e->code != ERR_CANCELLED)
        session_tell(s, what, e);
    if (s->o->json)
        print_json_error(what, e);
    if (e->code == ERR_CANCELLED)
        return 130;
    return e->code == ERR_USAGE ? 2 : 3;
}

/* As many descriptors as the system lets us have: a fleet has thousands of images. */
static void raise_descriptor_limit(void)
{
    struct rlimit limit;

    if (getrlimit(RLIMIT_NOFILE, &limit) == 0 && limit.rlim_cur < limit.rlim_max) {
        limit.rlim_cur = limit.rlim_max;
        (void)setrlimit(RLIMIT_NOFILE, &limit);
    }
}

static int check_format(const char *format, struct error *e)
{
    const struct disk_env env = {.drivers = app_drivers};
    struct layer_kind kind;
    char known[200];

    if (format == NULL || kind_by_name(&env, format, &kind))
        return 0;
    kind_list(&env, known, sizeof known);
    return err_set(e, ERR_USAGE, "--image-format=%.80s: it is one of %s", format, known);
}

static int open_parts(struct session *s, struct error *e)
{
    const struct common_options *o = s->o;
    long processors = sysconf(_SC_NPROCESSORS_ONLN);
    struct front_options front = {
        .sandbox = (enum sandbox_mode)o->sandbox,
        .threads = o->threads != 0  ? o->threads
                   : processors > 0 ? (size_t)processors
                                    : 1,
        .problems = {take_problem, s},
        .tick = tick,
        .tick_arg = s,
        .note = note,
        .note_arg = s,
        .cancel = &s->cancel,
    };

    if (o->threads > 1024)
        return err_set(e, ERR_USAGE, "--threads=%llu: at most 1024",
                       (unsigned long long)o->threads);
    if (check_format(o->image_format, e) != 0)
        return -1;
    s->bar = bar_new(o->progress, e);
    s->opener = opener_new(e);
    if (s->bar == NULL || s->opener == NULL)
        return -1;
    if (o->cache == NULL || strcmp(o->cache, "none") != 0) {
        s->cache = cache_folder_new(o->cache, e);
        if (s->cache == NULL)
            return -1;
    }
    front.opener = s->opener;
    front.cache = s->cache;
    s->front = front_new(&front, e);
    if (s->front == NULL)
        return -1;
    for (size_t i = 0; i < o->allow_backing.n; i++) {
        if (opener_allow_folder(s->opener, o->allow_backing.items[i], e) != 0)
            return err_wrap(e, "--allow-backing");
    }
    s->sources.opener = s->opener;
    s->sources.image_format = o->image_format;
    s->sources.problems = (struct problem_sink){take_problem, s};
    return 0;
}

static void handle_signals(struct session *s)
{
    struct sigaction action = {.sa_handler = interrupt};
    struct sigaction hangup;

    interrupted_session = s;
    sigaction(SIGINT, &action, NULL);
    sigaction(SIGTERM, &action, NULL);
    if (sigaction(SIGHUP, NULL, &hangup) == 0 && hangup.sa_handler != SIG_IGN) /* not under nohup */
        sigaction(SIGHUP, &action, NULL);
    signal(SIGPIPE, SIG_IGN);
}

int session_open(struct session *s, const struct common_options *o, const struct strings *arguments)
{
    struct error e;

    *s = (struct session){.o = o};
    raise_descriptor_limit();
    handle_signals(s);
    if (open_parts(s, &e) != 0)
        return session_fail(s, "", &e);
    for (size_t i = 0; i < arguments->n; i++) {
        if (source_add(&s->sources, arguments->items[i], &e) == 0)
            continue;
        if (e.code == ERR_USAGE)
            return session_fail(s, arguments->items[i], &e);
        session_tell(s, arguments->items[i], &e);
    }
    if (guests_add(s, &e) != 0)
        return session_fail(s, "", &e);
    return 0;
}

void session_close(struct session *s)
{
    interrupted_session = NULL;
    front_free(s->front);
    source_set_release(&s->sources);
    opener_free(s->opener);
    cache_folder_free(s->cache);
    bar_free(s->bar);
    for (size_t i = 0; i < s->n_told; i++) {
        free(s->told[i].path);
        free(s->told[i].text);
    }
    free(s->told);
    free(s->in_use);
}

/* ---- jobs ---- */

struct run {
    struct session *session;
    const struct source *sources;
    int (*record)(void *arg, uint16_t type, struct cursor payload, struct error *e);
    void (*again)(void *arg);
    void *arg;
};

static int pass_record(void *arg, uint16_t type, struct cursor payload, struct error *e)
{
    struct run *r = arg;

    if (r->record == NULL)
        return err_set(e, ERR_PEER, "the worker sent a result that nobody asked for");
    return r->record(r->arg, type, payload, e);
}

static void pass_failed(void *arg, uint32_t source, const struct error *why)
{
    struct run *r = arg;

    if (!r->session->quiet) {
        session_tell(r->session, r->sources[source].name, why);
        return;
    }
    r->session->untold = *why;
    err_wrap(&r->session->untold, "%s", r->sources[source].name);
}

static void pass_again(void *arg)
{
    struct run *r = arg;

    if (r->again != NULL)
        r->again(r->arg);
}

int session_run(struct session *s, struct job *job, const struct source *sources,
                const bool *in_use, size_t n, const struct front_outputs *outputs,
                int (*record)(void *arg, uint16_t type, struct cursor payload, struct error *e),
                void (*again)(void *arg), void *arg, struct error *e)
{
    struct run run = {s, sources, record, again, arg};
    struct front_results results = {pass_record, pass_failed, pass_again, &run};
    int rc = front_run(s->front, job, sources, in_use, n, outputs, &results, e);

    bar_hide(s->bar);
    return rc;
}

/* ---- documents ---- */

void session_json(const struct session *s, struct json *j)
{
    for (int warnings = 0; warnings < 2; warnings++) {
        json_array(j, warnings ? "warnings" : "errors");
        for (size_t i = 0; i < s->n_told; i++) {
            if (s->told[i].warning != (warnings != 0))
                continue;
            json_object(j, NULL);
            json_string(j, "path", s->told[i].path);
            json_string(j, "code", s->told[i].code);
            json_string(j, "message", s->told[i].text);
            json_object_end(j);
        }
        json_array_end(j);
    }
}

struct draw_problem *session_problems(const struct session *s)
{
    struct draw_problem *problems = calloc(s->n_told + 1, sizeof *problems);

    for (size_t i = 0; problems != NULL && i < s->n_told; i++)
        problems[i] = (struct draw_problem){s->told[i].path, s->told[i].code, s->told[i].text,
                                            s->told[i].warning};
    return problems;
}

static void print_error_object(const char *path, const char *code, const char *message)
{
    AUTO_BUF out = {};
    struct json j;

    json_init(&j, &out);
    json_object(&j, NULL);
    json_object(&j, "error");
    if (path[0] != 0)
        json_string(&j, "path", path);
    json_string(&j, "code", code);
    json_string(&j, "message", message);
    json_object_end(&j);
    json_object_end(&j);
    buf_put_u8(&out, '\n');
    if (!out.failed)
        fwrite(out.bytes, 1, out.length, stdout);
}

void print_json_error(const char *path, const struct error *e)
{
    print_error_object(path, err_code_name(e->code), e->msg);
}

int session_failed(const struct session *s)
{
    const struct told *first = NULL;

    for (size_t i = 0; i < s->n_told && first == NULL; i++) {
        if (!s->told[i].warning)
            first = &s->told[i];
    }
    if (s->o->json && first != NULL)
        print_error_object(first->path, first->code, first->text);
    return session_status(s, 3);
}

int print_document(struct buf *document, int status)
{
    if (document->failed) {
        fprintf(stderr, "stemma: out of memory for the output\n");
        status = 3;
    } else if (fwrite(document->bytes, 1, document->length, stdout) != document->length ||
               fflush(stdout) != 0) {
        perror("stemma: standard output");
        status = 3;
    }
    buf_release(document);
    return status;
}
