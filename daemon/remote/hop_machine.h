/* A hop's life as one pure function: (machine, event) → actions. No I/O, no clock of its own.
 *
 *   down → connecting ⇄ auth-needed → up ⇄ degraded
 *
 * The one rule that must never break: when the last login needed a human, nothing here orders a
 * connection but a human's own login. */
#ifndef REMOTE_HOP_MACHINE_H
#define REMOTE_HOP_MACHINE_H

#include <stdbool.h>
#include <stdint.h>

#include "common/link_messages.h"

enum hop_state {
    HOP_DOWN,
    HOP_CONNECTING,
    HOP_AUTH_NEEDED, /* a human is being asked, or must come back */
    HOP_UP,
    HOP_DEGRADED,
    HOP_STATES
};

enum hop_event {
    HOP_LOGIN,       /* somebody orders a connection, and may be asked */
    HOP_LOGIN_ALONE, /* somebody orders one and cannot be asked */
    HOP_PROMPTED,    /* the server asks: from now on it counts as one that needs a human */
    HOP_ASKED,       /* gearsd itself has a question */
    HOP_ANSWERED,
    HOP_ABANDONED, /* whoever could be asked has left */
    HOP_HUMAN,     /* the tunnel says that a human was needed */
    HOP_KEYS,      /* an open one says that keys alone opened it */
    HOP_OPENED,    /* authenticated by keys alone */
    HOP_OPENED_BY_HUMAN,
    HOP_SILENT,  /* nothing heard for long */
    HOP_HEARD,   /* a sign of life again */
    HOP_ENDED,   /* the tunnel is gone; machine->cause says why */
    HOP_RETRY,   /* the backoff is over */
    HOP_NETWORK, /* the host's network changed: what waits may go on at once */
    HOP_LOGOUT,
    HOP_RELOGIN,       /* a human wants another connection in place of this one */
    HOP_RELOGIN_ALONE, /* as well, where keys suffice */
    HOP_RESTORED,      /* a new gearsd found no tunnel, but the record says wanted */
    HOP_ADOPTED,       /* it found an open one */
    HOP_ADOPTED_LOGIN, /* it found one that logs in, led by nobody now */
    HOP_EVENTS
};

enum hop_action {
    HOP_ACT_CONNECT = 1,       /* start a tunnel that may ask */
    HOP_ACT_CONNECT_ALONE = 2, /* start one that may not */
    HOP_ACT_CLOSE = 4,         /* end the tunnel */
    HOP_ACT_SCHEDULE = 8,      /* arm the timer with hop_backoff_ms */
    HOP_ACT_CANCEL_TIMER = 16,
    HOP_ACT_PERSIST = 32, /* wanted or human changed */
};

/* The most is below the 15 s that a try takes where nobody answers: such tries follow each
 * other. */
enum {
    HOP_BACKOFF_FIRST_MS = 250,
    HOP_BACKOFF_MOST_MS = 12000,
    HOP_FLOOR_MS = 1000,
    HOP_FLOOR_NETWORK_MS = 500
};

struct hop_machine {
    enum hop_state state;
    enum link_tunnel_cause cause; /* set before HOP_ENDED; 0 while up */
    bool wanted;
    bool human;     /* the last login that succeeded, or the last try, needed one */
    bool scheduled; /* a retry is armed */
    bool attended;  /* the connection under way was ordered by somebody who can answer */
    bool closing;   /* told to end; what is asked meanwhile comes after the end */
    bool again_attended, again_alone; /* a login of that kind waits for the end of this try */
    bool lasting; /* it was up since it is wanted: losing it is an outage, not a failed start */
    int tries;    /* failed connections in a row */
    int reconnects; /* without a human, since the login */
};

/* Apply `event`; returns hop_action bits. */
unsigned hop_step(struct hop_machine *machine, enum hop_event event);
/* The delay before the next connection: exponential in `tries`, with jitter of ± 20 %. */
int64_t hop_backoff_ms(const struct hop_machine *machine, uint32_t random);
/* The least time from the beginning of the last try to the next one, however much it is asked
 * for; `network`: by a change of the network, which is news where nothing answered. */
int64_t hop_floor_ms(const struct hop_machine *machine, bool network);
/* The words of the protocol, static: "auth-needed"; "" for LINK_CAUSE_NONE. */
const char *hop_state_name(enum hop_state state);
const char *hop_cause_name(enum link_tunnel_cause cause);

#endif
