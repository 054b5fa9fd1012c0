/* Which login node of a cluster is this user's: the one where gearsd was started and services
 * live. One record for all hubs, <root>/state/@cluster/<cluster>.rec. All of this blocks. */
#ifndef REMOTE_PLACE_H
#define REMOTE_PLACE_H

#include <stdbool.h>
#include <stdint.h>

#include "common/home.h"

struct place {
    char host[HOST_NAME_SIZE]; /* Gears' name for it, as in run/<host>; "": no place is known */
    char node[256];            /* its node name */
    char address[64];          /* as it was last reached: "10.0.0.3" */
    char boot_id[BOOT_ID_SIZE];
    int64_t at_us;
    bool needed; /* place_load: services are wanted there, or that cannot be seen from here */
    char services[200]; /* which: "lab, tb" */
};

/* An absent or damaged record gives an empty place. */
void place_load(const struct home *home, const char *cluster, struct place *place);
int place_store(
    const struct home *home, const char *cluster, const struct place *place, struct error *err);

/* The name by which to reach it: the one of `members` (may be NULL) that begins with its host
 * name, else its full node name, else its address; "" when nothing is known. */
void place_target(const struct place *place, char *const *members, char *out, size_t size);

#endif
