/* One relayed connection: a client, the service, and the bytes between. Bytes are read into one
 * shared buffer and written at once; only what the other side does not take is kept, on the
 * heap, and then nothing more is read from that side: a blocked reader stalls its own
 * connection only. */
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "common/clock.h"
#include "common/unixsock.h"
#include "daemon/relay/relay.h"

enum { PEEK_MS = 5000, RETRY_MS = 20, LINGER_MS = 2000 };

enum phase { PHASE_WAITING, PHASE_CONNECTING, PHASE_RELAYING, PHASE_PEEKING, PHASE_PAGE };

/* One end. `pending` is what this end has yet to take. */
struct end {
    struct source source;
    struct connection *connection;
    char *pending;
    uint32_t pending_at, pending_length;
    uint32_t armed;
    bool read_done, write_done;
};

struct connection {
    struct end client, server;
    struct service *service;
    struct connection *next, **back;
    int64_t deadline_ms; /* of the phase; 0: none */
    enum phase phase;
    bool dead;
};

static char shared[SHARED_BUFFER];

static void arm(struct end *end, uint32_t events)
{
    if (end->source.fd >= 0 && end->armed != events) {
        end->armed = events;
        relay_rearm(end->connection->service->relay, &end->source, events);
    }
}

static void close_end(struct end *end, bool abort_it)
{
    if (end->source.fd < 0) {
        return;
    }
    if (abort_it) { /* an abort is passed on as one, where the socket knows aborts */
        struct linger now = {1, 0};
        setsockopt(end->source.fd, SOL_SOCKET, SO_LINGER, &now, sizeof now);
    }
    close(end->source.fd);
    end->source.fd = -1;
    free(end->pending);
    end->pending = NULL;
}

static void finish(struct connection *connection, bool abort_it)
{
    struct relay *relay = connection->service->relay;
    if (connection->dead) {
        return;
    }
    connection->dead = true;
    close_end(&connection->client, abort_it);
    close_end(&connection->server, abort_it);
    *connection->back = connection->next;
    if (connection->next) {
        connection->next->back = connection->back;
    }
    atomic_fetch_sub(&relay->counters[connection->service->slot].connections, 1);
    relay->open_connections--;
    connection->next = relay->dead;
    relay->dead = connection;
    if (relay->paused) {
        listener_pause(relay, false);
    }
}

void connection_free_dead(struct relay *relay)
{
    while (relay->dead) {
        struct connection *next = relay->dead->next;
        free(relay->dead);
        relay->dead = next;
    }
}

static void set_deadline(struct connection *connection, int64_t ms)
{
    connection->deadline_ms = ms ? clock_monotonic_ms() + ms : 0;
    if (ms) {
        relay_timer(connection->service->relay, connection->deadline_ms);
    }
}

/* What each end waits for follows from the state alone. */
static void rearm(struct connection *connection)
{
    struct end *ends[2] = {&connection->client, &connection->server};
    for (int i = 0; i < 2; i++) {
        struct end *me = ends[i], *other = ends[1 - i];
        uint32_t events = 0;
        if (connection->phase == PHASE_RELAYING) {
            events |= !me->read_done && !other->pending_length ? EPOLLIN : 0;
        } else if (connection->phase == PHASE_PEEKING && i == 0) {
            events |= EPOLLIN;
        } else if (connection->phase == PHASE_WAITING && i == 0) {
            events |= EPOLLRDHUP;
        } else if (connection->phase == PHASE_CONNECTING && i == 1) {
            events |= EPOLLOUT;
        }
        events |= me->pending_length ? EPOLLOUT : 0;
        arm(me, events);
    }
}

static int keep(struct end *to, const char *bytes, size_t length)
{
    to->pending = malloc(length);
    if (!to->pending) {
        return -ENOMEM;
    }
    memcpy(to->pending, bytes, length);
    to->pending_at = 0;
    to->pending_length = (uint32_t)length;
    return 0;
}

static void count(struct connection *connection, const struct end *from, size_t length)
{
    struct relay_counters *counters =
        &connection->service->relay->counters[connection->service->slot];
    atomic_fetch_add_explicit(
        from == &connection->client ? &counters->bytes_in : &counters->bytes_out, length,
        memory_order_relaxed);
}

/* Half-close: the end of one side's bytes becomes the end of what the other reads. */
static void pass_end(struct end *from, struct end *to)
{
    if (from->read_done && !to->pending_length && !to->write_done) {
        to->write_done = true;
        shutdown(to->source.fd, SHUT_WR);
    }
}

/* 0, or negative when the connection broke. */
static int pump(struct end *from, struct end *to)
{
    size_t budget = ROUND_BUDGET;
    while (budget && !to->pending_length && !from->read_done) {
        ssize_t n = recv(from->source.fd, shared, sizeof shared, 0);
        if (n < 0) {
            return errno == EAGAIN || errno == EINTR ? 0 : -errno;
        }
        if (n == 0) {
            from->read_done = true;
            break;
        }
        count(from->connection, from, (size_t)n);
        ssize_t sent = send(to->source.fd, shared, (size_t)n, MSG_NOSIGNAL);
        if (sent < 0 && errno != EAGAIN && errno != EINTR) {
            return -errno;
        }
        sent = sent < 0 ? 0 : sent;
        if (sent < n && keep(to, shared + sent, (size_t)(n - sent))) {
            return -ENOMEM;
        }
        budget -= (size_t)n < budget ? (size_t)n : budget;
        if ((size_t)n < sizeof shared / 2) {
            break; /* probably empty now; epoll tells if not */
        }
    }
    pass_end(from, to);
    return 0;
}

static int flush(struct end *to)
{
    while (to->pending_length) {
        ssize_t n =
            send(to->source.fd, to->pending + to->pending_at, to->pending_length, MSG_NOSIGNAL);
        if (n < 0) {
            return errno == EAGAIN || errno == EINTR ? 0 : -errno;
        }
        to->pending_at += (uint32_t)n;
        to->pending_length -= (uint32_t)n;
    }
    free(to->pending);
    to->pending = NULL;
    return 0;
}

static void relay_bytes(struct connection *connection, struct end *me, uint32_t events)
{
    struct end *other = me == &connection->client ? &connection->server : &connection->client;
    int code = 0;
    if (events & EPOLLOUT) {
        code = flush(me);
        if (!code && !me->pending_length) {
            pass_end(other, me);
        }
    }
    if (!code && (events & (EPOLLIN | EPOLLHUP | EPOLLERR))) {
        code = pump(me, other);
    }
    if (!code && (events & EPOLLERR)) {
        int failure = 0;
        socklen_t length = sizeof failure;
        getsockopt(me->source.fd, SOL_SOCKET, SO_ERROR, &failure, &length);
        code = failure ? -failure : 0;
    }
    bool both_done = connection->client.read_done && connection->server.read_done &&
                     !connection->client.pending_length && !connection->server.pending_length;
    /* Hung up both ways with nothing left to read: what is pending for it can go nowhere. */
    bool hung = (events & EPOLLHUP) && me->read_done;
    if (code || both_done || (hung && !other->pending_length && me->write_done)) {
        finish(connection, code != 0);
    } else if (hung) {
        free(me->pending);
        me->pending = NULL;
        me->pending_length = 0;
        if (!other->pending_length) {
            finish(connection, true);
        } else {
            rearm(connection);
        }
    } else {
        rearm(connection);
    }
}

static void send_page(struct connection *connection)
{
    size_t length;
    char *page = page503_make(connection->service, &length);
    atomic_fetch_add(
        &connection->service->relay->counters[connection->service->slot].refused, 1);
    if (page) {
        (void)!send(connection->client.source.fd, page, length, MSG_NOSIGNAL);
        free(page);
    }
    shutdown(connection->client.source.fd, SHUT_WR);
    connection->phase =
        PHASE_PAGE; /* drain what it still says, so that no reset eats the page */
    arm(&connection->client, EPOLLIN);
    set_deadline(connection, LINGER_MS);
}

static void peek(struct connection *connection)
{
    char bytes[16];
    ssize_t n = recv(connection->client.source.fd, bytes, sizeof bytes, MSG_PEEK);
    if (n < 0 && (errno == EAGAIN || errno == EINTR)) {
        return;
    }
    int http = n > 0 ? page503_is_http(bytes, (size_t)n) : 0;
    if (http == 1) {
        send_page(connection);
    } else {
        finish(connection,
            false); /* not HTTP, or too little to tell: bytes do not wake us again */
    }
}

static void go_down(struct connection *connection)
{
    connection->phase = PHASE_PEEKING;
    set_deadline(connection, PEEK_MS);
    rearm(connection);
    peek(connection);
}

static void trouble(struct connection *connection, int code)
{
    struct service *service = connection->service;
    struct link_frame frame;
    close_end(&connection->server, false);
    connection->server.armed = 0;
    connection->phase = PHASE_WAITING;
    connection->deadline_ms = connection->deadline_ms ? connection->deadline_ms : 0;
    atomic_fetch_add(&service->relay->counters[service->slot].failed, 1);
    link_frame_start(&frame, LINK_RELAY_TROUBLE, 0);
    link_frame_string(&frame, LINK_TAG_SERVICE, service->name);
    link_frame_u64(&frame, LINK_TAG_ERRNO, (uint64_t)-code);
    link_frame_string(&frame, LINK_TAG_TEXT, strerror(-code));
    control_send(service->relay, &frame);
    relay_timer(service->relay, clock_monotonic_ms() + RETRY_MS * 10);
    rearm(connection);
}

static int connect_service(const struct service *service)
{
    if (service->target_path[0]) {
        return unix_connect(service->target_path, SOCK_STREAM, true, NULL);
    }
    struct sockaddr_in address = {.sin_family = AF_INET,
        .sin_port = htons(service->target_port),
        .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    int one = 1, fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0) {
        return -errno;
    }
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    if (connect(fd, (struct sockaddr *)&address, sizeof address) && errno != EINPROGRESS) {
        int code = -errno;
        close(fd);
        return code;
    }
    return fd;
}

static void on_ready(struct source *source, uint32_t events)
{
    struct end *end = (struct end *)source;
    struct connection *connection = end->connection;
    if (connection->dead || source->fd < 0) {
        return;
    }
    switch (connection->phase) {
    case PHASE_RELAYING:
        relay_bytes(connection, end, events);
        break;
    case PHASE_CONNECTING:
        if (end == &connection->client) {
            finish(connection, false); /* it left before the service answered */
        } else if (events & (EPOLLERR | EPOLLHUP)) {
            trouble(connection, -ECONNREFUSED);
        } else {
            connection->phase = PHASE_RELAYING;
            connection->deadline_ms = 0;
            rearm(connection);
        }
        break;
    case PHASE_PEEKING:
        peek(connection);
        break;
    case PHASE_PAGE:
        if (recv(source->fd, shared, sizeof shared, 0) <= 0) {
            finish(connection, false);
        }
        break;
    default:
        if (events & (EPOLLHUP | EPOLLERR)) {
            finish(connection, false);
        } else {
            arm(end, 0); /* a half-closed client may still want the answer */
        }
    }
}

void connection_retry(struct connection *connection)
{
    struct service *service = connection->service;
    if (connection->dead || connection->phase != PHASE_WAITING) {
        return;
    }
    if (service->state == LINK_SERVICE_DOWN) {
        go_down(connection);
        return;
    }
    if (service->state != LINK_SERVICE_UP) {
        return;
    }
    int fd = connect_service(service);
    if (fd == -EAGAIN) { /* a full backlog: soon again, the client stays */
        relay_timer(service->relay, clock_monotonic_ms() + RETRY_MS);
        return;
    }
    if (fd < 0) {
        trouble(connection, fd);
        return;
    }
    connection->server.source.fd = fd;
    connection->phase = PHASE_CONNECTING;
    if (service->target_path[0]) { /* a Unix connect is done at once */
        connection->phase = PHASE_RELAYING;
        connection->deadline_ms = 0;
    }
    if (relay_watch(service->relay, &connection->server.source, 0)) {
        finish(connection, false);
        return;
    }
    connection->server.armed = 0;
    rearm(connection);
    if (connection->phase == PHASE_RELAYING) {
        relay_bytes(connection, &connection->client, EPOLLIN);
    }
}

void connection_start(struct service *service, int fd)
{
    struct relay *relay = service->relay;
    struct connection *connection = calloc(1, sizeof *connection);
    if (!connection) {
        close(fd);
        return;
    }
    connection->service = service;
    connection->client = (struct end){.source = {on_ready, fd}, .connection = connection};
    connection->server = (struct end){.source = {on_ready, -1}, .connection = connection};
    connection->next = service->connections;
    connection->back = &service->connections;
    if (connection->next) {
        connection->next->back = &connection->next;
    }
    service->connections = connection;
    relay->open_connections++;
    atomic_fetch_add(&relay->counters[service->slot].connections, 1);
    connection->phase = PHASE_WAITING;
    if (relay_watch(relay, &connection->client.source, 0)) {
        finish(connection, false);
        return;
    }
    set_deadline(connection, service->wait_ms);
    if (service->state == LINK_SERVICE_STARTING && !service->demanded) {
        struct link_frame frame;
        service->demanded = true;
        link_frame_start(&frame, LINK_RELAY_DEMAND, 0);
        link_frame_string(&frame, LINK_TAG_SERVICE, service->name);
        control_send(relay, &frame);
    }
    rearm(connection);
    connection_retry(connection);
}

void service_changed(struct service *service)
{
    service->demanded = false;
    for (struct connection *c = service->connections, *next; c; c = next) {
        next = c->next;
        connection_retry(c);
    }
}

void connection_close_all(struct service *service)
{
    while (service->connections) {
        finish(service->connections, true);
    }
}

static void run_timer(struct connection *connection, int64_t now_ms)
{
    if (connection->phase == PHASE_WAITING && connection->service->state == LINK_SERVICE_UP) {
        connection_retry(connection);
        if (!connection->dead && connection->phase == PHASE_WAITING) {
            relay_timer(connection->service->relay, now_ms + RETRY_MS * 10);
        }
    }
    if (connection->dead || !connection->deadline_ms) {
        return;
    }
    if (now_ms < connection->deadline_ms) {
        relay_timer(connection->service->relay, connection->deadline_ms);
    } else if (connection->phase == PHASE_WAITING) {
        go_down(connection);
    } else {
        finish(connection, false);
    }
}

void connection_run_timers(struct relay *relay, int64_t now_ms)
{
    for (struct service *s = relay->services; s; s = s->next) {
        for (struct connection *c = s->connections, *next; c; c = next) {
            next = c->next;
            run_timer(c, now_ms);
        }
    }
}
