/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Content id and disk id: the levels above the cluster, docs/formats/identity.md. */
#include "base/ckd.h"
#include "base/error.h"
#include "hash/digest.h"

#define CLUSTER_LEVEL 1
#define CONTENT_LEVEL (ID_LEVELS - 1)

/* The children of the one parent at each level that is being filled. A slot that holds nothing is
 * null; a level's slots are null whenever it is not open. */
struct tree {
    struct {
        bool open;
        uint64_t parent; /* its index at the level above */
        struct id child[ID_FANOUT];
    } level[CONTENT_LEVEL]; /* by the children's level; 0 is not used */
    struct id content;
};

/* Opens the parent of `index` at the children's level, unless it already is. False: another one is
 * open and must be closed first. */
static bool tree_open(struct tree *t, unsigned level, uint64_t index)
{
    if (t->level[level].open)
        return t->level[level].parent == index / ID_FANOUT;
    t->level[level].open = true;
    t->level[level].parent = index / ID_FANOUT;
    return true;
}

/* Turns the children of the open parent into its id. */
static struct id tree_close(struct tree *t, unsigned level)
{
    struct id id;

    hash_parents(level + 1, t->level[level].child, 1, &id);
    memset(t->level[level].child, 0, sizeof t->level[level].child);
    t->level[level].open = false;
    return id;
}

/* Stores an id at (level, index), indexes rising within a level. A parent that it leaves behind is
 * closed and stored in its turn, at most once a level. */
static void tree_put(struct tree *t, unsigned level, uint64_t index, const struct id *id)
{
    struct id keep = *id;

    for (; level < CONTENT_LEVEL; level++) {
        bool same = tree_open(t, level, index);
        uint64_t closed = t->level[level].parent;
        struct id parent;

        if (!same) {
            parent = tree_close(t, level);
            tree_open(t, level, index);
        }
        t->level[level].child[index % ID_FANOUT] = keep;
        if (same)
            return;
        index = closed;
        keep = parent;
    }
    t->content = keep;
}

/* Closes what is open at the children's level, if anything. */
static void tree_settle(struct tree *t, unsigned level)
{
    if (t->level[level].open) {
        uint64_t parent = t->level[level].parent;
        struct id id = tree_close(t, level);

        tree_put(t, level + 1, parent, &id);
    }
}

/* Whole nodes are hashed where their ids stand; a part of one that came before goes up first, or
 * indexes would no longer rise. */
static void tree_add_run(struct tree *t, struct id_run run, const struct id *ids)
{
    while (run.count != 0) {
        uint64_t n = min_u64(run.count, ID_FANOUT - run.first % ID_FANOUT);

        if (n == ID_FANOUT) {
            struct id node;

            tree_settle(t, CLUSTER_LEVEL);
            hash_parents(CLUSTER_LEVEL + 1, ids, 1, &node);
            tree_put(t, CLUSTER_LEVEL + 1, run.first / ID_FANOUT, &node);
        } else {
            for (uint64_t i = 0; i < n; i++)
                tree_put(t, CLUSTER_LEVEL, run.first + i, &ids[i]);
        }
        run.first += n;
        run.count -= n;
        ids += n;
    }
}

int hash_content_id(const struct id_run *runs, size_t n_runs, const struct id *ids, struct id *out,
                    struct error *e)
{
    struct tree t;

    memset(&t, 0, sizeof t);
    for (size_t i = 0; i < n_runs; i++) {
        if (range_outside(runs[i].first, runs[i].count, DISK_SIZE_MAX / CLUSTER_SIZE))
            return err_set(e, ERR_LIMIT, "clusters beyond 2 EiB");
        tree_add_run(&t, runs[i], ids);
        ids += runs[i].count;
    }
    for (unsigned level = CLUSTER_LEVEL; level < CONTENT_LEVEL; level++)
        tree_settle(&t, level);
    *out = t.content;
    return 0;
}

void hash_disk_id(uint64_t size, const struct id *content, struct id *out)
{
    struct digest d;

    digest_init(&d, "stemma identity 1 disk");
    digest_u64(&d, size);
    digest_update(&d, content, sizeof *content);
    digest_final(&d, out);
}

void id_to_hex(const struct id *id, char out[65])
{
    static const char digit[] = "0123456789abcdef";

    for (size_t i = 0; i < sizeof id->bytes; i++) {
        out[2 * i] = digit[id->bytes[i] >> 4];
        out[2 * i + 1] = digit[id->bytes[i] & 15];
    }
    out[64] = '\0';
}
