/* Proving who the user is, by what the server takes and there is. */
#ifndef TUNNEL_AUTH_H
#define TUNNEL_AUTH_H

#include "daemon/tunnel/login_private.h"

/* After the host key was judged. 0 with result.method; −1: the cause is set. */
int auth_run(struct login *login, const struct ssh_hop *hop, struct ssh_link *link);

#endif
