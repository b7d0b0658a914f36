/* SPDX-License-Identifier: GPL-2.0-or-later */
/* libnbd as a table of functions, so that only who reads a foreign format or an NBD export pays for
 * loading it and the twenty libraries behind it. */
#ifndef STEMMA_DISK_NBD_LIBRARY_H
#define STEMMA_DISK_NBD_LIBRARY_H

#include <libnbd.h>

#define NBD_FUNCTIONS(X)                                                                           \
    X(create)                                                                                      \
    X(close)                                                                                       \
    X(get_error)                                                                                   \
    X(set_debug)                                                                                   \
    X(set_export_name)                                                                             \
    X(add_meta_context)                                                                            \
    X(can_meta_context)                                                                            \
    X(get_size)                                                                                    \
    X(get_block_size)                                                                              \
    X(poll)                                                                                        \
    X(aio_connect_socket)                                                                          \
    X(aio_is_ready)                                                                                \
    X(aio_is_dead)                                                                                 \
    X(aio_is_closed)                                                                               \
    X(aio_pread)                                                                                   \
    X(aio_block_status)                                                                            \
    X(aio_command_completed)

#define NBD_MEMBER_(name) typeof(nbd_##name) *name;
struct nbd_library {
    NBD_FUNCTIONS(NBD_MEMBER_)
};
#undef NBD_MEMBER_

/* NULL, with the reason, when it could not be loaded. */
const struct nbd_library *nbd_library(const char **why);

#endif
