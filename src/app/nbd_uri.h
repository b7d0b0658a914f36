/* SPDX-License-Identifier: GPL-2.0-or-later */
/* NBD URIs (the NBD project's doc/uri.md): nbd://HOST[:PORT][/EXPORT] and
 * nbd+unix:///[EXPORT]?socket=PATH. TLS forms are told apart and refused. */
#ifndef STEMMA_APP_NBD_URI_H
#define STEMMA_APP_NBD_URI_H

#include "app/source.h"

/* True for what starts like one. */
bool nbd_uri_is(const char *text);
/* Fills export_name and either nbd_host and nbd_port, or nbd_socket. ERR_USAGE, ERR_UNSUPPORTED. */
[[nodiscard]] int nbd_uri_parse(const char *uri, struct source *out, struct error *e);

#endif
