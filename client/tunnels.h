/* What a Tunnel of the protocol means: for tables, for --json, for decisions. */
#ifndef CLIENT_TUNNELS_H
#define CLIENT_TUNNELS_H

#include "client/client.h"

/* Whether connections through it make sense: up, or degraded (they wait). */
bool tunnel_is_open(const cJSON *tunnel);
/* Whether only `gearsctl login` brings it up. */
bool tunnel_needs_human(const cJSON *tunnel);
/* Whether it says anything: one that was never wanted does not. */
bool tunnel_is_used(const cJSON *tunnel);
/* Why it is not open and what to do, for one line behind "lab@andes: ". */
void tunnel_explain(const cJSON *tunnel, const char *cluster, char *out, size_t size);
/* The first failing layer and since when; "" for a healthy one. */
void tunnel_describe(const cJSON *tunnel, char *out, size_t size);

/* The promised shape in --json. */
cJSON *json_tunnel(const cJSON *tunnel);
/* A service behind a hop that is not open, as far as it can be told; the caller deletes. */
cJSON *tunnel_unreachable_service(const cJSON *tunnel, const char *name, const char *cluster);
/* Rows, behind a head when there is one and `head` says so; returns how many. */
int tunnels_print(struct cli *cli, const cJSON *tunnels, const char *cluster, bool head);

#endif
