/* The keepalive's timer; session.c and openssh_channel.c say when bytes came, and ask. ssh's
 * own ServerAlive is off: it would close a silent connection instead of telling of it. */
#include "daemon/tunnel/silence.h"

#include <errno.h>
#include <stdio.h>
#include <sys/timerfd.h>
#include <time.h>
#include <unistd.h>

#include "common/clock.h"
#include "common/text.h"
#include "daemon/core/timer.h"
#include "daemon/tunnel/tunnel.h"

enum { PROBE_MS = 2000 }; /* then a STATE says so, answer or not */

void silence_arm(struct silence *silence)
{
    int64_t at = keepalive_next_ms(&silence->keepalive);
    int64_t left = at - clock_monotonic_ms();
    struct itimerspec spec = {.it_value = {0}};
    if (at != INT64_MAX) {
        left = left > 1 ? left : 1;
        spec.it_value = (struct timespec){left / 1000, left % 1000 * 1000000};
    }
    timerfd_settime(silence->timer, 0, &spec, NULL);
}

static void tell(struct silence *silence, bool gives_up)
{
    int64_t silent = clock_monotonic_ms() - silence->keepalive.heard_ms;
    char span[32], text[200];
    duration_format(silent, span, sizeof span);
    snprintf(text, sizeof text, "%snothing was heard from the server for %s",
        gives_up ? "given up: " : "", span);
    if (gives_up) {
        silence->calls->give_up(silence->context, text);
    } else {
        tunnel_set_state(
            silence->tunnel, LINK_TUNNEL_DEGRADED, LINK_CAUSE_NETWORK_DOWN, text, silent);
    }
}

static void on_timer(evutil_socket_t fd, short what, void *argument)
{
    (void)what;
    struct silence *silence = argument;
    const struct silence_calls *calls = silence->calls;
    uint64_t count;
    (void)!read((int)fd, &count, sizeof count);
    if (!calls->hear(silence->context)) { /* what came while this process was stopped counts */
        return;
    }
    if (calls->can_ask && !calls->can_ask(silence->context)) {
        keepalive_pause(&silence->keepalive, clock_monotonic_ms());
    }
    unsigned acts = keepalive_step(&silence->keepalive, clock_monotonic_ms(), clock_boot_ms());
    if (acts & KEEPALIVE_DEGRADE) {
        tell(silence, false);
    }
    if (acts & KEEPALIVE_GIVE_UP) {
        tell(silence, true);
        return;
    }
    if (acts & KEEPALIVE_ASK) {
        calls->ask(silence->context);
    }
    silence_arm(silence);
}

static void on_probe_late(evutil_socket_t fd, short what, void *argument)
{
    (void)fd;
    (void)what;
    struct silence *silence = argument;
    control_state(silence->tunnel, silence->probe_request);
    silence->probe_request = 0;
}

void silence_need(struct silence *silence)
{
    if (keepalive_need(&silence->keepalive, clock_monotonic_ms())) {
        silence->calls->ask(silence->context);
    }
    silence_arm(silence);
}

void silence_probe(struct silence *silence, uint32_t request)
{
    if (silence->probe_request) {
        control_state(silence->tunnel, silence->probe_request);
    }
    silence->probe_request = request;
    timer_arm(silence->probe_late, PROBE_MS);
    silence_need(silence);
}

void silence_heard(struct silence *silence)
{
    bool asked = silence->keepalive.asked;
    if (keepalive_heard(&silence->keepalive, clock_monotonic_ms())) {
        tunnel_set_state(silence->tunnel, LINK_TUNNEL_UP, LINK_CAUSE_NONE, "", 0);
    }
    if (asked) { /* the timer is for its answer; else it is early, and looks again */
        silence_arm(silence);
    }
}

void silence_answer(struct silence *silence)
{
    if (silence->probe_request) {
        control_state(silence->tunnel, silence->probe_request);
        silence->probe_request = 0;
        event_del(silence->probe_late);
    }
}

int silence_start(struct silence *silence, struct tunnel *tunnel,
    const struct silence_calls *calls, void *context)
{
    *silence = (struct silence){.tunnel = tunnel, .calls = calls, .context = context};
    keepalive_init(&silence->keepalive, tunnel->keepalive_ms, tunnel->keepalive_count,
        tunnel->dead_after_ms, clock_monotonic_ms(), clock_boot_ms());
    silence->timer = timerfd_create(CLOCK_BOOTTIME, TFD_CLOEXEC | TFD_NONBLOCK);
    if (silence->timer < 0) {
        return -errno;
    }
    silence->timer_event =
        event_new(tunnel->base, silence->timer, EV_READ | EV_PERSIST, on_timer, silence);
    silence->probe_late = evtimer_new(tunnel->base, on_probe_late, silence);
    if (!silence->timer_event || !silence->probe_late ||
        event_add(silence->timer_event, NULL)) {
        return -ENOMEM;
    }
    silence_arm(silence);
    return 0;
}

void silence_stop(struct silence *silence)
{
    if (!silence->tunnel) {
        return;
    }
    if (silence->timer_event) {
        event_free(silence->timer_event);
    }
    if (silence->probe_late) {
        event_free(silence->probe_late);
    }
    if (silence->timer >= 0) {
        close(silence->timer);
    }
}
