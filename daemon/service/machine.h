/* A service's life as one pure function: (machine, event) → actions. No I/O, no clock of its
 * own.
 *
 *   stopped → starting → ready → stopping → stopped
 *   starting|ready → backoff → starting          (death, while the policy allows)
 *   backoff → failed                             (too many deaths in the window; sticky)
 *
 * What is wanted is kept apart from what is. Ill health is no event here: only death is. */
#ifndef SERVICE_MACHINE_H
#define SERVICE_MACHINE_H

#include <stdbool.h>
#include <stdint.h>

#include "daemon/core/config.h"

enum service_state {
    SERVICE_STOPPED,
    SERVICE_STARTING,
    SERVICE_READY,
    SERVICE_STOPPING,
    SERVICE_BACKOFF,
    SERVICE_FAILED,
    SERVICE_STATES
};

enum service_event {
    EVENT_START,         /* the user wants it */
    EVENT_STOP,          /* the user does not */
    EVENT_RESTART,       /* stop, then start again */
    EVENT_READY,         /* the readiness rule is met */
    EVENT_LAUNCH_FAILED, /* could not be prepared or executed: trying again would not help */
    EVENT_GAVE_UP,       /* it runs, but cannot do its work here: end it, then it has failed */
    EVENT_DIED_CLEAN,    /* the whole tree is gone, exit code 0 */
    EVENT_DIED,          /* the whole tree is gone, any other or an unknown end */
    EVENT_BACKOFF_OVER,
    EVENT_RESET_FAILED,
    EVENT_ADOPTED, /* found running by a new gearsd */
    SERVICE_EVENTS
};

enum machine_action {
    ACTION_LAUNCH = 1,   /* prepare and spawn */
    ACTION_KILL = 2,     /* begin the kind's graceful stop */
    ACTION_SCHEDULE = 4, /* arm the backoff timer with machine_backoff_ms */
    ACTION_CANCEL_TIMER = 8,
    ACTION_PERSIST = 16, /* `wanted` changed */
};

enum {
    DEATHS_LIMIT = 5,          /* deaths in the window before failed */
    DEATHS_WINDOW_MS = 600000, /* 10 min */
    STABLE_MS = 600000,        /* a run this long forgives earlier deaths */
    BACKOFF_FIRST_MS = 1000,
    BACKOFF_MOST_MS = 60000,
};

struct machine {
    enum service_state state;
    bool wanted;  /* start */
    bool again;   /* a restart was asked for while stopping */
    bool failing; /* given up: failed once the tree is gone */
    enum restart_policy policy;
    int deaths;         /* in the window */
    int64_t window_ms;  /* monotonic time of its first death */
    int64_t started_ms; /* monotonic time of the last launch */
    int restarts;       /* by policy, since the user's start */
};

/* Apply `event` at monotonic time `now_ms`; returns machine_action bits. */
unsigned machine_step(struct machine *machine, enum service_event event, int64_t now_ms);
/* The delay before the next launch: exponential in `deaths`, with jitter of ± 20 % from
 * `random`. */
int64_t machine_backoff_ms(const struct machine *machine, uint32_t random);
/* "stopped", "starting", … static. */
const char *service_state_name(enum service_state state);

#endif
