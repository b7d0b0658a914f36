/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "base/buf.h"
#include "base/cursor.h"
#include "base/mem.h"
#include "cluster/kinship.h"
#include "cluster/kinship_check.h"

#include <stdlib.h>
#include <string.h>

/* One record for the counts, then each list in this order, in as many records as it needs, then one
 * for the end. */
enum {
    RECORD_HEAD = KINSHIP_RECORD_FIRST,
    RECORD_LIST, /* + list */
    RECORD_END = KINSHIP_RECORD_LAST,
};

#define STRING_MAX_BYTES 12000 /* five of them and the figures fit in one record */
#define IMAGES_MAX 100000
#define MATRIX_IMAGES_MAX 32768
#define NEIGHBOURS_MAX 64

/* ---- elements ---- */

static void put_image(struct buf *b, const struct kinship *k, size_t i)
{
    const struct kinship_image *x = k->images + i;

    buf_put_string(b, x->path);
    buf_put_string(b, x->format);
    buf_put_optional(b, x->guest);
    buf_put_optional(b, x->backing_path);
    buf_put_optional(b, x->fixed);
    buf_put_u64(b, x->virtual_size);
    buf_put_u64(b, x->data_bytes);
    buf_put_u64(b, x->read_bytes);
    buf_put_u64(b, x->allocated_bytes);
    buf_put(b, &x->disk_id, sizeof x->disk_id);
    buf_put(b, &x->content_id, sizeof x->content_id);
    buf_put_u32(b, x->backing);
    buf_put_u8(b, x->cached);
    buf_put_u8(b, x->in_use);
}

static void get_id(struct cursor *c, struct id *out)
{
    const uint8_t *bytes = cursor_bytes(c, sizeof *out);

    if (bytes != NULL)
        memcpy(out, bytes, sizeof *out);
}

static void get_image(struct cursor *c, struct kinship *k, size_t i)
{
    struct kinship_image *x = k->images + i;

    x->path = cursor_string(c, STRING_MAX_BYTES);
    x->format = cursor_string(c, STRING_MAX_BYTES);
    x->guest = cursor_optional(c, STRING_MAX_BYTES);
    x->backing_path = cursor_optional(c, STRING_MAX_BYTES);
    x->fixed = cursor_optional(c, STRING_MAX_BYTES);
    x->virtual_size = cursor_le64(c);
    x->data_bytes = cursor_le64(c);
    x->read_bytes = cursor_le64(c);
    x->allocated_bytes = cursor_le64(c);
    get_id(c, &x->disk_id);
    get_id(c, &x->content_id);
    x->backing = cursor_le32(c);
    x->cached = cursor_u8(c) != 0;
    x->in_use = cursor_u8(c) != 0;
}

static void put_leaf(struct buf *b, const struct kinship *k, size_t i)
{
    buf_put_u32(b, k->leaves[i].first);
    buf_put_u32(b, k->leaves[i].count);
}

static void get_leaf(struct cursor *c, struct kinship *k, size_t i)
{
    k->leaves[i].first = cursor_le32(c);
    k->leaves[i].count = cursor_le32(c);
}

static void put_different(struct buf *b, const struct kinship *k, size_t i)
{
    buf_put_u64(b, k->different[i]);
}

static void get_different(struct cursor *c, struct kinship *k, size_t i)
{
    k->different[i] = cursor_le64(c);
}

static void put_shared(struct buf *b, const struct kinship *k, size_t i)
{
    buf_put_u64(b, k->shared[i]);
}

static void get_shared(struct cursor *c, struct kinship *k, size_t i)
{
    k->shared[i] = cursor_le64(c);
}

static void put_neighbour(struct buf *b, const struct kinship *k, size_t i)
{
    buf_put_u32(b, k->neighbours[i].image);
    buf_put_u64(b, k->neighbours[i].different);
    buf_put_u64(b, k->neighbours[i].shared);
}

static void get_neighbour(struct cursor *c, struct kinship *k, size_t i)
{
    k->neighbours[i].image = cursor_le32(c);
    k->neighbours[i].different = cursor_le64(c);
    k->neighbours[i].shared = cursor_le64(c);
}

static void put_node(struct buf *b, const struct kinship *k, size_t i)
{
    const struct dendrogram_node *x = k->tree.nodes + i;

    buf_put_u64(b, x->different);
    buf_put_u64(b, x->shared);
    buf_put_u32(b, x->first);
    buf_put_u32(b, x->count);
    buf_put_u32(b, x->leaves);
}

static void get_node(struct cursor *c, struct kinship *k, size_t i)
{
    struct dendrogram_node *x = k->tree.nodes + i;

    x->different = cursor_le64(c);
    x->shared = cursor_le64(c);
    x->first = cursor_le32(c);
    x->count = cursor_le32(c);
    x->leaves = cursor_le32(c);
}

static void put_child(struct buf *b, const struct kinship *k, size_t i)
{
    buf_put_u32(b, k->tree.children[i]);
}

static void get_child(struct cursor *c, struct kinship *k, size_t i)
{
    k->tree.children[i] = cursor_le32(c);
}

static void put_family(struct buf *b, const struct kinship *k, size_t i)
{
    buf_put_u32(b, k->family[i]);
}

static void get_family(struct cursor *c, struct kinship *k, size_t i)
{
    k->family[i] = cursor_le32(c);
}

static void put_step(struct buf *b, const struct kinship *k, size_t i)
{
    const struct plan_step *x = k->plan.steps + i;

    buf_put_u8(b, (uint8_t)x->action);
    buf_put_u32(b, x->backing);
    buf_put_u64(b, x->overlay_bytes);
    buf_put_u64(b, x->saves_bytes);
}

static void get_step(struct cursor *c, struct kinship *k, size_t i)
{
    struct plan_step *x = k->plan.steps + i;

    x->action = cursor_u8(c);
    x->backing = cursor_le32(c);
    x->overlay_bytes = cursor_le64(c);
    x->saves_bytes = cursor_le64(c);
}

/* ---- lists ---- */

struct head {
    uint64_t n, n_leaves, n_matrix, n_neighbours, n_nodes, n_children, n_families, n_steps;
};

/* An array of struct kinship: where it is, how many elements the head announces. */
struct list {
    size_t array, size; /* offset of its pointer, bytes of an element */
    uint64_t (*count)(const struct head *h);
    void (*put)(struct buf *b, const struct kinship *k, size_t i);
    void (*get)(struct cursor *c, struct kinship *k, size_t i);
};

static uint64_t count_images(const struct head *h)
{
    return h->n;
}

static uint64_t count_leaves(const struct head *h)
{
    return h->n_leaves;
}

static uint64_t count_matrix(const struct head *h)
{
    return h->n_matrix * h->n_matrix;
}

static uint64_t count_neighbours(const struct head *h)
{
    return h->n * h->n_neighbours;
}

static uint64_t count_nodes(const struct head *h)
{
    return h->n_nodes;
}

static uint64_t count_children(const struct head *h)
{
    return h->n_children;
}

static uint64_t count_steps(const struct head *h)
{
    return h->n_steps;
}

#define LIST(field, count_, name)                                                                  \
    {                                                                                              \
        .array = offsetof(struct kinship, field), .size = sizeof *((struct kinship *)NULL)->field, \
        .count = count_, .put = put_##name, .get = get_##name                                      \
    }

static const struct list lists[] = {
    LIST(images, count_images, image),
    LIST(leaves, count_leaves, leaf),
    LIST(different, count_matrix, different),
    LIST(shared, count_matrix, shared),
    LIST(neighbours, count_neighbours, neighbour),
    LIST(tree.nodes, count_nodes, node),
    LIST(tree.children, count_children, child),
    LIST(family, count_leaves, family),
    LIST(plan.steps, count_steps, step),
};
#define N_LISTS (sizeof lists / sizeof *lists)

/* ---- sending ---- */

struct sender {
    int (*send)(void *arg, uint16_t type, const void *payload, size_t length, struct error *e);
    void *arg;
};

static int send_list(const struct sender *s, const struct kinship *k, size_t list, uint64_t count,
                     struct error *e)
{
    AUTO_BUF b = {0};
    uint16_t type = (uint16_t)(RECORD_LIST + list);
    size_t sent;

    for (size_t i = 0; i < count; i++) {
        size_t before = b.length;

        lists[list].put(&b, k, i);
        if (buf_check(&b, "a record", e) != 0)
            return -1;
        if (b.length <= RECORD_MAX && i + 1 < count)
            continue;
        if (b.length > RECORD_MAX && before == 0)
            return err_set(e, ERR_LIMIT, "%s: name too long", k->images[i].path);
        sent = b.length <= RECORD_MAX ? b.length : before;
        if (s->send(s->arg, type, b.bytes, sent, e) != 0)
            return -1;
        memmove(b.bytes, b.bytes + sent, b.length - sent);
        b.length -= sent;
    }
    if (b.length == 0)
        return 0;
    if (b.length > RECORD_MAX)
        return err_set(e, ERR_LIMIT, "a name is too long");
    return s->send(s->arg, type, b.bytes, b.length, e);
}

static int check_strings(const struct kinship *k, struct error *e)
{
    for (size_t i = 0; i < k->n; i++) {
        const struct kinship_image *x = k->images + i;
        const char *const texts[] = {x->path, x->format, x->guest, x->backing_path, x->fixed};

        for (size_t t = 0; t < sizeof texts / sizeof *texts; t++) {
            if (texts[t] != NULL && strlen(texts[t]) > STRING_MAX_BYTES)
                return err_set(e, ERR_LIMIT, "%.200s...: the name is too long", texts[t]);
        }
    }
    return 0;
}

int kinship_send(const struct kinship *k,
                 int (*send)(void *arg, uint16_t type, const void *payload, size_t length,
                             struct error *e),
                 void *arg, struct error *e)
{
    struct sender s = {send, arg};
    struct head h = {
        .n = k->n,
        .n_leaves = k->n_leaves,
        .n_matrix = k->different != NULL ? k->n : 0,
        .n_neighbours = k->n_neighbours,
        .n_nodes = k->tree.n_nodes,
        .n_children = k->tree.n_children,
        .n_families = k->n_families,
        .n_steps = k->plan.steps != NULL ? k->plan.n : 0,
    };
    AUTO_BUF b = {0};

    if (k->n > IMAGES_MAX || h.n_matrix > MATRIX_IMAGES_MAX)
        return err_set(e, ERR_LIMIT, "%zu images are more than can be told", k->n);
    if (check_strings(k, e) != 0)
        return -1;
    for (size_t i = 0; i < sizeof h / sizeof(uint64_t); i++)
        buf_put_u64(&b, ((const uint64_t *)&h)[i]);
    buf_put(&b, &k->threshold, sizeof k->threshold);
    buf_put_u8(&b, (uint8_t)k->linkage);
    buf_put_u8(&b, k->different != NULL);
    buf_put_u8(&b, k->plan.steps != NULL);
    if (buf_check(&b, "a record", e) != 0 || s.send(s.arg, RECORD_HEAD, b.bytes, b.length, e) != 0)
        return -1;
    for (size_t list = 0; list < N_LISTS; list++) {
        if (send_list(&s, k, list, lists[list].count(&h), e) != 0)
            return -1;
    }
    return s.send(s.arg, RECORD_END, "", 0, e);
}

/* ---- receiving ---- */

struct kinship_receiver {
    struct kinship k;
    struct head head;
    bool started, done, matrices, plan;
    size_t list; /* that is being received */
    size_t have; /* of its elements */
    size_t room;
};

struct kinship_receiver *kinship_receiver_new(struct error *e)
{
    return mem_array(1, sizeof(struct kinship_receiver), "kinship", e);
}

void kinship_receiver_free(struct kinship_receiver *r)
{
    if (r == NULL)
        return;
    kinship_release(&r->k);
    free(r);
}

static int broken(struct error *e, const char *what)
{
    return err_set(e, ERR_PEER, "the worker sent a family tree with %s", what);
}

static int receive_head(struct kinship_receiver *r, struct cursor *c, struct error *e)
{
    struct head h = {};
    struct kinship *k = &r->k;
    const uint8_t *threshold;
    bool matrices, plan;

    for (size_t i = 0; i < sizeof h / sizeof(uint64_t); i++)
        ((uint64_t *)&h)[i] = cursor_le64(c);
    threshold = cursor_bytes(c, sizeof k->threshold);
    if (threshold != NULL)
        memcpy(&k->threshold, threshold, sizeof k->threshold);
    k->linkage = cursor_u8(c);
    matrices = cursor_u8(c) != 0;
    plan = cursor_u8(c) != 0;
    if (c->bad || cursor_left(c) > 0 || r->started)
        return broken(e, "a bad head");
    if (h.n > IMAGES_MAX || h.n_leaves > h.n || (h.n > 0) != (h.n_leaves > 0) ||
        h.n_matrix != (matrices ? h.n : 0) || h.n_matrix > MATRIX_IMAGES_MAX ||
        h.n_neighbours > NEIGHBOURS_MAX || h.n_nodes > 2 * h.n_leaves || h.n_nodes < h.n_leaves ||
        h.n_children > 2 * h.n_leaves || h.n_families > h.n_leaves ||
        h.n_steps != (plan ? h.n : 0) || k->linkage > LINKAGE_COMPLETE ||
        !(k->threshold >= 0 && k->threshold <= 1))
        return broken(e, "impossible counts");
    r->head = h;
    r->started = true;
    r->matrices = matrices;
    r->plan = plan;
    k->n_neighbours = (size_t)h.n_neighbours;
    k->n_families = (size_t)h.n_families;
    return 0;
}

/* One of the elements announced; arrays grow as elements come, not as they are announced. */
static int receive_element(struct kinship_receiver *r, struct cursor *c, struct error *e)
{
    const struct list *list = lists + r->list;

    if (r->have >= list->count(&r->head))
        return broken(e, "more than it announced");
    if (mem_grow((char *)&r->k + list->array, &r->room, r->have + 1, list->size, "kinship", e) != 0)
        return -1;
    if (r->list == 0)
        r->k.n = r->have + 1; /* so that a release frees its strings */
    list->get(c, &r->k, r->have++);
    return c->bad ? broken(e, "a cut record") : 0;
}

/* Goes on to that list; those before it must be whole. */
static int advance(struct kinship_receiver *r, size_t list, struct error *e)
{
    if (list < r->list)
        return broken(e, "records out of order");
    for (; r->list < list; r->list++) {
        if (r->have != lists[r->list].count(&r->head))
            return broken(e, "less than it announced");
        r->have = 0;
        r->room = 0;
    }
    return 0;
}

/* An empty array is still one. */
static int make_empty(struct kinship_receiver *r, size_t list, struct error *e)
{
    size_t room = 0;
    void *array;

    memcpy(&array, (char *)&r->k + lists[list].array, sizeof array);
    if (array != NULL)
        return 0;
    return mem_grow((char *)&r->k + lists[list].array, &room, 1, lists[list].size, "kinship", e);
}

static int receive_end(struct kinship_receiver *r, struct error *e)
{
    struct kinship *k = &r->k;

    if (advance(r, N_LISTS, e) != 0)
        return -1;
    for (size_t list = 0; list < N_LISTS; list++) {
        bool matrix = lists[list].count == count_matrix, plan = lists[list].count == count_steps;
        bool there = matrix ? r->matrices : plan ? r->plan : true;

        if (lists[list].count == count_neighbours)
            there = k->n_neighbours > 0;
        if (there && make_empty(r, list, e) != 0)
            return -1;
    }
    k->n_leaves = (size_t)r->head.n_leaves;
    k->tree.n_leaves = k->n_leaves;
    k->tree.n_nodes = (size_t)r->head.n_nodes;
    k->tree.n_children = (size_t)r->head.n_children;
    k->tree.root = k->tree.n_nodes > 0 ? (uint32_t)(k->tree.n_nodes - 1) : UINT32_MAX;
    k->plan.n = (size_t)r->head.n_steps;
    if (kinship_check(k, e) != 0)
        return -1;
    r->done = true;
    return 0;
}

int kinship_receive(struct kinship_receiver *r, uint16_t type, struct cursor payload,
                    struct error *e)
{
    if (r->done)
        return broken(e, "more after its end");
    if (type == RECORD_HEAD)
        return receive_head(r, &payload, e);
    if (!r->started || type < RECORD_LIST || (type >= RECORD_LIST + N_LISTS && type != RECORD_END))
        return broken(e, "an unknown record");
    if (type == RECORD_END)
        return receive_end(r, e);
    if (advance(r, type - RECORD_LIST, e) != 0)
        return -1;
    while (cursor_left(&payload) > 0) {
        if (receive_element(r, &payload, e) != 0)
            return -1;
    }
    return 0;
}

int kinship_receiver_take(struct kinship_receiver *r, struct kinship *out, struct error *e)
{
    if (!r->done)
        return broken(e, "no end");
    *out = r->k;
    r->k = (struct kinship){0};
    r->done = false;
    return 0;
}
