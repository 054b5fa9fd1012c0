/* Timers of the loop that fire once: what gearsd and the tunnel say to libevent of them. */
#include "daemon/core/timer.h"

struct timeval timer_after(int64_t ms)
{
    ms = ms > 0 ? ms : 0;
    return (struct timeval){.tv_sec = ms / 1000, .tv_usec = ms % 1000 * 1000};
}

void timer_arm(struct event *event, int64_t ms)
{
    struct timeval left = timer_after(ms);
    event_add(event, &left);
}

void timer_start(struct event **timer, struct event_base *base, int64_t ms,
    event_callback_fn call, void *context)
{
    timer_stop(timer);
    *timer = evtimer_new(base, call, context);
    if (*timer) {
        timer_arm(*timer, ms);
    }
}

void timer_stop(struct event **timer)
{
    if (*timer) {
        event_free(*timer);
        *timer = NULL;
    }
}
