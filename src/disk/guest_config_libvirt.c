/* SPDX-License-Identifier: GPL-2.0-or-later */
/* libvirt's domain XML, through expat. An element means what its whole path says: each open one
 * has a role, which its parent's role and its name give, and what has none is skipped with all that
 * it holds. */
#include "base/auto.h"
#include "base/mem.h"
#include "base/text.h"
#include "disk/guest_config_parts.h"
#include "hash/digest.h"

#include <ctype.h>
#include <expat.h>
#include <string.h>
#include <sys/auxv.h>

/* The longest chain of <backingStore> and what is around it. */
#define DEPTH_MAX (GUEST_BACKING_MAX + 32)

enum role {
    ROLE_NONE, /* outside the document, and in what means nothing to us */
    ROLE_SKIP,
    ROLE_LIST,
    ROLE_STATUS,
    ROLE_PAST, /* a snapshot or checkpoint */
    ROLE_DOMAIN,
    ROLE_NAME,
    ROLE_UUID,
    ROLE_DEVICES,
    ROLE_DISK,
    ROLE_DRIVER,
    ROLE_SOURCE,
    ROLE_SLICES,
    ROLE_SLICE,
    ROLE_TARGET,
    ROLE_READ_ONLY,
    ROLE_BACKING,
    ROLE_BACKING_SOURCE,
};

static const struct {
    enum role parent;
    const char *name;
    enum role role;
} elements[] = {
    {ROLE_NONE, "domain", ROLE_DOMAIN},
    {ROLE_NONE, "domstatus", ROLE_STATUS},
    {ROLE_NONE, "domainsnapshot", ROLE_PAST},
    {ROLE_NONE, "domaincheckpoint", ROLE_PAST},
    {ROLE_NONE, "domains", ROLE_LIST},
    {ROLE_LIST, "domain", ROLE_DOMAIN},
    {ROLE_LIST, "domstatus", ROLE_STATUS},
    {ROLE_LIST, "domainsnapshot", ROLE_PAST},
    {ROLE_LIST, "domaincheckpoint", ROLE_PAST},
    {ROLE_STATUS, "domain", ROLE_DOMAIN},
    {ROLE_PAST, "domain", ROLE_DOMAIN},
    {ROLE_DOMAIN, "name", ROLE_NAME},
    {ROLE_DOMAIN, "uuid", ROLE_UUID},
    {ROLE_DOMAIN, "devices", ROLE_DEVICES},
    {ROLE_DEVICES, "disk", ROLE_DISK},
    {ROLE_DISK, "driver", ROLE_DRIVER},
    {ROLE_DISK, "source", ROLE_SOURCE},
    {ROLE_SOURCE, "slices", ROLE_SLICES},
    {ROLE_SLICES, "slice", ROLE_SLICE},
    {ROLE_DISK, "target", ROLE_TARGET},
    {ROLE_DISK, "readonly", ROLE_READ_ONLY},
    {ROLE_DISK, "backingStore", ROLE_BACKING},
    {ROLE_BACKING, "backingStore", ROLE_BACKING},
    {ROLE_BACKING, "source", ROLE_BACKING_SOURCE},
};

struct parse {
    XML_Parser parser;
    struct error *e;
    bool failed; /* `e` is set */
    struct guest_list guests;
    size_t guests_capacity, disks_capacity;
    size_t depth;
    enum role open[DEPTH_MAX];
    struct buf text;     /* of the <name> or <uuid> that is open */
    bool status_running; /* what <domstatus> says of its domain */
    bool has_domain;     /* the <domstatus> or <domainsnapshot> that is open has one */
    bool has_source;     /* of the <disk> that is open */
    bool left_out;       /* that disk is a CD-ROM or floppy */
    char *type;          /* its type attribute */
    char *protocol;      /* that of its source, or NULL */
};

/* expat returns from XML_Parse() after that; it may still call for the element's end. */
static void fail(struct parse *p)
{
    p->failed = true;
    XML_StopParser(p->parser, XML_FALSE);
}

static const char *attribute(const char **attributes, const char *name)
{
    for (size_t i = 0; attributes[i] != NULL; i += 2) {
        if (strcmp(attributes[i], name) == 0)
            return attributes[i + 1];
    }
    return NULL;
}

static struct guest *guest_of(struct parse *p)
{
    return &p->guests.guests[p->guests.n - 1];
}

static struct guest_disk *disk_of(struct parse *p)
{
    struct guest *g = guest_of(p);

    return &g->disks[g->n_disks - 1];
}

/* A copy of the text in *field; the first one counts. NULL leaves it. */
static int set(char **field, const char *text, const char *what, struct error *e)
{
    if (text == NULL || *field != NULL)
        return 0;
    *field = guest_string(text, strlen(text), what, e);
    return *field == NULL ? -1 : 0;
}

/* "BEFORE 'FOREIGN'", with the foreign word escaped: reasons are shown as they are. */
static char *reason(const char *before, const char *foreign, struct error *e)
{
    AUTO_FREE char *shown = text_escaped(foreign);

    if (shown == NULL) {
        err_memory(e, "a reason");
        return NULL;
    }
    return mem_printf(e, "%s '%.64s'", before, shown);
}

/* ---- elements that begin ---- */

static bool is_number(const char *text, bool zero_too)
{
    size_t n = text == NULL ? 0 : strspn(text, "0123456789");

    return n > 0 && text[n] == 0 && (zero_too || strspn(text, "0") < n);
}

/* libvirt's states in which a process holds the disks, for a status that names none. */
static bool state_is_running(const char *state)
{
    static const char *const states[] = {"running", "blocked", "paused", "shutdown", "pmsuspended"};

    for (size_t i = 0; state != NULL && i < sizeof states / sizeof *states; i++) {
        if (strcmp(state, states[i]) == 0)
            return true;
    }
    return false;
}

static void begin_status(struct parse *p, const char **attributes)
{
    const char *pid = attribute(attributes, "pid");

    p->status_running =
        pid != NULL ? is_number(pid, false) : state_is_running(attribute(attributes, "state"));
}

static int begin_domain(struct parse *p, enum role parent, const char **attributes)
{
    struct guest *g = guest_list_add(&p->guests, &p->guests_capacity, p->e);

    if (g == NULL)
        return -1;
    p->disks_capacity = 0;
    p->has_domain = true;
    if (parent == ROLE_STATUS)
        g->running = p->status_running;
    else
        g->running = parent != ROLE_PAST && is_number(attribute(attributes, "id"), true);
    return 0;
}

static int begin_disk(struct parse *p, const char **attributes)
{
    const char *type = attribute(attributes, "type"), *device = attribute(attributes, "device");

    if (type == NULL)
        type = "file";
    if (device == NULL)
        device = "disk";
    p->has_source = false;
    p->left_out = strcmp(device, "cdrom") == 0 || strcmp(device, "floppy") == 0;
    if (p->left_out)
        return 0;
    if (guest_add_disk(guest_of(p), &p->disks_capacity, p->e) == NULL ||
        set(&p->type, type, "the type of a disk", p->e) != 0)
        return -1;
    if (strcmp(device, "disk") == 0 || strcmp(device, "lun") == 0)
        return 0;
    disk_of(p)->why_not = reason("device of unknown kind", device, p->e);
    return disk_of(p)->why_not == NULL ? -1 : 0;
}

/* The volume as the definition names it: "POOL/VOLUME" or the image's name on its server. */
static int begin_source(struct parse *p, const char **attributes)
{
    struct guest_disk *d = disk_of(p);
    const char *pool = attribute(attributes, "pool"), *volume = attribute(attributes, "volume");
    static const char *const names[] = {"file", "dev", "dir", "name", "path", "volume"};
    const char *first = strcmp(p->type, "block") == 0 ? "dev" : "file";
    const char *source = attribute(attributes, first);

    if (p->has_source)
        return 0;
    p->has_source = true;
    if (set(&p->protocol, attribute(attributes, "protocol"), "a protocol", p->e) != 0)
        return -1;
    if (strcmp(p->type, "volume") == 0 && pool != NULL && volume != NULL) {
        d->source = mem_printf(p->e, "%.*s/%.*s", GUEST_STRING_MAX / 2 - 1, pool,
                               GUEST_STRING_MAX / 2 - 1, volume);
        return d->source == NULL ? -1 : 0;
    }
    /* a file or device is what its own attribute says; another type has one of those */
    if (strcmp(p->type, "file") != 0 && strcmp(p->type, "block") != 0) {
        for (size_t i = 0; source == NULL && i < sizeof names / sizeof *names; i++)
            source = attribute(attributes, names[i]);
    }
    return set(&d->source, source, "a disk's path", p->e);
}

static int begin_slice(struct parse *p, const char **attributes)
{
    struct guest_disk *d = disk_of(p);
    const char *type = attribute(attributes, "type");

    if (type == NULL || strcmp(type, "storage") != 0)
        return 0;
    return set(&d->why_not, "only a slice of the file is the disk", "a reason", p->e);
}

static int begin_backing_source(struct parse *p, const char **attributes)
{
    const char *source = attribute(attributes, "file");

    if (source == NULL)
        source = attribute(attributes, "dev");
    return source == NULL || source[0] == 0 ? 0 : guest_disk_add_backing(disk_of(p), source, p->e);
}

static int begin_in_disk(struct parse *p, enum role role, const char **attributes)
{
    if (p->left_out)
        return 0;
    switch (role) {
    case ROLE_DRIVER:
        return set(&disk_of(p)->format, attribute(attributes, "type"), "a format", p->e);
    case ROLE_SOURCE:
        return begin_source(p, attributes);
    case ROLE_SLICE:
        return begin_slice(p, attributes);
    case ROLE_TARGET:
        return set(&disk_of(p)->target, attribute(attributes, "dev"), "a disk's target", p->e);
    case ROLE_READ_ONLY:
        disk_of(p)->read_only = true;
        return 0;
    case ROLE_BACKING:
        disk_of(p)->backing_store = true;
        return 0;
    case ROLE_BACKING_SOURCE:
        return begin_backing_source(p, attributes);
    default:
        return 0;
    }
}

static int begin(struct parse *p, enum role role, enum role parent, const char **attributes)
{
    switch (role) {
    case ROLE_STATUS:
        p->has_domain = false;
        begin_status(p, attributes);
        return 0;
    case ROLE_PAST:
        p->has_domain = false;
        return 0;
    case ROLE_DOMAIN:
        return begin_domain(p, parent, attributes);
    case ROLE_NAME:
    case ROLE_UUID:
        p->text.length = 0;
        return 0;
    case ROLE_DISK:
        return begin_disk(p, attributes);
    default:
        return begin_in_disk(p, role, attributes);
    }
}

static enum role role_of(enum role parent, const char *name)
{
    for (size_t i = 0; i < sizeof elements / sizeof *elements; i++) {
        if (elements[i].parent == parent && strcmp(elements[i].name, name) == 0)
            return elements[i].role;
    }
    return ROLE_SKIP;
}

static int open_element(struct parse *p, const char *name, const char **attributes)
{
    enum role parent = p->depth == 0 ? ROLE_NONE : p->open[p->depth - 1];
    enum role role = role_of(parent, name);

    if (p->depth == 0 && role == ROLE_SKIP) {
        AUTO_FREE char *shown = text_escaped(name);

        return err_set(p->e, ERR_FORMAT,
                       "the definition of a libvirt guest does not begin with <%.64s>",
                       shown != NULL ? shown : "?");
    }
    if (p->depth == DEPTH_MAX)
        return err_set(p->e, ERR_LIMIT, "elements nested deeper than %d", DEPTH_MAX);
    p->open[p->depth++] = role;
    return begin(p, role, parent, attributes);
}

static void on_start(void *data, const char *name, const char **attributes)
{
    struct parse *p = data;

    if (!p->failed && open_element(p, name, attributes) != 0)
        fail(p);
}

/* ---- elements that end ---- */

static int end_text(struct parse *p, char **field, const char *what)
{
    buf_put_u8(&p->text, 0);
    if (buf_check(&p->text, what, p->e) != 0)
        return -1;
    return set(field, (const char *)p->text.bytes, what, p->e);
}

static char *network_reason(const char *protocol, struct error *e)
{
    AUTO_FREE char *shown = text_escaped(protocol != NULL ? protocol : "no protocol");

    if (shown == NULL) {
        err_memory(e, "a reason");
        return NULL;
    }
    return mem_printf(e, "network disk (%.64s)", shown);
}

static char *why_not(const struct parse *p, struct error *e)
{
    if (strcmp(p->type, "network") == 0)
        return network_reason(p->protocol, e);
    if (strcmp(p->type, "dir") == 0)
        return mem_string("a directory shown as a disk", e);
    if (strcmp(p->type, "volume") == 0)
        return mem_string("volume of a libvirt storage pool", e);
    if (strcmp(p->type, "nvme") == 0)
        return mem_string("NVMe device that the guest drives itself", e);
    if (strcmp(p->type, "vhostuser") == 0 || strcmp(p->type, "vhostvdpa") == 0)
        return mem_printf(e, "disk of another process (%s)", p->type);
    return reason("disk of unknown type", p->type, e);
}

static int end_disk(struct parse *p)
{
    struct guest_disk *d = disk_of(p);
    bool is_file = strcmp(p->type, "file") == 0;

    d->device = strcmp(p->type, "block") == 0;
    if (d->target == NULL || d->target[0] == 0) {
        free(d->target);
        d->target = mem_printf(p->e, "disk%zu", guest_of(p)->n_disks);
        if (d->target == NULL)
            return -1;
    }
    if (set(&d->source, "", "a source", p->e) != 0)
        return -1;
    if (d->why_not == NULL && !is_file && !d->device) {
        d->why_not = why_not(p, p->e);
        if (d->why_not == NULL)
            return -1;
    }
    return d->source[0] != 0 ? 0 : set(&d->why_not, "no medium", "a reason", p->e);
}

static int close_element(struct parse *p, enum role role)
{
    int result = 0;

    switch (role) {
    case ROLE_NAME:
        return end_text(p, &guest_of(p)->name, "a guest's name");
    case ROLE_UUID:
        return end_text(p, &guest_of(p)->uuid, "a guest's UUID");
    case ROLE_DISK:
        if (!p->left_out)
            result = end_disk(p);
        free(take(p->type));
        free(take(p->protocol));
        return result;
    case ROLE_DOMAIN:
        return guest_check(guest_of(p), p->e);
    case ROLE_STATUS:
    case ROLE_PAST:
        if (!p->has_domain)
            return err_set(p->e, ERR_FORMAT, "no <domain> in the definition");
        return 0;
    default:
        return 0;
    }
}

static void on_end(void *data, const char *name)
{
    struct parse *p = data;

    (void)name;
    if (p->failed)
        return;
    if (close_element(p, p->open[--p->depth]) != 0)
        fail(p);
}

static void on_text(void *data, const char *text, int length)
{
    struct parse *p = data;
    enum role role = p->depth == 0 ? ROLE_NONE : p->open[p->depth - 1];

    if (!p->failed && (role == ROLE_NAME || role == ROLE_UUID))
        buf_put(&p->text, text, (size_t)length);
}

/* Entities can only be declared in a document type. */
static void on_document_type(void *data, const char *name, const char *system_id,
                             const char *public_id, int has_internal_subset)
{
    struct parse *p = data;

    (void)name, (void)system_id, (void)public_id, (void)has_internal_subset;
    if (p->failed)
        return;
    err_set(p->e, ERR_UNSUPPORTED,
            "line %lu: a document type, which could declare entities, is refused",
            (unsigned long)XML_GetCurrentLineNumber(p->parser));
    fail(p);
}

/* ---- the whole ---- */

/* Without a salt of ours expat asks the system for one and ends the program when that is refused,
 * as the sealed worker's filter does. The kernel gave each program 16 random bytes at its start. */
static unsigned long hash_salt(void)
{
    const void *random =
        (const void *)getauxval(AT_RANDOM); // NOLINT: that is how it is handed over
    struct digest d;
    struct id id;
    unsigned long salt;

    digest_init(&d, "stemma guest definition 1 salt");
    if (random != NULL)
        digest_update(&d, random, 16);
    digest_final(&d, &id);
    memcpy(&salt, &id, sizeof salt);
    return salt | 1; /* 0 means none */
}

static int run(struct parse *p, const void *bytes, size_t length)
{
    enum XML_Error code;

    XML_SetHashSalt(p->parser, hash_salt());
    XML_SetUserData(p->parser, p);
    XML_SetElementHandler(p->parser, on_start, on_end);
    XML_SetCharacterDataHandler(p->parser, on_text);
    XML_SetStartDoctypeDeclHandler(p->parser, on_document_type);
    if (XML_Parse(p->parser, length == 0 ? "" : bytes, (int)length, XML_TRUE) == XML_STATUS_OK)
        return 0;
    if (p->failed)
        return -1;
    code = XML_GetErrorCode(p->parser);
    if (code == XML_ERROR_NO_MEMORY)
        return err_memory(p->e, "an XML document");
    return err_set(p->e, ERR_FORMAT, "line %lu: %s",
                   (unsigned long)XML_GetCurrentLineNumber(p->parser), XML_ErrorString(code));
}

int guest_config_parse_libvirt(const void *bytes, size_t length, struct guest_list *out,
                               struct error *e)
{
    static const XML_Memory_Handling_Suite memory = {malloc, realloc, free};
    struct parse p = {.e = e};
    int result;

    if (length > GUEST_INPUT_MAX)
        return err_set(e, ERR_LIMIT, "a definition of %zu bytes", length);
    p.parser = XML_ParserCreate_MM(NULL, &memory, NULL);
    if (p.parser == NULL)
        return err_memory(e, "an XML parser");
    result = run(&p, bytes, length);
    XML_ParserFree(p.parser);
    buf_release(&p.text);
    free(p.type);
    free(p.protocol);
    if (result != 0) {
        guest_list_release(&p.guests);
        return -1;
    }
    *out = p.guests;
    return 0;
}
