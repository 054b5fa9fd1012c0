/* Reaching the service: a connection waits while it starts or has no room, and goes on when it
 * can be reached. */
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "common/clock.h"
#include "common/unixsock.h"
#include "daemon/relay/connection.h"

enum { FULL_RETRY_MS = 20, TROUBLE_RETRY_MS = 200 };

/* A loopback connect to a port nobody listens on can, by chance, meet itself. */
static bool met_itself(int fd, uint16_t port)
{
    struct sockaddr_in mine = {0};
    socklen_t length = sizeof mine;
    return !getsockname(fd, (struct sockaddr *)&mine, &length) && ntohs(mine.sin_port) == port;
}

static int open_tcp(uint16_t port, bool *done)
{
    struct sockaddr_in address = {.sin_family = AF_INET,
        .sin_port = htons(port),
        .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    int one = 1, fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0) {
        return -errno;
    }
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    int code = connect(fd, (struct sockaddr *)&address, sizeof address) ? -errno : 0;
    *done = !code;
    if (code == -EINPROGRESS) {
        code = 0;
    }
    if (!code && met_itself(fd, port)) {
        code = -ECONNREFUSED;
    }
    if (code) {
        close(fd);
        return code;
    }
    return fd;
}

static void relay_now(struct connection *connection)
{
    connection->phase = PHASE_RELAYING;
    connection->service->relay->unsettled--;
    connection->deadline_ms = 0;
    transfer_ready(&connection->client, EPOLLIN); /* it has mostly spoken already */
}

/* Once for those who wait together: gearsd may tell a new state of the service for each. */
static void demand(const struct connection *connection)
{
    struct service *service = connection->service;
    struct link_frame frame;
    if (service->state == LINK_SERVICE_STARTING && !service->demander) {
        service->demander = connection;
        link_frame_start(&frame, LINK_RELAY_DEMAND, 0);
        link_frame_string(&frame, LINK_TAG_SERVICE, service->name);
        control_send(service->relay, &frame);
    }
}

/* Nobody tells a draining relay when a service is up. A path it can simply try; a port may by
 * now be another program's. */
static bool may_try(const struct service *service)
{
    return service->state == LINK_SERVICE_UP ||
           (service->state == LINK_SERVICE_STARTING && service->relay->draining &&
               (service->is_fed ? service->feed_path[0] : service->target_path[0]));
}

static void wait_on(struct connection *connection)
{
    struct service *service = connection->service;
    connection->phase = PHASE_WAITING;
    if (!connection->deadline_ms) {
        connection->deadline_ms = clock_monotonic_ms() + service->wait_ms;
    }
    relay_timer(service->relay, connection->deadline_ms);
    if (may_try(service)) {
        relay_timer(service->relay, service->retry_ms);
    }
    demand(connection);
    connection_rearm(connection);
}

/* The service, or the tunnel to it, cannot be reached: tell gearsd why, and try again a little
 * later. */
static void trouble(struct connection *connection, int code)
{
    struct service *service = connection->service;
    struct relay *relay = service->relay;
    struct link_frame frame;
    relay_close(&connection->server.source);
    service->retry_ms = clock_monotonic_ms() + TROUBLE_RETRY_MS;
    if (code == -EMFILE || code == -ENFILE) { /* ours, not the service's */
        listener_pause(relay);
    } else if (code == -EAGAIN) { /* its backlog is full: soon again, the client stays */
        service->retry_ms = clock_monotonic_ms() + FULL_RETRY_MS;
    } else {
        atomic_fetch_add(&connection_counters(connection)->failed, 1);
        link_frame_start(&frame, LINK_RELAY_TROUBLE, 0);
        link_frame_string(&frame, LINK_TAG_SERVICE, service->name);
        link_frame_u64(&frame, LINK_TAG_ERRNO, (uint64_t)-code);
        link_frame_string(&frame, LINK_TAG_TEXT, strerror(-code));
        control_send(relay, &frame);
    }
    wait_on(connection);
}

/* Be in `phase` until an answer comes. */
static void await(struct connection *connection, enum phase phase)
{
    struct service *service = connection->service;
    connection->phase = phase;
    if (!connection->deadline_ms) {
        connection->deadline_ms = clock_monotonic_ms() + service->wait_ms;
        relay_timer(service->relay, connection->deadline_ms);
    }
    connection_rearm(connection);
}

static void try_port(struct connection *connection)
{
    bool done = true;
    int fd = open_tcp(connection->service->target_port, &done);
    if (fd < 0) {
        trouble(connection, fd);
        return;
    }
    connection->server.source.fd = fd;
    if (done) {
        relay_now(connection);
    } else {
        await(connection, PHASE_CONNECTING);
    }
}

static void try_path(struct connection *connection, const char *path, int type)
{
    struct relay *relay = connection->service->relay;
    if (!path[0]) {
        trouble(connection, -ENOENT);
        return;
    }
    if (!relay->reach) {
        connect_reached(connection, unix_connect(path, type, true, NULL));
        return;
    }
    int code = reach_submit(connection, path, type);
    if (code == -ETIMEDOUT) {
        connect_give_up(connection);
    } else if (code) {
        trouble(connection, code);
    } else {
        relay_timer(relay, reach_due_ms(relay->reach));
        await(connection, PHASE_REACHING);
    }
}

void connect_try(struct connection *connection)
{
    struct service *service = connection->service;
    if (service->state == LINK_SERVICE_DOWN) {
        connect_give_up(connection);
        return;
    }
    if (!may_try(service) || (service->retry_ms && clock_monotonic_ms() < service->retry_ms)) {
        wait_on(connection);
        return;
    }
    if (service->is_fed) {
        try_path(connection, service->feed_path, SOCK_SEQPACKET);
    } else if (service->target_path[0]) {
        connection->server.is_tcp = false;
        try_path(connection, service->target_path, SOCK_STREAM);
    } else {
        connection->server.is_tcp = true;
        try_port(connection);
    }
}

void connect_reached(struct connection *connection, int fd)
{
    int code = fd < 0 ? fd : 0;
    if (!code && connection->service->is_fed) {
        code = handover_do(connection, fd);
    } else if (!code) {
        connection->server.source.fd = fd;
        relay_now(connection);
    }
    if (code) {
        trouble(connection, code);
    }
}

void connect_finished(struct connection *connection, uint32_t events)
{
    if (events & (EPOLLERR | EPOLLHUP)) {
        trouble(connection, -ECONNREFUSED);
    } else {
        relay_now(connection);
    }
}

void connect_give_up(struct connection *connection)
{
    if (connection->phase == PHASE_REACHING) {
        reach_forget(connection);
    }
    relay_close(&connection->server.source);
    connection_waits_no_more(connection);
    refusal_start(connection);
}
