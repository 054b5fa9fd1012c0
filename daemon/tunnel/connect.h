/* From a host's name to a connected socket. */
#ifndef TUNNEL_CONNECT_H
#define TUNNEL_CONNECT_H

#include "daemon/tunnel/login_private.h"

/* Resolve the hop's host and connect to one of its addresses, all of them tried within the
 * step's time. 0 with a non-blocking socket, whose address result.address tells; −1: the cause
 * is set. */
int connect_hop(struct login *login, const struct ssh_hop *hop, int *fd);

#endif
