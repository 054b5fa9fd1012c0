/* Several gearsds watched at once: this host's, for its services and hops, and those behind the
 * hops that are open, as they come and go. */
#ifndef CLIENT_WATCHER_H
#define CLIENT_WATCHER_H

#include "client/client.h"

struct watcher {
    struct cli *cli;
    const char *name;    /* one service; NULL: all */
    const char *cluster; /* of that cluster only; NULL: of this host and of every open one */
    bool here;           /* of this host only */
    bool usage;
    int keys; /* a descriptor of the user's, −1 for none */
    void *context;
    /* Each returns 0 to go on; anything else ends the watching. Services are stamped with their
     * cluster; both lists are those that changed, all at first. May be NULL: not wanted. */
    int (*services)(void *context, const cJSON *services);
    int (*tunnels)(void *context, const cJSON *tunnels);
    /* gearsd there has closed its connection although the hop is open. */
    int (*lost)(void *context, const char *cluster);
    int (*key)(void *context, int fd);
};

/* Watch until a call says otherwise, or this host's gearsd ends: then an exit code, said. */
int watcher_run(const struct watcher *watcher);

#endif
