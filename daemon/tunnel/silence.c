/* Signs of life: the keepalive's timer, what gearsd is told of silence, and its probes. The
 * rule itself is in keepalive.c; session.c says when bytes came. */
#include <errno.h>
#include <stdio.h>
#include <sys/timerfd.h>
#include <time.h>
#include <unistd.h>

#include "common/clock.h"
#include "common/text.h"
#include "daemon/tunnel/session.h"

enum { PROBE_MS = 2000 }; /* then a STATE says so, answer or not */

void silence_arm(struct session *session)
{
    int64_t at = keepalive_next_ms(&session->keepalive);
    int64_t left = at - clock_monotonic_ms();
    struct itimerspec spec = {.it_value = {0}};
    if (at != INT64_MAX) {
        left = left > 1 ? left : 1;
        spec.it_value = (struct timespec){left / 1000, left % 1000 * 1000000};
    }
    timerfd_settime(session->timer, 0, &spec, NULL);
}

static void ask(struct session *session)
{
    if (!opens_probe(&session->opens)) {
        /* A client's open is pending: the server may be slow to reach its target, and no other
         * can be begun. This once its answer may stay in libssh2's memory. An interval of −1
         * seconds, which libssh2 1.10 keeps as an int, has it sent at once. */
        libssh2_keepalive_config(session->link->session, 1, (unsigned)-1);
        libssh2_keepalive_send(session->link->session, &(int){0});
    }
    session_wake(session);
}

static void degrade(struct session *session)
{
    int64_t silent = clock_monotonic_ms() - session->keepalive.heard_ms;
    char span[32], text[200];
    duration_format(silent, span, sizeof span);
    snprintf(text, sizeof text, "nothing was heard from the server for %s", span);
    tunnel_set_state(
        session->tunnel, LINK_TUNNEL_DEGRADED, LINK_CAUSE_NETWORK_DOWN, text, silent);
}

static void give_up(struct session *session)
{
    int64_t silent = clock_monotonic_ms() - session->keepalive.heard_ms;
    char span[32], text[200];
    duration_format(silent, span, sizeof span);
    snprintf(text, sizeof text, "given up: nothing was heard from the server for %s", span);
    tunnel_end(session->tunnel, LINK_CAUSE_NETWORK_DOWN, text);
}

static void on_timer(evutil_socket_t fd, short what, void *argument)
{
    (void)what;
    struct session *session = argument;
    uint64_t count;
    (void)!read((int)fd, &count, sizeof count);
    session_round(session); /* what came while this process was stopped counts as heard */
    if (session->lost) {
        return;
    }
    unsigned acts = keepalive_step(&session->keepalive, clock_monotonic_ms(), clock_boot_ms());
    if (acts & KEEPALIVE_DEGRADE) {
        degrade(session);
    }
    if (acts & KEEPALIVE_GIVE_UP) {
        give_up(session);
        return;
    }
    if (acts & KEEPALIVE_ASK) {
        ask(session);
    }
    silence_arm(session);
}

static void on_probe_late(evutil_socket_t fd, short what, void *argument)
{
    (void)fd;
    (void)what;
    struct session *session = argument;
    control_state(session->tunnel, session->probe_request);
    session->probe_request = 0;
}

void session_probe(struct session *session, uint32_t request)
{
    struct timeval wait = {PROBE_MS / 1000, PROBE_MS % 1000 * 1000};
    if (request) {
        if (session->probe_request) {
            control_state(session->tunnel, session->probe_request);
        }
        session->probe_request = request;
        event_add(session->probe_late, &wait);
    }
    if (keepalive_need(&session->keepalive, clock_monotonic_ms())) {
        ask(session);
    }
    silence_arm(session);
}

void silence_broken(struct session *session)
{
    if (keepalive_heard(&session->keepalive, clock_monotonic_ms())) {
        tunnel_set_state(session->tunnel, LINK_TUNNEL_UP, LINK_CAUSE_NONE, "", 0);
    }
}

void silence_answer(struct session *session)
{
    if (session->probe_request) {
        control_state(session->tunnel, session->probe_request);
        session->probe_request = 0;
        event_del(session->probe_late);
    }
}

int silence_start(struct session *session)
{
    const struct tunnel *tunnel = session->tunnel;
    keepalive_init(&session->keepalive, tunnel->keepalive_ms, tunnel->keepalive_count,
        tunnel->dead_after_ms, clock_monotonic_ms(), clock_boot_ms());
    session->timer = timerfd_create(CLOCK_BOOTTIME, TFD_CLOEXEC | TFD_NONBLOCK);
    if (session->timer < 0) {
        return -errno;
    }
    session->timer_event =
        event_new(tunnel->base, session->timer, EV_READ | EV_PERSIST, on_timer, session);
    session->probe_late = evtimer_new(tunnel->base, on_probe_late, session);
    return session->timer_event && session->probe_late && !event_add(session->timer_event, NULL)
               ? 0
               : -ENOMEM;
}

void silence_stop(struct session *session)
{
    if (session->timer_event) {
        event_free(session->timer_event);
    }
    if (session->probe_late) {
        event_free(session->probe_late);
    }
    if (session->timer >= 0) {
        close(session->timer);
    }
}
