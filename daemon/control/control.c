/* Accepting clients of the control socket and driving their connections. */
#include "daemon/control/control_private.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "build_id.h"
#include "common/clock.h"
#include "common/unixsock.h"
#include "daemon/core/log.h"
#include "daemon/core/timer.h"
#include "proto/interfaces.h"

enum { ACCEPTS_PER_ROUND = 64, CROWD_TOLD_MS = 10000 };

static void on_client(evutil_socket_t fd, short what, void *argument);

bool forward_port_probe(int port)
{
    struct sockaddr_in address = {.sin_family = AF_INET,
        .sin_port = htons((uint16_t)port),
        .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    int one = 1, fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0) {
        return false;
    }
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
    bool bound = !bind(fd, (struct sockaddr *)&address, sizeof address) && !listen(fd, 1);
    close(fd);
    return bound;
}

static void drop_client(struct client *client)
{
    struct control *control = client->control;
    for (struct client **at = &control->clients; *at; at = &(*at)->next) {
        if (*at == client) {
            *at = client->next;
            break;
        }
    }
    control->client_count--;
    event_free(client->event);
    varlink_connection_destroy(client->connection);
    free(client);
    event_add(control->accept_event, NULL); /* it may have been paused for want of room */
}

/* The events of a connection follow from its state; nothing else arms them. */
static void rearm(struct client *client)
{
    short events = varlink_connection_events(client->connection);
    int64_t deadline = varlink_connection_deadline(client->connection);
    struct timeval left, *timeout = NULL;
    if (deadline >= 0) {
        int64_t ms = deadline - clock_monotonic_ms();
        ms = ms > 0 ? ms : 1;
        left = timer_after(ms);
        timeout = &left;
    }
    event_del(client->event);
    event_assign(client->event, client->control->manager->base, client->fd,
        (short)((events & POLLIN ? EV_READ : 0) | (events & POLLOUT ? EV_WRITE : 0) |
                (events & POLLRDHUP ? EV_CLOSED : 0)),
        on_client, client);
    event_add(client->event, timeout);
}

static void on_client(evutil_socket_t fd, short what, void *argument)
{
    (void)fd;
    struct client *client = argument;
    client->used_ms = clock_monotonic_ms();
    short revents = (short)((what & EV_READ ? POLLIN : 0) | (what & EV_WRITE ? POLLOUT : 0) |
                            (what & EV_CLOSED ? POLLRDHUP : 0));
    if (varlink_connection_expire(client->connection, client->used_ms) ||
        varlink_connection_process(client->connection, revents)) {
        drop_client(client);
    } else {
        rearm(client);
    }
}

static void on_change(void *context)
{
    rearm(context);
}

static int add_client(struct control *control, int fd)
{
    struct client *client = calloc(1, sizeof *client);
    if (!client) {
        close(fd);
        return -ENOMEM;
    }
    client->control = control;
    client->fd = fd;
    client->used_ms = clock_monotonic_ms();
    client->connection = varlink_connection_create(control->service, fd);
    client->event = event_new(control->manager->base, fd, EV_READ, on_client, client);
    if (!client->connection || !client->event) {
        if (client->event) {
            event_free(client->event);
        }
        if (client->connection) {
            varlink_connection_destroy(client->connection);
        }
        free(client);
        return -ENOMEM;
    }
    varlink_connection_on_change(client->connection, on_change, client);
    client->next = control->clients;
    control->clients = client;
    control->client_count++;
    rearm(client);
    return 0;
}

/* Whether something waits there to be read, or accepted. */
static bool has_word(int fd)
{
    struct pollfd item = {.fd = fd, .events = POLLIN};
    return poll(&item, 1, 0) > 0;
}

/* The client that has been idle for longest makes room for another: programs that leave their
 * connections open must not lock their user out. False: all are busy. */
static bool drop_idlest(struct control *control)
{
    struct client *idlest = NULL;
    for (struct client *c = control->clients; c; c = c->next) {
        if ((!idlest || c->used_ms <= idlest->used_ms) && /* newest first in the list */
            varlink_connection_is_idle(c->connection) && !has_word(c->fd)) {
            idlest = c;
        }
    }
    if (idlest) {
        drop_client(idlest);
    }
    return idlest != NULL;
}

static void tell_crowd(struct control *control, const char *words)
{
    int64_t now = clock_monotonic_ms();
    if (!control->crowd_told_ms || now - control->crowd_told_ms >= CROWD_TOLD_MS) {
        control->crowd_told_ms = now;
        log_line("control %s clients=%zu", words, control->client_count);
    }
}

/* No descriptor left: take the client with the reserve, turn it away, and have the reserve
 * back. */
static void turn_away(struct control *control)
{
    close(control->reserve);
    int fd = accept4(control->listener, NULL, NULL, SOCK_CLOEXEC);
    if (fd >= 0) {
        close(fd);
    }
    control->reserve = open("/dev/null", O_RDONLY | O_CLOEXEC);
}

static void on_accept(evutil_socket_t listener, short what, void *argument)
{
    (void)what;
    struct control *control = argument;
    for (int i = 0; i < ACCEPTS_PER_ROUND && has_word(listener); i++) {
        if (control->client_count >= control->client_limit) {
            tell_crowd(control, "has no room; the idle must go");
            if (!drop_idlest(control)) {
                event_del(control->accept_event); /* the rest waits in the backlog */
                return;
            }
        }
        uid_t uid = 0;
        int fd = unix_accept_same_uid((int)listener, &uid);
        if (fd == -EACCES) {
            if (!control->refused++) {
                log_audit("control connection refused uid=%u", (unsigned)uid);
            }
        } else if (fd == -EMFILE || fd == -ENFILE) {
            tell_crowd(control, "is out of descriptors");
            if (!drop_idlest(control)) {
                turn_away(control);
            }
        } else if (fd < 0) {
            return;
        } else if (add_client(control, fd)) {
            log_line("control out of memory");
        }
    }
}

/* Keepers, files and probes need descriptors too. */
static size_t choose_limit(void)
{
    struct rlimit limit;
    return !getrlimit(RLIMIT_NOFILE, &limit) && limit.rlim_cur / 2 < CONNECTIONS_LIMIT
               ? (size_t)limit.rlim_cur / 2
               : CONNECTIONS_LIMIT;
}

struct control *control_create(struct manager *manager, struct remote *remote, int listener,
    const struct control_calls *calls, struct error *err)
{
    struct control *control = calloc(1, sizeof *control);
    if (!control) {
        error_set(err, -ENOMEM, "out of memory");
        return NULL;
    }
    control->manager = manager;
    control->remote = remote;
    control->calls = *calls;
    control->listener = listener;
    control->client_limit = choose_limit();
    control->reserve = open("/dev/null", O_RDONLY | O_CLOEXEC);
    control->service =
        varlink_service_create("Gears", "gearsd", GEARS_VERSION, "https://varlink.org");
    if (!control->service || varlink_service_add(control->service, gears_manager_interface,
                                 control_methods, control, err)) {
        free(control);
        return NULL;
    }
    control->accept_event =
        event_new(manager->base, listener, EV_READ | EV_PERSIST, on_accept, control);
    if (!control->accept_event || event_add(control->accept_event, NULL)) {
        error_set(err, -ENOMEM, "out of memory");
        free(control);
        return NULL;
    }
    rebind_start(control);
    return control;
}

void control_destroy(struct control *control)
{
    while (control->clients) {
        drop_client(control->clients);
    }
    rebind_stop(control);
    event_free(control->accept_event);
    varlink_service_destroy(control->service);
    close(control->reserve);
    free(control);
}
