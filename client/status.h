/* The parts of `status`: rows, what other gearsds say, and watching all of them at once. */
#ifndef CLIENT_STATUS_H
#define CLIENT_STATUS_H

#include "client/client.h"

/* status_table.c: rows of a table on a terminal, tab-separated ones elsewhere. */
void status_print_head(const struct cli *cli);
void status_print_services(const struct cli *cli, const cJSON *services);
/* A hop as a row among services, where both come as they change. */
void status_print_hop(const struct cli *cli, const cJSON *tunnel);

/* status_far.c: Status of the gearsds behind the open tunnels, all asked at once and none
 * waited for longer than `bound_ms`; their services, stamped with their cluster, are appended.
 * What does not answer is left out. `name`: only that service, and `only` only that cluster;
 * NULL: all. Returns how many clusters answered. */
int status_gather(
    const cJSON *tunnels, const char *only, const char *name, int bound_ms, cJSON *services);

/* status_watch.c: `status --watch`. `name` NULL or "": all; cluster "": this host and all open
 * clusters, or, with a name, only this host. Ends with an exit code. */
int status_watch(struct cli *cli, const char *name, const char *cluster, bool usage);

#endif
