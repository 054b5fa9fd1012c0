/* The right to a name on a shared home: who holds it, in a file made with link(2), never flock.
 * gearsd takes and keeps leases; gearsctl looks at them, and buries dead ones. Blocking, all of
 * it. */
#ifndef COMMON_LEASE_H
#define COMMON_LEASE_H

#include <stdbool.h>
#include <sys/types.h>

#include "common/home.h"
#include "common/nonce.h"

struct lease {
    char path[PATH_MAX];
    char nonce[NONCE_TEXT_SIZE]; /* "": not held */
};

/* What the file at a lease's path says. */
struct lease_seen {
    char host[HOST_NAME_SIZE]; /* of its holder, as Gears names hosts; "" when damaged */
    char node[HOST_NAME_SIZE]; /* as others reach it: its whole node name, else `host` */
    char nonce[NONCE_TEXT_SIZE];
    pid_t pid;
    bool here;     /* its holder is of this host */
    bool rebooted; /* here, and before the last boot */
    bool own;      /* its holder is this very process */
    bool alive;    /* its holder may live: what another host holds is never presumed dead */
    bool damaged;  /* nobody's: whole leases only are published. All else is zero then */
};

/* <root>/run/CLUSTER.lease: the right to run/CLUSTER.sck. */
void lease_path(const struct home *home, const char *cluster, char out[PATH_MAX]);
/* 0; -ENOENT: there is none; another negative errno: it cannot be read now. */
int lease_look(const struct home *home, const char *path, struct lease_seen *seen);
/* Take the file at `path` away if it is still the one with this nonce ("": damaged), and dead;
 * whether it is gone by that. */
bool lease_bury(const struct home *home, const char *path, const char *nonce);

/* Take the lease at `path` for this process, replacing one whose holder, on this host and boot,
 * is dead, or that an earlier boot left. 0: held; 1: another living process holds it, which
 * `err` and `by` (may be NULL) tell; negative errno: it cannot be told, or not written. */
int lease_acquire(const struct home *home, const char *path, struct lease *lease,
    struct lease_seen *by, struct error *err);
/* Go on holding `lease`, whose path is set: it is taken (again) when there is no nonce yet, or
 * the file is gone, damaged or a dead holder's, and made this process's when a predecessor
 * wrote it. 0: held; 1: another has it (see lease_acquire), and only this says that it is lost;
 * after a negative errno it is as it was. */
int lease_keep(
    const struct home *home, struct lease *lease, struct lease_seen *by, struct error *err);
/* Whether the file still says that we hold it: 1, 0 (it is another's), or a negative errno: it
 * cannot be told; -ENOENT: it is gone. */
int lease_is_held(const struct lease *lease);
/* Take the lease from whoever holds it: by a human's order only. 0 or a negative errno. */
int lease_take_over(
    const struct home *home, const char *path, struct lease *lease, struct error *err);
void lease_release(struct lease *lease);

#endif
