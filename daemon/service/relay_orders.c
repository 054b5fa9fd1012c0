/* What the relay is told of each service and route, never faster than it answers. */
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>

#include "daemon/core/log.h"
#include "daemon/core/timer.h"
#include "daemon/service/relay_client_private.h"

enum { WAIT_MS = 120000, ORDERS_MOST = 32, UNANSWERED_MS = 1000 };

static enum link_service_state relay_state(const struct service *service)
{
    switch (service->machine.state) {
    case SERVICE_READY:
        return LINK_SERVICE_UP;
    case SERVICE_STARTING:
    case SERVICE_BACKOFF:
        return LINK_SERVICE_STARTING;
    case SERVICE_STOPPING:
        return service->machine.again ? LINK_SERVICE_STARTING : LINK_SERVICE_DOWN;
    default:
        return LINK_SERVICE_DOWN;
    }
}

void relay_send(struct relay_client *client, struct link_frame *frame)
{
    int code = client->peer ? link_peer_send(client->peer, frame) : -ENOTCONN;
    if (!client->peer) {
        link_frame_finish(frame);
    } else if (code) {
        log_line("relay takes no message cause=\"%s\"", strerror(-code));
    } else {
        client->orders++;
    }
}

/* At `path` and at `port`; "" and 0 are none. */
static void send_listeners(
    struct relay_client *client, const char *name, const char *path, uint16_t port)
{
    struct link_frame frame;
    if (path[0]) {
        link_frame_start(&frame, LINK_RELAY_LISTEN, 0);
        link_frame_string(&frame, LINK_TAG_SERVICE, name);
        link_frame_string(&frame, LINK_TAG_LISTEN_PATH, path);
        relay_send(client, &frame);
    }
    if (port) {
        link_frame_start(&frame, LINK_RELAY_LISTEN, 0);
        link_frame_string(&frame, LINK_TAG_SERVICE, name);
        link_frame_u64(&frame, LINK_TAG_LISTEN_PORT, port);
        relay_send(client, &frame);
    }
}

/* "STATE: CAUSE", for whoever meets the relay instead of the service. */
static void describe(const struct service *service, char *out, size_t size)
{
    const char *cause = service->cause[0] ? service->cause : service->health.message;
    if (!service->cause[0] && service->machine.state == SERVICE_STOPPED) {
        cause = service->exit.note[0]            ? service->exit.note
                : service->exit.how == EXIT_NONE ? "not started yet"
                : service->machine.wanted        ? "it ended by itself"
                                                 : "it was told to stop";
    }
    snprintf(out, size, "%s%s%s", service_state_name(service->machine.state),
        *cause ? ": " : "", cause);
}

static void start_put(struct relay_client *client, struct link_frame *frame, const char *name)
{
    uint32_t slot = ++client->request % 256;
    snprintf(client->asked[slot], sizeof client->asked[slot], "%s", name);
    link_frame_start(frame, LINK_RELAY_SERVICE, SLOT_REQUEST + slot);
    link_frame_string(frame, LINK_TAG_SERVICE, name);
}

static void put(struct relay_client *client, struct service *service)
{
    struct link_frame frame;
    const char *name = service->config->name;
    char path[PATH_MAX], command[80], cause[200];
    start_put(client, &frame, name);
    if (service->launch.port) {
        link_frame_u64(&frame, LINK_TAG_TARGET_PORT, service->launch.port);
    } else {
        home_path(&client->manager->home, path, "run", "own/%s.sck", name);
        link_frame_string(&frame, LINK_TAG_TARGET_PATH, path);
    }
    snprintf(command, sizeof command, "gearsctl start %s", name);
    link_frame_u64(&frame, LINK_TAG_SERVICE_STATE, (uint64_t)relay_state(service));
    describe(service, cause, sizeof cause);
    link_frame_string(&frame, LINK_TAG_TEXT, cause);
    link_frame_u64(&frame, LINK_TAG_SINCE, (uint64_t)service->since_us);
    link_frame_string(&frame, LINK_TAG_COMMAND, command);
    link_frame_u64(&frame, LINK_TAG_WAIT_MS, WAIT_MS);
    relay_send(client, &frame);
    home_path(&client->manager->home, path, "run", "%s.sck", name);
    send_listeners(client, name, path, service->forward_port);
}

static void put_route(struct relay_client *client, const struct relay_route *route)
{
    struct link_frame frame;
    start_put(client, &frame, route->name);
    link_frame_string(&frame, LINK_TAG_FEED_PATH, route->feed_path);
    link_frame_string(&frame, LINK_TAG_TARGET_PATH, route->target_path);
    link_frame_u64(&frame, LINK_TAG_SERVICE_STATE, (uint64_t)route->state);
    link_frame_string(&frame, LINK_TAG_TEXT, route->cause);
    link_frame_u64(&frame, LINK_TAG_SINCE, (uint64_t)route->since_us);
    link_frame_string(&frame, LINK_TAG_COMMAND, route->command);
    link_frame_u64(&frame, LINK_TAG_WAIT_MS, (uint64_t)route->wait_ms);
    relay_send(client, &frame);
    send_listeners(client, route->name, route->listen_path, route->listen_port);
}

/* As far as the bound lets it; false: somebody waits on. */
static bool put_services(struct relay_client *client)
{
    for (struct service *s = client->manager->services; s && client->peer; s = s->next) {
        if (s->relay_waits && client->orders >= ORDERS_MOST) {
            return false;
        }
        if (s->relay_waits) {
            s->relay_waits = false;
            put(client, s);
        }
    }
    return true;
}

/* To a relay that has said that it knows routes; to another never. */
static bool put_routes(struct relay_client *client)
{
    if (client->routes && client->build[0] && !client->feeds) {
        relay_client_replace(client);
    }
    for (struct relay_route *r = client->routes; r && client->peer && client->feeds;
         r = r->next) {
        if (r->waits && client->orders >= ORDERS_MOST) {
            return false;
        }
        if (r->waits) {
            r->waits = false;
            put_route(client, r);
        }
    }
    return true;
}

/* Neither side's socket can fill: who is to be told of waits here, the newest state being sent
 * once earlier orders have been answered. */
void relay_orders_continue(struct relay_client *client)
{
    if (put_services(client) && put_routes(client)) {
        event_del(client->unanswered);
    } else {
        timer_arm(client->unanswered, UNANSWERED_MS);
    }
}

void relay_orders_unanswered(evutil_socket_t fd, short what, void *argument)
{
    (void)fd;
    (void)what;
    struct relay_client *client = argument;
    client->orders = 0;
    relay_orders_continue(client);
}

void relay_orders_answered(struct relay_client *client)
{
    client->orders -= client->orders > 0;
    if (event_pending(client->unanswered, EV_TIMEOUT, NULL)) {
        relay_orders_continue(client);
    }
}

void relay_client_put(struct relay_client *client, struct service *service)
{
    if (client && client->peer && service_is_served(service)) {
        service->relay_waits = true;
        relay_orders_continue(client);
    }
}

void relay_client_forget(struct relay_client *client, struct service *service)
{
    struct link_frame frame;
    if (!service_is_served(service)) {
        return;
    }
    link_frame_start(&frame, LINK_RELAY_FORGET, 0);
    link_frame_string(&frame, LINK_TAG_SERVICE, service->config->name);
    relay_send(client, &frame);
}

void relay_client_unlisten_port(
    struct relay_client *client, struct service *service, uint16_t port)
{
    struct link_frame frame;
    link_frame_start(&frame, LINK_RELAY_UNLISTEN, 0);
    link_frame_string(&frame, LINK_TAG_SERVICE, service->config->name);
    link_frame_u64(&frame, LINK_TAG_LISTEN_PORT, port);
    relay_send(client, &frame);
}

void relay_orders_put_all(struct relay_client *client)
{
    client->orders = 0;
    for (struct service *s = client->manager->services; s; s = s->next) {
        s->relay_waits = service_is_served(s);
    }
    for (struct relay_route *r = client->routes; r; r = r->next) {
        r->waits = true;
    }
    relay_orders_continue(client);
}
