/* Who else uses this host: the reason why a loopback port is a question here. */
#ifndef CLIENT_NEIGHBOURS_H
#define CLIENT_NEIGHBOURS_H

#include <stdbool.h>
#include <stddef.h>

#include "client/client.h"

/* Whether other people share this host; `why` is then half a sentence ("alice is logged in",
 * "site pack andes names it"). From the site packs, then from sessions (logind, utmp), and only
 * where there is no record of any session from who owns processes. Reads nothing below
 * GEARS_HOME but the installed packs, asks no server. */
bool neighbours_find(struct cli *cli, char *why, size_t size);

#endif
