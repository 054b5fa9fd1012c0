/* The one line that attach keeps up to date while somebody looks at it. */
#ifndef CLIENT_LIVE_H
#define CLIENT_LIVE_H

#include "client/client.h"

enum live_end {
    LIVE_QUIT = 1000, /* q */
    LIVE_LOGIN,       /* the hop is down, and Enter was typed */
    LIVE_LOST         /* gearsd over there has gone, though the hop is open */
};

/* Show `service`@`cluster` and its hop until one of these, or an exit code, the words said.
 * Needs a terminal. */
int live_show(struct cli *cli, const char *service, const char *cluster);

#endif
