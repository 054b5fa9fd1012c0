/* One gears-tunnel as gearsd leads it; between tunnel_client.c and tunnel_news.c. */
#ifndef REMOTE_TUNNEL_CLIENT_H
#define REMOTE_TUNNEL_CLIENT_H

#include "common/relay_counters.h"
#include "daemon/remote/hop_private.h"

/* Numbers of requests, as LINK_ERROR tells which one it refuses. */
enum { REQUEST_START = 1, REQUEST_ORDER, REQUEST_RUN };

struct tunnel_client {
    struct hop *hop;
    struct link_peer *peer;
    struct relay_counters *counters; /* NULL: none mapped */
    enum link_tunnel_state state;
    bool adopted; /* found running: its first status is no news */
    bool heard;   /* it spoke on this connection */
    bool down;    /* it said why it ends */
};

/* A message came; the connection stays. `state` DOWN: it was its last. */
void tunnel_client_hear(struct tunnel_client *tunnel, struct link_message *message);

#endif
