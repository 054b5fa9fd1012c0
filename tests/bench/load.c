/* Sockets, and exact reads and writes, for the load generator and its like. */
#include "tests/bench/load.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

enum { BACKLOG = 4096 };

union address {
    struct sockaddr any;
    struct sockaddr_un unix_path;
    struct sockaddr_in tcp;
};

void load_die(const char *format, ...)
{
    va_list args;
    va_start(args, format);
    fputs("bench_load: ", stderr);
    vfprintf(stderr, format, args);
    fputc('\n', stderr);
    va_end(args);
    exit(1);
}

static int make_socket(const char *text, union address *address, socklen_t *length)
{
    int one = 1;
    memset(address, 0, sizeof *address);
    if (!strncmp(text, "unix:", 5) && strlen(text + 5) < sizeof address->unix_path.sun_path) {
        address->unix_path.sun_family = AF_UNIX;
        strcpy(address->unix_path.sun_path, text + 5);
        *length = sizeof address->unix_path;
    } else if (!strncmp(text, "tcp:", 4)) {
        address->tcp.sin_family = AF_INET;
        address->tcp.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
        address->tcp.sin_port = htons((uint16_t)strtoul(text + 4, NULL, 10));
        *length = sizeof address->tcp;
    } else {
        load_die("\"%s\" is neither unix:PATH nor tcp:PORT", text);
    }
    int fd = socket(address->any.sa_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0) {
        load_die("socket: %s", strerror(errno));
    }
    if (address->any.sa_family == AF_INET) { /* accepted sockets inherit both */
        setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
        setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
    }
    return fd;
}

int load_listen(const char *text)
{
    union address address;
    socklen_t length;
    int fd = make_socket(text, &address, &length);
    if (address.any.sa_family == AF_UNIX) {
        unlink(address.unix_path.sun_path);
    }
    if (bind(fd, &address.any, length) || listen(fd, BACKLOG)) {
        load_die("cannot listen on %s: %s", text, strerror(errno));
    }
    return fd;
}

int load_connect(const char *text)
{
    union address address;
    socklen_t length;
    int fd = make_socket(text, &address, &length);
    if (connect(fd, &address.any, length)) {
        load_die("cannot connect to %s: %s", text, strerror(errno));
    }
    return fd;
}

void load_write(int fd, const void *bytes, size_t length)
{
    const char *at = bytes;
    while (length) {
        ssize_t n = send(fd, at, length, MSG_NOSIGNAL);
        if (n <= 0) {
            load_die("send: %s", strerror(errno));
        }
        at += n;
        length -= (size_t)n;
    }
}

int load_read(int fd, void *bytes, size_t length)
{
    char *at = bytes;
    size_t left = length;
    while (left) {
        ssize_t n = recv(fd, at, left, 0);
        if (n == 0 && left == length) {
            return 0;
        }
        if (n <= 0) {
            load_die("recv: %s", n ? strerror(errno) : "the peer closed too early");
        }
        at += n;
        left -= (size_t)n;
    }
    return 1;
}
