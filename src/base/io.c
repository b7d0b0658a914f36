/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "base/io.h"

#include "base/ckd.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <poll.h>
#include <unistd.h>

/* True when every byte of the range has an offset that off_t can hold; else errno is set. */
static bool range_fits(uint64_t offset, size_t length)
{
    if (!range_outside(offset, length, INT64_MAX))
        return true;
    errno = EOVERFLOW;
    return false;
}

int io_open_quietly(const char *path, int flags)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOATIME | flags);

    return fd < 0 && errno == EPERM ? open(path, O_RDONLY | O_CLOEXEC | flags) : fd;
}

int64_t io_pread(int fd, void *bytes, size_t length, uint64_t offset)
{
    size_t done = 0;

    if (!range_fits(offset, length))
        return -1;
    while (done < length) {
        ssize_t n = pread(fd, (char *)bytes + done, length - done, (off_t)(offset + done));

        if (n == 0)
            break;
        if (n > 0)
            done += (size_t)n;
        else if (errno != EINTR)
            return -1;
    }
    return (int64_t)done;
}

int io_pread_exact(int fd, void *bytes, size_t length, uint64_t offset, struct error *e)
{
    int64_t n = io_pread(fd, bytes, length, offset);

    if (n < 0)
        return err_sys(e, "reading %zu bytes at %" PRIu64, length, offset);
    if ((size_t)n < length)
        return err_set(e, ERR_FORMAT, "the file ends at %" PRIu64 ", %zu bytes needed at %" PRIu64,
                       offset + (uint64_t)n, length, offset);
    return 0;
}

int io_pwrite(int fd, const void *bytes, size_t length, uint64_t offset, struct error *e)
{
    size_t done = 0;

    if (!range_fits(offset, length))
        return err_sys(e, "writing %zu bytes at %" PRIu64, length, offset);
    while (done < length) {
        ssize_t n = pwrite(fd, (const char *)bytes + done, length - done, (off_t)(offset + done));

        if (n == 0)
            errno = ENOSPC;
        if (n > 0)
            done += (size_t)n;
        else if (errno != EINTR)
            return err_sys(e, "writing %zu bytes at %" PRIu64, length, offset);
    }
    return 0;
}

int io_write(int fd, const void *bytes, size_t length, struct error *e)
{
    size_t done = 0;

    while (done < length) {
        ssize_t n = write(fd, (const char *)bytes + done, length - done);

        if (n >= 0) {
            done += (size_t)n;
        } else if (errno == EAGAIN) {
            /* a pipe or terminal that another process made non-blocking */
            struct pollfd wait = {.fd = fd, .events = POLLOUT};

            (void)poll(&wait, 1, -1);
        } else if (errno != EINTR) {
            return err_sys(e, "writing %zu bytes", length);
        }
    }
    return 0;
}
