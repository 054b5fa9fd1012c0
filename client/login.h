/* Opening a hop: gearsd does it, the human at this terminal is asked what the server asks. */
#ifndef CLIENT_LOGIN_H
#define CLIENT_LOGIN_H

#include "client/client.h"

struct login_wish {
    const char *cluster, *node; /* node: NULL for where the lab lives */
    bool force;                 /* anew, although it is up */
    bool alone;                 /* ask nobody, and say nothing when that is needed */
};

/* Log in through the gearsd of this host, on a connection of its own; cli->subject begins the
 * messages. 0 when the hop is up, *tunnel is then the caller's to delete; or an exit code, the
 * words said. ^C ends the login with this process. */
int login_run(struct cli *cli, const struct login_wish *wish, cJSON **tunnel);

#endif
