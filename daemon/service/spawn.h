/* Starting a helper program that outlives gearsd. */
#ifndef SERVICE_SPAWN_H
#define SERVICE_SPAWN_H

#include "common/error.h"

/* Run `path` with one end of a SEQPACKET socketpair as descriptor 3 (the helper detaches
 * itself). `mark` is put into its environment ("KEY=value"; NULL: none): by it a successor
 * finds a helper that has no socket yet. Returns the other end, non-blocking, or a negative
 * errno with words when it cannot be executed. */
int spawn_helper(const char *path, const char *mark, struct error *err);
/* Bury the first processes of helpers that have detached: at SIGCHLD. */
void spawn_reap(void);

#endif
