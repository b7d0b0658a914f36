/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Signature files. A fuzzer does not guess checksums, so each input is tried once more with them
 * made right. What is accepted is used as a comparison would, and has one file form only. */
#include "base/io.h"
#include "hash/digest.h"
#include "sig/sig.h"

#include <string.h>
#include <sys/mman.h>

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t length);

/* Disk id and checksums as they follow from the rest. */
static void seal(uint8_t *bytes, size_t length)
{
    uint64_t size = 0;
    struct digest d;

    for (unsigned i = 0; i < 8; i++)
        size |= (uint64_t)bytes[24 + i] << 8 * i;
    hash_disk_id(size, (const struct id *)(bytes + 72), (struct id *)(bytes + 104));
    digest_init(&d, "stemma signature 1 header");
    digest_update(&d, bytes, 160);
    digest_final(&d, (struct id *)(bytes + 160));
    digest_init(&d, "stemma signature 1 file");
    digest_update(&d, bytes, length - 32);
    digest_final(&d, (struct id *)(bytes + length - 32));
}

static void check_use(const struct sig *s)
{
    uint64_t n = 0, next = 0;

    for (size_t i = 0; i < s->n_runs; i++) {
        const struct sig_run *r = &s->runs[i];

        if (r->at != n || r->first < next || r->first + r->count > sig_clusters(s))
            __builtin_trap();
        for (uint64_t k = 0; k < r->count; k++) {
            if (id_is_null(&s->ids[r->at + k]))
                __builtin_trap();
        }
        if (sig_id(s, r->first + r->count - 1) != &s->ids[r->at + r->count - 1] ||
            !id_is_null(sig_id(s, r->first + r->count)))
            __builtin_trap();
        n += r->count;
        next = r->first + r->count + 1;
    }
    if (n != s->n_ids || s->data_bytes > s->size)
        __builtin_trap();
}

static void check_written(const struct sig *s, const uint8_t *bytes, size_t length)
{
    AUTO_FD int fd = memfd_create("signature", MFD_CLOEXEC);
    AUTO_FREE uint8_t *again = malloc(length + 1);
    struct error e;

    if (fd < 0 || again == NULL || sig_write(s, fd, &e) != 0 ||
        io_pread(fd, again, length + 1, 0) != (int64_t)length || memcmp(again, bytes, length) != 0)
        __builtin_trap();
}

static void try_parse(const uint8_t *bytes, size_t length)
{
    AUTO(sig) *s = NULL;
    struct error e;

    if (sig_parse(bytes, length, &s, &e) != 0)
        return;
    check_use(s);
    check_written(s, bytes, length);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t length)
{
    AUTO_FREE uint8_t *copy = malloc(length > 0 ? length : 1);

    if (copy == NULL)
        return 0;
    memcpy(copy, bytes, length);
    try_parse(copy, length);
    if (length >= 224) {
        seal(copy, length);
        try_parse(copy, length);
    }
    return 0;
}
