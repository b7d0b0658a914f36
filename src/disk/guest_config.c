/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Guests in memory and as records. */
#include "disk/guest_config.h"

#include "base/auto.h"
#include "base/mem.h"
#include "disk/guest_config_parts.h"

#include <assert.h>
#include <string.h>

static_assert(GUEST_ENCODED_MAX < RECORD_MAX);

enum { GUEST_UUID = 1, GUEST_RUNNING = 2 };
enum {
    DISK_FORMAT = 1,
    DISK_WHY_NOT = 2,
    DISK_BACKING = 4,
    DISK_DEVICE = 8,
    DISK_READ_ONLY = 16,
    DISK_BACKING_STORE = 32
};

void guest_disk_release(struct guest_disk *d)
{
    free(d->target);
    free(d->source);
    free(d->format);
    free(d->why_not);
    for (size_t i = 0; d->backing != NULL && d->backing[i] != NULL; i++)
        free(d->backing[i]);
    free(d->backing);
    *d = (struct guest_disk){};
}

void guest_release(struct guest *g)
{
    free(g->name);
    free(g->uuid);
    for (size_t i = 0; i < g->n_disks; i++)
        guest_disk_release(&g->disks[i]);
    free(g->disks);
    *g = (struct guest){};
}

void guest_list_release(struct guest_list *l)
{
    for (size_t i = 0; i < l->n; i++)
        guest_release(&l->guests[i]);
    free(l->guests);
    *l = (struct guest_list){};
}

/* ---- what the parsers build with ---- */

struct guest *guest_list_add(struct guest_list *l, size_t *capacity, struct error *e)
{
    if (mem_grow(&l->guests, capacity, l->n + 1, sizeof *l->guests, "guests", e) != 0)
        return NULL;
    return &l->guests[l->n++];
}

struct guest_disk *guest_add_disk(struct guest *g, size_t *capacity, struct error *e)
{
    if (g->n_disks >= GUEST_DISKS_MAX) {
        err_set(e, ERR_LIMIT, "a guest with more than %d disks", GUEST_DISKS_MAX);
        return NULL;
    }
    if (mem_grow(&g->disks, capacity, g->n_disks + 1, sizeof *g->disks, "disks", e) != 0)
        return NULL;
    return &g->disks[g->n_disks++];
}

char *guest_string(const char *bytes, size_t length, const char *what, struct error *e)
{
    char *copy;

    if (length > GUEST_STRING_MAX) {
        err_set(e, ERR_LIMIT, "%s of %zu bytes", what, length);
        return NULL;
    }
    copy = strndup(bytes, length);
    if (copy == NULL)
        err_memory(e, what);
    return copy;
}

static size_t count_backing(const struct guest_disk *d)
{
    size_t n = 0;

    while (d->backing != NULL && d->backing[n] != NULL)
        n++;
    return n;
}

/* Grows one by one: chains are short, and the struct keeps no capacity. */
int guest_disk_add_backing(struct guest_disk *d, const char *name, struct error *e)
{
    size_t n = count_backing(d);
    char **grown;

    if (n >= GUEST_BACKING_MAX)
        return err_set(e, ERR_LIMIT, "a backing chain of more than %d files", GUEST_BACKING_MAX);
    grown = realloc(d->backing, (n + 2) * sizeof *grown);
    if (grown == NULL)
        return err_memory(e, "a backing chain");
    d->backing = grown;
    d->backing[n + 1] = NULL;
    d->backing[n] = guest_string(name, strlen(name), "a backing file's name", e);
    return d->backing[n] == NULL ? -1 : 0;
}

static size_t encoded_string(const char *text)
{
    return text == NULL ? 0 : 4 + strlen(text);
}

static size_t encoded_disk(const struct guest_disk *d)
{
    size_t n = count_backing(d), bytes = 1 + (n > 0 ? 2 : 0);

    bytes += encoded_string(d->target) + encoded_string(d->source) + encoded_string(d->format);
    bytes += encoded_string(d->why_not);
    for (size_t i = 0; i < n; i++)
        bytes += encoded_string(d->backing[i]);
    return bytes;
}

int guest_check(const struct guest *g, struct error *e)
{
    size_t bytes;

    if (g->name == NULL || g->name[0] == 0)
        return err_set(e, ERR_FORMAT, "a guest without a name");
    bytes = encoded_string(g->name) + 1 + encoded_string(g->uuid) + 2;
    for (size_t i = 0; i < g->n_disks; i++)
        bytes += encoded_disk(&g->disks[i]);
    if (bytes > GUEST_ENCODED_MAX)
        return err_set(e, ERR_LIMIT,
                       "the names of a guest's disks and backing files take %zu bytes", bytes);
    return 0;
}

/* ---- records ---- */

static void put_disk(struct buf *out, const struct guest_disk *d)
{
    size_t n = count_backing(d);

    buf_put_string(out, d->target);
    buf_put_string(out, d->source);
    buf_put_u8(out, (uint8_t)((d->format != NULL ? DISK_FORMAT : 0) |
                              (d->why_not != NULL ? DISK_WHY_NOT : 0) | (n > 0 ? DISK_BACKING : 0) |
                              (d->device ? DISK_DEVICE : 0) | (d->read_only ? DISK_READ_ONLY : 0) |
                              (d->backing_store ? DISK_BACKING_STORE : 0)));
    if (d->format != NULL)
        buf_put_string(out, d->format);
    if (d->why_not != NULL)
        buf_put_string(out, d->why_not);
    if (n > 0)
        buf_put_u16(out, (uint16_t)n);
    for (size_t i = 0; i < n; i++)
        buf_put_string(out, d->backing[i]);
}

int guest_encode(struct buf *out, const struct guest *g)
{
    buf_put_string(out, g->name);
    buf_put_u8(out,
               (uint8_t)((g->uuid != NULL ? GUEST_UUID : 0) | (g->running ? GUEST_RUNNING : 0)));
    if (g->uuid != NULL)
        buf_put_string(out, g->uuid);
    buf_put_u16(out, (uint16_t)g->n_disks);
    for (size_t i = 0; i < g->n_disks; i++)
        put_disk(out, &g->disks[i]);
    return out->failed ? -1 : 0;
}

/* cursor_string() does not tell bad bytes from a lack of memory. */
static char *get_string(struct cursor *c, struct error *e)
{
    struct cursor again = *c;
    char *text = cursor_string(c, GUEST_STRING_MAX);
    size_t length;
    const uint8_t *bytes;

    if (text != NULL)
        return text;
    length = cursor_le32(&again);
    bytes = length > GUEST_STRING_MAX ? NULL : cursor_bytes(&again, length);
    if (bytes == NULL || memchr(bytes, 0, length) != NULL)
        err_set(e, ERR_PEER, "a guest's record holds a string that is none");
    else
        err_memory(e, "a string");
    return NULL;
}

static int get_backing(struct cursor *c, struct guest_disk *d, struct error *e)
{
    size_t n = cursor_le16(c);

    if (n == 0 || n > GUEST_BACKING_MAX)
        return err_set(e, ERR_PEER, "a guest's record with a chain of %zu files", n);
    d->backing = mem_array(n + 1, sizeof *d->backing, "a backing chain", e);
    if (d->backing == NULL)
        return -1;
    for (size_t i = 0; i < n; i++) {
        d->backing[i] = get_string(c, e);
        if (d->backing[i] == NULL)
            return -1;
    }
    return 0;
}

static int get_disk(struct cursor *c, struct guest_disk *d, struct error *e)
{
    uint8_t flags;

    d->target = get_string(c, e);
    if (d->target == NULL)
        return -1;
    d->source = get_string(c, e);
    if (d->source == NULL)
        return -1;
    flags = cursor_u8(c);
    if (flags > 2 * DISK_BACKING_STORE - 1)
        return err_set(e, ERR_PEER, "a guest's record with disk flags %#x", flags);
    d->device = flags & DISK_DEVICE;
    d->read_only = flags & DISK_READ_ONLY;
    d->backing_store = flags & DISK_BACKING_STORE;
    if (flags & DISK_FORMAT && (d->format = get_string(c, e)) == NULL)
        return -1;
    if (flags & DISK_WHY_NOT && (d->why_not = get_string(c, e)) == NULL)
        return -1;
    if (flags & DISK_BACKING && get_backing(c, d, e) != 0)
        return -1;
    return c->bad ? err_set(e, ERR_PEER, "a guest's record ends too early") : 0;
}

static int get_guest(struct cursor *c, struct guest *g, struct error *e)
{
    uint8_t flags;
    size_t n;

    g->name = get_string(c, e);
    if (g->name == NULL)
        return -1;
    flags = cursor_u8(c);
    if (g->name[0] == 0 || flags > (GUEST_UUID | GUEST_RUNNING))
        return err_set(e, ERR_PEER, "a guest's record without a name, or with flags %#x", flags);
    g->running = flags & GUEST_RUNNING;
    if (flags & GUEST_UUID && (g->uuid = get_string(c, e)) == NULL)
        return -1;
    n = cursor_le16(c);
    if (c->bad || n > GUEST_DISKS_MAX)
        return err_set(e, ERR_PEER, "a guest's record is cut short, or has %zu disks", n);
    g->disks = mem_array(n, sizeof *g->disks, "disks", e);
    if (g->disks == NULL)
        return -1;
    for (; g->n_disks < n; g->n_disks++) {
        if (get_disk(c, &g->disks[g->n_disks], e) != 0) {
            guest_disk_release(&g->disks[g->n_disks]);
            return -1;
        }
    }
    return 0;
}

int guest_decode(struct cursor *c, struct guest *out, struct error *e)
{
    struct guest g = {};

    if (get_guest(c, &g, e) != 0) {
        guest_release(&g);
        return -1;
    }
    *out = g;
    return 0;
}
