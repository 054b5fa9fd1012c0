/* Signs of life of a server, for both transports: the keepalive's timer, what gearsd is told of
 * silence, and its probes. The rule itself is in keepalive.h. */
#ifndef TUNNEL_SILENCE_H
#define TUNNEL_SILENCE_H

#include <event2/event.h>

#include "daemon/tunnel/keepalive.h"

struct tunnel;

/* What a transport does. */
struct silence_calls {
    /* Take what has come already: silence_heard may follow. False: the connection is over. */
    bool (*hear)(void *context);
    bool (*can_ask)(void *context); /* while not, silence tells nothing; NULL: always */
    void (*ask)(void *context);     /* send something that must be answered */
    void (*give_up)(void *context, const char *words); /* end it */
};

struct silence {
    struct tunnel *tunnel; /* NULL: not started */
    const struct silence_calls *calls;
    void *context;
    struct keepalive keepalive;
    int timer; /* a timerfd, which a suspend does not stop */
    struct event *timer_event;
    uint32_t probe_request; /* of the controller, to be answered by a STATE; 0: none */
    struct event *probe_late;
};

/* Zero at first. 0 or a negative errno; silence_stop in any case. */
int silence_start(struct silence *silence, struct tunnel *tunnel,
    const struct silence_calls *calls, void *context);
void silence_stop(struct silence *silence);
void silence_arm(struct silence *silence); /* the timer, anew */
/* Somebody waits for the server: it is asked, unless its answer is awaited already. */
void silence_need(struct silence *silence);
/* The same for the controller; a STATE answers `request`, within 2 s. */
void silence_probe(struct silence *silence, uint32_t request);
void silence_heard(struct silence *silence);  /* bytes came */
void silence_answer(struct silence *silence); /* and were looked at: who asked is told */

#endif
