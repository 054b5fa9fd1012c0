/* gearsd holds a descriptor for every keeper and every client, so it takes as many as the
 * system lets it; and it sees tokens and what people answer, so it leaves no core file. What it
 * starts gets back the limits that the user's session had. */
#ifndef CORE_SESSION_LIMITS_H
#define CORE_SESSION_LIMITS_H

#include <sys/resource.h>
#include <sys/types.h>

enum { SESSION_LIMITS = 2 };
extern const int session_limits[SESSION_LIMITS]; /* RLIMIT_*: those that gearsd changes */

/* Once, at start: descriptors up to the hard limit, no core file. Soft limits only. */
void session_limits_change(void);
/* The limit of `resource`, one of session_limits, before session_limits_change. */
struct rlimit session_limit_get(int resource);
/* Give them to `pid`; 0 is this process, before it execs another program. */
void session_limits_restore(pid_t pid);

#endif
