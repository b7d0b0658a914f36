/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "app/protocol.h"

#include "base/auto.h"

#include <string.h>

void put_identity(struct buf *b, const struct file_identity *id)
{
    buf_put_u64(b, id->device);
    buf_put_u64(b, id->inode);
    buf_put_u64(b, id->size);
    buf_put_u64(b, id->allocated);
    buf_put_u64(b, (uint64_t)id->mtime_ns);
    buf_put_u64(b, (uint64_t)id->ctime_ns);
    buf_put_u8(b, id->block_device);
}

void get_identity(struct cursor *c, struct file_identity *id)
{
    id->device = cursor_le64(c);
    id->inode = cursor_le64(c);
    id->size = cursor_le64(c);
    id->allocated = cursor_le64(c);
    id->mtime_ns = (int64_t)cursor_le64(c);
    id->ctime_ns = (int64_t)cursor_le64(c);
    id->block_device = cursor_u8(c) != 0;
}

void put_error(struct buf *b, const struct error *e)
{
    buf_put_u16(b, (uint16_t)e->code);
    buf_put_u32(b, (uint32_t)e->sys);
    buf_put_string(b, e->msg);
}

void get_error(struct cursor *c, struct error *e)
{
    uint16_t code = cursor_le16(c);
    int sys = (int)cursor_le32(c);
    AUTO_FREE char *text = cursor_string(c, sizeof e->msg - 1);

    err_set(e, code > ERR_NONE && code < ERR_CODES ? (enum err_code)code : ERR_PEER, "%s",
            text == NULL || text[0] == 0 ? "failed without a word" : text);
    e->sys = sys;
}
