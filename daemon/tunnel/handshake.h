/* Banner, key exchange and, when they fail, why. */
#ifndef TUNNEL_HANDSHAKE_H
#define TUNNEL_HANDSHAKE_H

#include "daemon/tunnel/login_private.h"

/* Begin the link's session over its transport; `host_keys` is the order of their algorithms. 0;
 * −1: the cause is set. */
int handshake_run(struct login *login, const struct ssh_hop *hop, struct ssh_link *link,
    const char *host_keys);

#endif
