/* gearsd's side of gears-relay: has one running, tells it the services, reads its counters. */
#ifndef SERVICE_RELAY_CLIENT_H
#define SERVICE_RELAY_CLIENT_H

#include <stdbool.h>
#include <stdint.h>

#include "common/link_messages.h"
#include "common/unixsock.h"

struct manager;
struct service;
struct relay_client;

/* A public socket whose clients are not connected on this host but handed to the tunnel of a
 * hop. The struct is the owner's, who fills in the upper part, puts it after each change and
 * drops it before freeing it. The calls come from the loop, never from within a function of the
 * relay client, and may put and drop routes; each may be NULL. */
struct relay_route {
    char name[RELAY_NAME_SIZE];
    char feed_path[UNIX_PATH_SIZE]; /* where the tunnel takes clients; "": there is none now */
    char target_path[UNIX_PATH_SIZE]; /* the service's socket on the hop's far side */
    char listen_path[UNIX_PATH_SIZE]; /* "": none */
    uint16_t listen_port;             /* on loopback; 0: none */
    enum link_service_state state;    /* UP: hand over; STARTING: wait; DOWN: turn away */
    char cause[200];                  /* "STATE: CAUSE", for the page of who waited in vain */
    char command[120];         /* what helps, typed on this host; "": nothing has to be typed */
    int64_t since_us, wait_ms; /* UTC microseconds; how long a client waits at most */
    /* A client waits while the state is STARTING: told once for all who wait together, and
     * again when the first of them has left or the state was another meanwhile. */
    void (*demanded)(struct relay_route *route, void *context);
    /* Nobody takes clients at feed_path (errno `code`, in words `text`). They wait and are
     * tried again; told at most every 200 ms while it stays so. */
    void (*trouble)(struct relay_route *route, int code, const char *text, void *context);
    /* The relay cannot listen: the port is taken, another's socket stands at listen_path. */
    void (*refused)(struct relay_route *route, const char *text, void *context);
    void *context;

    /* The relay client's own; zero at first. */
    struct relay_route *next;
    bool known;             /* is in the relay client's list */
    bool waits;             /* its newest state is still to be told to the relay */
    int slot;               /* −1: no counters yet */
    uint64_t base_accepted; /* by relays that ended */
};

/* Connect to the relay that runs, or start one. NULL only when out of memory; a relay that
 * cannot be started is logged and tried again with backoff. */
struct relay_client *relay_client_create(struct manager *manager);
/* Tell the service's present state and listeners; called after each change. Without
 * a relay, or a `client` yet (NULL), nothing: the next one is told all. */
void relay_client_put(struct relay_client *client, struct service *service);
/* Have its sockets and connections closed; it may be freed then. */
void relay_client_forget(struct relay_client *client, struct service *service);
/* Have its listener on this loopback port closed. */
void relay_client_unlisten_port(
    struct relay_client *client, struct service *service, uint16_t port);
/* Whether a relay that was there before this gearsd has not told all its counters yet. */
bool relay_client_is_settling(const struct relay_client *client);
/* Counters of `service`; zeros when unknown. */
void relay_client_counters(struct relay_client *client, const struct service *service,
    uint64_t *connections, uint64_t *bytes_in, uint64_t *bytes_out);
/* Tell the route's present state, now or as soon as the relay keeps up; a new relay is told by
 * itself. */
void relay_client_route_put(struct relay_client *client, struct relay_route *route);
/* Close its sockets and forget it; clients that wait are closed. Nothing to do for an unknown
 * one. */
void relay_client_route_drop(struct relay_client *client, struct relay_route *route);
/* Clients that wait here now, and all that ever came. The tunnel counts bytes. */
void relay_client_route_counters(struct relay_client *client, const struct relay_route *route,
    uint64_t *connections, uint64_t *accepted);
/* Build of the connected relay, "" when none. */
const char *relay_client_build(const struct relay_client *client);
/* Let the relay drain and start a new one (upgrade), or end it (`replace` false). */
void relay_client_drain(struct relay_client *client, bool replace);

#endif
