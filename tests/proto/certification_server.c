/* certification_server SOCKET: serves org.varlink.certification with a small poll loop until
 * its standard input ends; says "ready" on standard output once it listens. */
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "common/clock.h"
#include "common/unixsock.h"
#include "tests/proto/certification.h"

enum { CONNECTIONS = 256, FIXED = 2 };

static struct varlink_connection *connections[CONNECTIONS];
static struct pollfd items[FIXED + CONNECTIONS]; /* standard input, listener, connections */
static size_t count;

static void add_connection(struct varlink_service *service, int fd)
{
    struct varlink_connection *connection = varlink_connection_create(service, fd);
    if (connection) {
        items[FIXED + count] = (struct pollfd){.fd = fd};
        connections[count++] = connection;
    }
}

static void drop_connection(size_t index)
{
    varlink_connection_destroy(connections[index]);
    connections[index] = connections[--count];
    items[FIXED + index] = items[FIXED + count];
}

/* What to wait for; gives poll's timeout. */
static int prepare(int listener)
{
    int64_t first = -1;
    items[0] = (struct pollfd){.fd = STDIN_FILENO, .events = POLLIN};
    items[1] = (struct pollfd){.fd = count < CONNECTIONS ? listener : -1, .events = POLLIN};
    for (size_t i = 0; i < count; i++) {
        int64_t deadline = varlink_connection_deadline(connections[i]);
        items[FIXED + i].events = varlink_connection_events(connections[i]);
        items[FIXED + i].revents = 0;
        first = deadline >= 0 && (first < 0 || deadline < first) ? deadline : first;
    }
    int64_t left = first < 0 ? -1 : first - clock_monotonic_ms();
    return first < 0 ? -1 : left > 0 ? (int)left : 0;
}

static void serve_round(void)
{
    for (size_t i = count; i-- > 0;) {
        short revents = items[FIXED + i].revents;
        if (varlink_connection_expire(connections[i], clock_monotonic_ms()) ||
            (revents && varlink_connection_process(connections[i], revents))) {
            drop_connection(i);
        }
    }
}

int main(int argc, char **argv)
{
    struct error err = {""};
    struct varlink_service *service = certification_create();
    int listener = argc == 2 && service ? unix_listen(argv[1], SOCK_STREAM, 64, &err) : -EINVAL;
    if (listener < 0) {
        fprintf(stderr, "usage: certification_server SOCKET; %s\n", err.text);
        return 2;
    }
    printf("ready\n");
    fflush(stdout);
    for (;;) {
        int timeout = prepare(listener);
        int n = poll(items, FIXED + count, timeout);
        if ((n < 0 && errno != EINTR) || (n > 0 && items[0].revents)) {
            break;
        }
        if (n < 0) {
            continue;
        }
        serve_round();
        int fd = items[1].revents ? unix_accept_same_uid(listener, NULL) : -1;
        if (fd >= 0) {
            add_connection(service, fd);
        }
    }
    while (count) {
        drop_connection(count - 1);
    }
    varlink_service_destroy(service);
    close(listener);
    unlink(argv[1]);
    return 0;
}
