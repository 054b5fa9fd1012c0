/* The server: waits for requests with epoll, serves each transfer with blocking calls, so that
 * the server costs as little as it can and the same beside every relay. */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "tests/bench/load.h"

enum { LISTENERS = 8, EVENTS = 64 };

static char block[BULK_BLOCK];

static void send_bulk(int fd, uint64_t left)
{
    while (left) {
        size_t n = left < sizeof block ? (size_t)left : sizeof block;
        load_write(fd, block, n);
        left -= n;
    }
}

static void take_bulk(int fd, uint64_t left)
{
    while (left) {
        ssize_t n = recv(fd, block, left < sizeof block ? (size_t)left : sizeof block, 0);
        if (n <= 0) {
            load_die("upload: %s", n ? strerror(errno) : "the client closed too early");
        }
        left -= (uint64_t)n;
    }
    load_write(fd, "k", 1);
}

static void echo(int fd, uint64_t messages, size_t size)
{
    if (!size || size > sizeof block) {
        load_die("an echo of %zu bytes", size);
    }
    for (; messages && load_read(fd, block, size); messages--) {
        load_write(fd, block, size);
    }
}

/* False when the client is gone. */
static int serve_request(int fd)
{
    struct load_request request;
    if (!load_read(fd, &request, sizeof request)) {
        return 0;
    }
    switch (request.mode) {
    case LOAD_DOWN:
        send_bulk(fd, request.amount);
        break;
    case LOAD_UP:
        take_bulk(fd, request.amount);
        break;
    case LOAD_ECHO:
        echo(fd, request.amount, request.size);
        break;
    default: /* LOAD_ONCE, LOAD_IDLE */
        load_write(fd, &request, sizeof request);
    }
    return 1;
}

static void watch(int epoll, int fd)
{
    struct epoll_event event = {.events = EPOLLIN, .data.fd = fd};
    if (fd < 0 || epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &event)) {
        load_die("cannot watch descriptor %d: %s", fd, strerror(errno));
    }
}

void load_serve(int count, char **addresses)
{
    struct epoll_event events[EVENTS];
    int epoll = epoll_create1(EPOLL_CLOEXEC), last_listener = 0;
    for (int i = 0; i < count && i < LISTENERS; i++) {
        last_listener = load_listen(addresses[i]); /* descriptors count up from here */
        watch(epoll, last_listener);
    }
    for (;;) {
        int n = epoll_wait(epoll, events, EVENTS, -1);
        for (int i = 0; i < n; i++) {
            int fd = events[i].data.fd;
            if (fd <= last_listener) {
                watch(epoll, accept4(fd, NULL, NULL, SOCK_CLOEXEC));
            } else if (!serve_request(fd)) {
                close(fd);
            }
        }
    }
}
