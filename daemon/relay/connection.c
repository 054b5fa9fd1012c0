/* The life of a relayed connection: its phases, deadlines and end. Moving bytes is transfer.c,
 * reaching the service connect.c, turning a client away refusal.c. */
#include "daemon/relay/connection.h"

#include <assert.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "common/clock.h"

/* With malloc's own 8 bytes: 128 for an idle connection. */
static_assert(sizeof(struct connection) <= 120, "an idle connection costs 128 bytes");

static void close_end(struct end *end, bool abort_it)
{
    transfer_drop(end);
    if (abort_it && end->source.fd >= 0) {
        struct linger now = {1, 0};
        setsockopt(end->source.fd, SOL_SOCKET, SO_LINGER, &now, sizeof now);
    }
    relay_close(&end->source);
}

static void link_last(struct connection *connection)
{
    struct service *service = connection->service;
    connection->back = service->last;
    *service->last = connection;
    service->last = &connection->next;
}

static void unlink_it(struct connection *connection)
{
    *connection->back = connection->next;
    if (connection->next) {
        connection->next->back = connection->back;
    } else {
        connection->service->last = connection->back;
    }
}

void connection_waits_no_more(const struct connection *connection)
{
    if (connection->service->demander == connection) {
        connection->service->demander = NULL;
    }
}

void connection_finish(struct connection *connection, bool abort_it)
{
    struct relay *relay = connection->service->relay;
    if (connection->dead) {
        return;
    }
    connection->dead = true;
    if (connection->phase == PHASE_REACHING) {
        reach_forget(connection);
    }
    connection_waits_no_more(connection);
    close_end(&connection->client, abort_it);
    close_end(&connection->server, abort_it);
    unlink_it(connection);
    atomic_fetch_sub(&connection_counters(connection)->connections, 1);
    relay->open_connections--;
    relay->unsettled -= connection->phase != PHASE_RELAYING;
    connection->next = relay->dead;
    relay->dead = connection;
    listener_resume(relay);
}

void connection_free_dead(struct relay *relay)
{
    while (relay->dead) {
        struct connection *next = relay->dead->next;
        free(relay->dead);
        relay->dead = next;
    }
}

/* What each end waits for follows from the state alone. */
static uint32_t wanted_events(struct connection *connection, struct end *end)
{
    switch (connection->phase) {
    case PHASE_RELAYING:
        return transfer_wants(end);
    case PHASE_CONNECTING:
        return end->is_server ? EPOLLOUT : SOURCE_QUIET;
    case PHASE_LINGERING:
        return EPOLLIN | EPOLLOUT | EPOLLET;
    case PHASE_PEEKING: /* an edge: bytes too few to tell must not wake us again */
        return EPOLLIN | EPOLLRDHUP | EPOLLET;
    case PHASE_LEAVING:
        return EPOLLIN;
    default:
        return SOURCE_QUIET;
    }
}

void connection_rearm(struct connection *connection)
{
    struct relay *relay = connection->service->relay;
    struct end *ends[2] = {&connection->client, &connection->server};
    for (int i = 0; i < 2 && !connection->dead; i++) {
        if (ends[i]->source.fd >= 0 &&
            relay_arm(relay, &ends[i]->source, wanted_events(connection, ends[i]))) {
            connection_finish(connection, true); /* the kernel has no room to watch it */
        }
    }
}

void connection_enter(struct connection *connection, enum phase phase, int64_t ms)
{
    connection->phase = phase;
    connection->deadline_ms = ms ? clock_monotonic_ms() + ms : 0;
    if (ms) {
        relay_timer(connection->service->relay, connection->deadline_ms);
    }
    connection_rearm(connection);
}

static void on_ready(struct source *source, uint32_t events)
{
    struct end *end = (struct end *)source;
    struct connection *connection = end_connection(end);
    if (source->fd < 0) { /* closed earlier in this round */
        return;
    }
    switch (connection->phase) {
    case PHASE_RELAYING:
        transfer_ready(end, events);
        break;
    case PHASE_LINGERING:
        linger_ready(end);
        break;
    case PHASE_CONNECTING:
        if (end->is_server) {
            connect_finished(connection, events);
            break;
        }
        /* fall through */
    case PHASE_REACHING:
    case PHASE_WAITING: /* a half-closed client still wants its answer; this one left */
        if (events & (EPOLLHUP | EPOLLERR)) {
            connection_finish(connection, false);
        }
        break;
    default:
        refusal_ready(connection, events);
    }
}

void connection_start(struct service *service, int fd, bool is_tcp)
{
    struct relay *relay = service->relay;
    struct connection *connection = calloc(1, sizeof *connection);
    if (!connection) {
        close(fd);
        return;
    }
    connection->service = service;
    connection->client = (struct end){.source = {on_ready, fd, 0}, .is_tcp = is_tcp};
    connection->server = (struct end){
        .source = {on_ready, -1, 0}, .is_server = true, .is_tcp = !service->target_path[0]};
    link_last(connection);
    atomic_fetch_add(&connection_counters(connection)->connections, 1);
    if (++relay->open_connections >= relay->most_connections) {
        listener_pause(relay);
    }
    connection->phase = PHASE_WAITING;
    relay->unsettled++;
    connect_try(connection);
}

void connection_service_changed(struct service *service)
{
    service->retry_ms = 0;
    for (struct connection *c = service->connections, *next; c; c = next) {
        next = c->next;
        if (c->phase == PHASE_PEEKING && service->state != LINK_SERVICE_DOWN) {
            c->phase = PHASE_WAITING; /* it has said nothing yet: nothing need be refused */
            c->deadline_ms = 0;
        }
        if (c->phase == PHASE_WAITING) {
            connect_try(c);
        }
    }
}

void connection_close_all(struct service *service)
{
    while (service->connections) {
        connection_finish(service->connections, true);
    }
}

static bool is_on_its_way(const struct connection *connection)
{
    return connection->phase == PHASE_WAITING || connection->phase == PHASE_REACHING ||
           connection->phase == PHASE_CONNECTING;
}

static void run_timer(struct connection *connection, int64_t now_ms)
{
    struct reach *reach = connection->service->relay->reach;
    bool over = connection->deadline_ms && now_ms >= connection->deadline_ms;
    if (connection->phase == PHASE_REACHING) {
        over = over || reach_is_stuck(reach);
        relay_timer(connection->service->relay, reach_due_ms(reach));
    }
    if (over && is_on_its_way(connection)) {
        connect_give_up(connection);
        return;
    }
    if (over) {
        connection_finish(connection, false);
        return;
    }
    if (connection->deadline_ms) {
        relay_timer(connection->service->relay, connection->deadline_ms);
    }
    if (connection->phase == PHASE_WAITING) {
        connect_try(connection);
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
