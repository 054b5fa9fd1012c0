/* A client of a service that is down: one that speaks HTTP gets a page that says so, any other
 * is closed. */
#include <errno.h>
#include <stdlib.h>
#include <sys/socket.h>

#include "common/page503.h"
#include "daemon/relay/connection.h"

enum { PEEK_MS = 5000, LINGER_MS = 2000 };

static void send_page(struct connection *connection)
{
    const struct service *service = connection->service;
    struct page503 what = {service->name, service->cause, service->command, service->since_us};
    if (reach_is_stuck(service->relay->reach)) {
        what.cause = "out of reach: the file system of its socket does not answer";
        what.command = ""; /* it would wait there, too */
    }
    size_t length;
    char *page = page503_make(&what, &length);
    if (page) { /* a new connection's buffer has room for it */
        (void)!send(connection->client.source.fd, page, length, MSG_NOSIGNAL);
        free(page);
    }
}

/* Nothing more is said, but what the client says is read on for a while: closing on unread
 * bytes would reset it, page and all. */
static void say_goodbye(struct connection *connection)
{
    atomic_fetch_add(&connection_counters(connection)->refused, 1);
    shutdown(connection->client.source.fd, SHUT_WR);
    connection_enter(connection, PHASE_LEAVING, LINGER_MS);
}

static void peek(struct connection *connection, uint32_t events)
{
    char bytes[16];
    ssize_t n = recv(connection->client.source.fd, bytes, sizeof bytes, MSG_PEEK);
    if (n == 0 || (n < 0 && errno != EAGAIN) || events & (EPOLLHUP | EPOLLERR)) {
        connection_finish(connection, false);
        return;
    }
    int http = n > 0 ? page503_is_http(bytes, (size_t)n) : -1;
    if (http == 1) {
        send_page(connection);
    }
    if (http >= 0 || events & EPOLLRDHUP) {
        say_goodbye(connection);
    } /* else more may come, within PEEK_MS */
}

static void read_on(struct connection *connection)
{
    char bytes[4096];
    ssize_t n = recv(connection->client.source.fd, bytes, sizeof bytes, 0);
    if (n == 0 || (n < 0 && errno != EAGAIN)) {
        connection_finish(connection, false);
    }
}

void refusal_start(struct connection *connection)
{
    connection_enter(connection, PHASE_PEEKING, PEEK_MS);
    if (!connection->dead) {
        peek(connection, 0);
    }
}

void refusal_ready(struct connection *connection, uint32_t events)
{
    if (connection->phase == PHASE_PEEKING) {
        peek(connection, events);
    } else {
        read_on(connection);
    }
}
