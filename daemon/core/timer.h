/* Timers of the loop that fire once, in milliseconds. Whoever cannot be given one for want of
 * memory has none: what must not wait for ever has another bound, or looks for NULL. */
#ifndef CORE_TIMER_H
#define CORE_TIMER_H

#include <stdint.h>
#include <sys/time.h>

#include <event2/event.h>

/* `ms` as libevent takes it; what is past already is 0. */
struct timeval timer_after(int64_t ms);

/* `event` fires in `ms` (negative: at once), whenever it would have before; one that waits for
 * a descriptor too does so then at the latest. */
void timer_arm(struct event *event, int64_t ms);

/* A new timer in the place of *timer (which may be NULL, and is freed) that calls `call` with
 * `context` in `ms`. *timer is NULL when out of memory. */
void timer_start(struct event **timer, struct event_base *base, int64_t ms,
    event_callback_fn call, void *context);

/* Free *timer, which may be NULL, and make it NULL; also from within its own call. */
void timer_stop(struct event **timer);

#endif
