/* When to ask the server for a sign of life, and what silence means. Pure: times in, acts out,
 * so that suspends and half-hours are tested without waiting for them. All times are
 * CLOCK_MONOTONIC milliseconds unless said.
 *
 * One question at a time: TCP repeats what was not received, and a frozen server answers it as
 * soon as it goes on, so further ones would tell no more and only pile up. */
#ifndef TUNNEL_KEEPALIVE_H
#define TUNNEL_KEEPALIVE_H

#include <stdbool.h>
#include <stdint.h>

struct keepalive {
    int64_t interval_ms;   /* of silence before it asks */
    int64_t silence_ms;    /* of silence until the connection counts as degraded */
    int64_t need_ms;       /* the same, while somebody waits for an answer */
    int64_t dead_after_ms; /* degraded for so long: given up; 0: never */
    int64_t heard_ms;      /* bytes came last */
    int64_t awake_ms;      /* silence counts from here: the machine slept before, or nobody
                              could be asked */
    int64_t slept_ms;      /* CLOCK_BOOTTIME is so much ahead of CLOCK_MONOTONIC */
    int64_t degraded_ms;
    int64_t needed_ms; /* since when somebody waits; 0: nobody */
    bool degraded;
    bool asked; /* since bytes came last */
};

enum keepalive_act {
    KEEPALIVE_ASK = 1,     /* send something that must be answered */
    KEEPALIVE_DEGRADE = 2, /* say that it is silent */
    KEEPALIVE_GIVE_UP = 4
};

void keepalive_init(struct keepalive *keepalive, int64_t interval_ms, int64_t count,
    int64_t dead_after_ms, int64_t now_ms, int64_t boot_ms);
/* Bytes came. True when it was degraded and is no longer. */
bool keepalive_heard(struct keepalive *keepalive, int64_t now_ms);
/* A question was sent for another reason. */
void keepalive_asked(struct keepalive *keepalive);
/* Somebody waits for the server: silence counts as degraded sooner, in 2 s instead of an idle
 * interval. True when a question must be sent now: it counts as sent. */
bool keepalive_need(struct keepalive *keepalive, int64_t now_ms);
/* Nobody can be asked now, so this silence tells nothing: it counts from now on. */
void keepalive_pause(struct keepalive *keepalive, int64_t now_ms);
/* Whether a new connection is such a need: it was silent for a while. */
bool keepalive_doubts(const struct keepalive *keepalive, int64_t now_ms);
/* What is to be done now: a set of acts. */
unsigned keepalive_step(struct keepalive *keepalive, int64_t now_ms, int64_t boot_ms);
/* When to step next; INT64_MAX: not before bytes come. */
int64_t keepalive_next_ms(const struct keepalive *keepalive);

#endif
