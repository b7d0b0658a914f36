/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "app/nbd_uri.h"

#include "base/mem.h"

#include <netdb.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

static bool starts(const char *text, const char *with)
{
    return strncmp(text, with, strlen(with)) == 0;
}

bool nbd_uri_is(const char *text)
{
    return starts(text, "nbd://") || starts(text, "nbd+unix://") || starts(text, "nbds://") ||
           starts(text, "nbds+unix://") || starts(text, "nbd+vsock://");
}

static int hex(char c)
{
    return c >= '0' && c <= '9'   ? c - '0'
           : c >= 'a' && c <= 'f' ? c - 'a' + 10
           : c >= 'A' && c <= 'F' ? c - 'A' + 10
                                  : -1;
}

/* `length` bytes of the URI with %XX decoded, for free(). */
static char *decoded(const char *at, size_t length, struct error *e)
{
    char *out = mem_array(length + 1, 1, "an NBD URI", e);
    size_t n = 0;

    for (size_t i = 0; out != NULL && i < length; i++) {
        if (at[i] == '%' && i + 2 < length && hex(at[i + 1]) >= 0 && hex(at[i + 2]) >= 0) {
            out[n] = (char)(hex(at[i + 1]) << 4 | hex(at[i + 2]));
            if (out[n++] == 0) {
                free(out);
                err_set(e, ERR_USAGE, "%%00 cannot stand in an NBD URI");
                return NULL;
            }
            i += 2;
        } else {
            out[n++] = at[i];
        }
    }
    return out;
}

static int parse_unix(const char *at, struct source *out, struct error *e)
{
    const char *question = strchr(at, '?');
    const char *socket = question == NULL ? NULL : strstr(question, "socket=");
    size_t length;

    if (at[0] != '/' || socket == NULL || (socket[-1] != '?' && socket[-1] != '&'))
        return err_set(e, ERR_USAGE, "it is written nbd+unix:///EXPORT?socket=PATH");
    socket += strlen("socket=");
    length = strcspn(socket, "&");
    if (length == 0)
        return err_set(e, ERR_USAGE, "the path of the socket is empty");
    out->nbd_socket = decoded(socket, length, e);
    out->export_name = decoded(at + 1, (size_t)(question - at) - 1, e);
    return out->nbd_socket == NULL || out->export_name == NULL ? -1 : 0;
}

static int parse_tcp(const char *at, struct source *out, struct error *e)
{
    size_t authority = strcspn(at, "/?");
    const char *name = at[authority] == '/' ? at + authority + 1 : "";
    const char *host = at;
    size_t host_length = authority;
    const char *colon = memrchr(at, ':', authority);

    if (at[0] == '[') { /* IPv6 */
        const char *end = memchr(at, ']', authority);

        if (end == NULL || strchr(":/?", end[1]) == NULL)
            return err_set(e, ERR_USAGE, "an IPv6 address stands in [ ]");
        host = at + 1;
        host_length = (size_t)(end - host);
        colon = end[1] == ':' ? end + 1 : NULL;
    } else if (colon != NULL) {
        host_length = (size_t)(colon - at);
    }
    if (host_length == 0)
        return err_set(e, ERR_USAGE, "it is written nbd://HOST[:PORT][/EXPORT]");
    out->nbd_host = decoded(host, host_length, e);
    out->nbd_port = colon == NULL ? mem_string("10809", e)
                                  : decoded(colon + 1, authority - (size_t)(colon + 1 - at), e);
    out->export_name = decoded(name, strcspn(name, "?"), e);
    return out->nbd_host == NULL || out->nbd_port == NULL || out->export_name == NULL ? -1 : 0;
}

int nbd_uri_parse(const char *uri, struct source *out, struct error *e)
{
    if (starts(uri, "nbd+unix://"))
        return parse_unix(uri + strlen("nbd+unix://"), out, e);
    if (starts(uri, "nbd://"))
        return parse_tcp(uri + strlen("nbd://"), out, e);
    return err_set(e, ERR_UNSUPPORTED,
                   "NBD over TLS or vsock cannot be read yet; nbd:// and nbd+unix:// can");
}

static int connect_unix(const char *path, int *out, struct error *e)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    AUTO_FD int fd = -1;

    if (strlen(path) >= sizeof address.sun_path)
        return err_set(e, ERR_LIMIT, "the socket's path is too long");
    strcpy(address.sun_path, path);
    fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0 || connect(fd, (struct sockaddr *)&address, sizeof address) != 0)
        return err_sys(e, "cannot connect to %s", path);
    *out = take_fd(&fd);
    return 0;
}

static int connect_tcp(const char *host, const char *port, int *out, struct error *e)
{
    struct addrinfo hints = {.ai_socktype = SOCK_STREAM};
    struct addrinfo *found;
    int rc = getaddrinfo(host, port, &hints, &found);

    if (rc != 0)
        return err_set(e, ERR_NOT_FOUND, "%s:%s: %s", host, port, gai_strerror(rc));
    err_set(e, ERR_NOT_FOUND, "%s:%s: no address", host, port);
    rc = -1;
    for (struct addrinfo *a = found; a != NULL && rc != 0; a = a->ai_next) {
        AUTO_FD int fd = socket(a->ai_family, a->ai_socktype | SOCK_CLOEXEC, a->ai_protocol);

        if (fd < 0 || connect(fd, a->ai_addr, a->ai_addrlen) != 0) {
            err_sys(e, "cannot connect to %s:%s", host, port);
        } else {
            *out = take_fd(&fd);
            rc = 0;
        }
    }
    freeaddrinfo(found);
    return rc;
}

int source_connect(const struct source *s, int *socket, struct error *e)
{
    if (s->nbd_socket != NULL)
        return connect_unix(s->nbd_socket, socket, e);
    return connect_tcp(s->nbd_host, s->nbd_port, socket, e);
}
