/* Timers: milliseconds as libevent takes them, one in the place of another, none. */
#include "check.h"
#include "daemon/core/timer.h"

static int fired[2];

static void on_first(evutil_socket_t fd, short what, void *context)
{
    (void)fd;
    (void)what;
    (void)context;
    fired[0]++;
}

static void on_second(evutil_socket_t fd, short what, void *context)
{
    (void)fd;
    (void)what;
    fired[1]++;
    timer_stop(context);
}

static void test_milliseconds(void)
{
    CHECK_INT(timer_after(0).tv_sec, 0);
    CHECK_INT(timer_after(999).tv_usec, 999000);
    CHECK_INT(timer_after(61001).tv_sec, 61);
    CHECK_INT(timer_after(61001).tv_usec, 1000);
    CHECK_INT(timer_after(-1500).tv_sec, 0);
    CHECK_INT(timer_after(-1500).tv_usec, 0);
}

static void test_start_replaces(struct event_base *base)
{
    struct event *timer = NULL;
    timer_start(&timer, base, 0, on_first, NULL);
    timer_start(&timer, base, -1, on_second, &timer);
    CHECK(timer);
    event_base_dispatch(base); /* ends when no timer is left */
    CHECK_INT(fired[0], 0);
    CHECK_INT(fired[1], 1);
    CHECK(!timer);
}

static void test_arm_again(struct event_base *base)
{
    struct event *timer = NULL;
    timer_start(&timer, base, INT64_C(3600000), on_first, NULL);
    timer_arm(timer, 0);
    event_base_dispatch(base);
    CHECK_INT(fired[0], 1);
    timer_stop(&timer);
    CHECK(!timer);
    timer_stop(&timer); /* there is none: nothing */
}

int main(void)
{
    struct event_base *base = event_base_new();
    test_milliseconds();
    test_start_replaces(base);
    test_arm_again(base);
    event_base_free(base);
    return check_result();
}
