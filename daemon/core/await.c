/* A bounded wait on the loop, before anybody is served. */
#include "daemon/core/await.h"

#include "daemon/core/timer.h"

static void on_limit(evutil_socket_t fd, short what, void *argument)
{
    (void)fd;
    (void)what;
    *(bool *)argument = true;
}

void await_while(struct event_base *base, int64_t ms, bool (*waits)(const void *context),
    const void *context)
{
    bool over = false;
    struct timeval limit = timer_after(ms);
    struct event *timer = evtimer_new(base, on_limit, &over);
    if (!timer || event_add(timer, &limit)) {
        over = true;
    }
    while (!over && waits(context)) {
        event_base_loop(base, EVLOOP_ONCE);
    }
    timer_stop(&timer);
}
