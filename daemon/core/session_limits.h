/* gearsd holds a descriptor for every keeper and every client, so it takes as many as the
 * system lets it. What it starts gets back the limit that the user's session had. */
#ifndef CORE_DESCRIPTORS_H
#define CORE_DESCRIPTORS_H

#include <sys/resource.h>
#include <sys/types.h>

/* Once, at start: the soft limit becomes the hard one. */
void descriptors_raise(void);
/* The limit before descriptors_raise. */
struct rlimit descriptors_limit(void);
/* Give it to `pid`; 0 is this process, before it execs another program. */
void descriptors_restore(pid_t pid);

#endif
