/* NAME@CLUSTER: from what a user types to the gearsd that has it. */
#ifndef CLIENT_TARGET_H
#define CLIENT_TARGET_H

#include "client/client.h"

enum target_wish {
    TARGET_OPEN,  /* the hop must be up; else one line and EXIT_HUMAN or EXIT_FAILED */
    TARGET_LOGIN, /* log in first where that is needed */
    TARGET_LOOK   /* as TARGET_OPEN, but without the line: cli->remote tells the state */
};

/* Lead cli's calls to the gearsd that `argument` names, this host's when it has no '@', and put
 * what stands before the '@' into `name`. `argument` must live as long as the calls. 0 or an
 * exit code; with TARGET_LOOK and an unreachable cluster cli->remote is set all the same. */
int target_take(
    struct cli *cli, const char *argument, enum target_wish wish, char name[NAME_MOST]);
/* The same where a service is meant: "@CLUSTER" alone is a usage error. */
int target_take_service(
    struct cli *cli, const char *argument, enum target_wish wish, char name[NAME_MOST]);
/* Back to this host's gearsd. */
void target_leave(struct cli *cli);
/* The cluster calls go to; "" for this host. */
const char *target_cluster(const struct cli *cli);
const cJSON *target_tunnel(const struct cli *cli);

/* Where to connect to, and a try to have gearsd answer there again; both for calls only. */
int target_connect(struct cli *cli);
int target_revive(struct cli *cli);
/* Mark what a remote gearsd replied as its cluster's, hints about commands included. */
void target_stamp(const struct cli *cli, cJSON *reply);

#endif
