/* Shared by relay_client*.c and relay_orders.c only. */
#ifndef SERVICE_RELAY_CLIENT_PRIVATE_H
#define SERVICE_RELAY_CLIENT_PRIVATE_H

#include "common/relay_counters.h"
#include "daemon/service/manager.h"

/* Numbers of orders: from SLOT_REQUEST on the answer tells a slot; END_REQUEST takes away what
 * may not be there, so that a refusal is no news. */
enum { END_REQUEST = 2, SLOT_REQUEST = 1 << 24 };

struct relay_client {
    struct manager *manager;
    struct link_peer *peer;
    struct relay_counters *counters; /* NULL: none mapped */
    char build[48];
    struct event *retry;
    struct event *unanswered; /* armed while services wait for answers to earlier orders */
    int orders;               /* sent and not answered: at most ORDERS_MOST when one is put */
    int tries;
    bool ending;
    bool found; /* the relay was there before this gearsd: it has counters to tell */
    uint32_t request;
    bool feeds; /* the relay's build knows how to hand clients over */
    struct relay_route *routes;
    /* For relays that answer without the name: by request % 256. */
    char asked[256][RELAY_NAME_SIZE];
};

/* Send one order, which the relay will answer; without a relay it is dropped: a new one is told
 * everything. Takes the frame. */
void relay_send(struct relay_client *client, struct link_frame *frame);
/* A relay was just connected: tell it all. */
void relay_orders_put_all(struct relay_client *client);
/* The relay's build cannot hand clients over: soon another takes its place. */
void relay_client_replace(struct relay_client *client);
/* Tell the relay of whatever waits, as far as it has answered earlier orders. */
void relay_orders_continue(struct relay_client *client);
/* One answer came; who waited goes on. */
void relay_orders_answered(struct relay_client *client);
/* The timer `unanswered`: an answer was lost, as when gearsd stood still for long. */
void relay_orders_unanswered(evutil_socket_t fd, short what, void *client);

/* relay_client_route.c */
struct relay_route *relay_route_find(struct relay_client *client, const char *name);
/* The relay's counters go: keep what they counted. */
void relay_route_end_counters(struct relay_client *client);
/* The relay said this of the route; `text` is the message's. The route may be gone after. */
void relay_route_hear(
    struct relay_route *route, const struct link_message *message, const char *text);

#endif
