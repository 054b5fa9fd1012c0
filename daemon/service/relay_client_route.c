/* Routes: public sockets whose clients the relay hands to the tunnel of a hop. What the owner
 * says of each is kept for the next relay; what the relay says of one reaches its owner. */
#include <string.h>

#include "daemon/core/log.h"
#include "daemon/service/relay_client_private.h"

struct relay_route *relay_route_find(struct relay_client *client, const char *name)
{
    struct relay_route *route = client->routes;
    while (route && strcmp(route->name, name) != 0) {
        route = route->next;
    }
    return route;
}

void relay_route_end_counters(struct relay_client *client)
{
    for (struct relay_route *r = client->routes; r; r = r->next) {
        if (client->counters && r->slot >= 0) {
            r->base_accepted += atomic_load(&client->counters[r->slot].accepted);
        }
        r->slot = -1;
    }
}

void relay_route_hear(
    struct relay_route *route, const struct link_message *message, const char *text)
{
    switch (message->type) {
    case LINK_RELAY_DEMAND:
        if (route->demanded) {
            route->demanded(route, route->context);
        }
        break;
    case LINK_RELAY_TROUBLE:
        if (route->trouble) {
            route->trouble(
                route, (int)link_u64(message, LINK_TAG_ERRNO, 0), text, route->context);
        }
        break;
    case LINK_ERROR:
        log_line("relay refused route=%s cause=\"%s\"", route->name, text);
        if (route->refused) {
            route->refused(route, text, route->context);
        }
        break;
    default:
        break;
    }
}

void relay_client_route_put(struct relay_client *client, struct relay_route *route)
{
    if (!client) {
        return;
    }
    if (!route->known) {
        route->known = true;
        route->slot = -1;
        route->next = client->routes;
        client->routes = route;
    }
    route->waits = true;
    relay_orders_continue(client);
}

void relay_client_route_drop(struct relay_client *client, struct relay_route *route)
{
    struct link_frame frame;
    if (!client || !route->known) {
        return;
    }
    for (struct relay_route **at = &client->routes; *at; at = &(*at)->next) {
        if (*at == route) {
            *at = route->next;
            break;
        }
    }
    if (client->counters && route->slot >= 0) {
        route->base_accepted += atomic_load(&client->counters[route->slot].accepted);
    }
    route->known = route->waits = false;
    route->next = NULL;
    route->slot = -1;
    link_frame_start(&frame, LINK_RELAY_FORGET, END_REQUEST);
    link_frame_string(&frame, LINK_TAG_SERVICE, route->name);
    relay_send(client, &frame);
}

void relay_client_route_counters(struct relay_client *client, const struct relay_route *route,
    uint64_t *connections, uint64_t *accepted)
{
    *connections = 0;
    *accepted = route->base_accepted;
    if (client && client->counters && route->known && route->slot >= 0) {
        *connections = atomic_load(&client->counters[route->slot].connections);
        *accepted += atomic_load(&client->counters[route->slot].accepted);
    }
}
