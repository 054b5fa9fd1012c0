/* The right to a name on a shared home: who holds it, in a file made with link(2), never flock.
 */
#ifndef CORE_LEASE_H
#define CORE_LEASE_H

#include "common/home.h"
#include "common/nonce.h"

struct lease {
    char path[PATH_MAX];
    char nonce[NONCE_TEXT_SIZE];
};

/* Take the lease at `path` for this process, replacing one whose holder, on this host and boot,
 * is dead, or that an earlier boot left. 0: held; 1: a living process holds it (`err` names
 * it); negative errno. A holder of another host is never presumed dead. Blocking. */
int lease_acquire(
    const struct home *home, const char *path, struct lease *lease, struct error *err);
/* Whether the file still says that we hold it. */
int lease_is_held(const struct lease *lease);
/* The host whose process holds the lease at `path`, dead or alive, and the name by which others
 * reach it: its whole node name where it has one, else the same. 0; -ENOENT: nobody. */
int lease_holder(const char *path, char host[HOST_NAME_SIZE], char node[HOST_NAME_SIZE]);
/* Take the lease from whoever holds it: by a human's order only. 0 or a negative errno. */
int lease_take_over(
    const struct home *home, const char *path, struct lease *lease, struct error *err);
void lease_release(struct lease *lease);

#endif
