/* Signs of life of a server behind ssh: the same rule and words as in silence.c, with the
 * session channel in the place of libssh2's opens. ssh's own ServerAlive is off: it would close
 * a silent connection instead of telling of it. */
#include <errno.h>
#include <stdio.h>
#include <sys/timerfd.h>
#include <unistd.h>

#include "common/clock.h"
#include "common/text.h"
#include "daemon/tunnel/openssh_private.h"

enum { PROBE_MS = 2000 }; /* then a STATE says so, answer or not */

static void arm(struct openssh *openssh)
{
    int64_t at = keepalive_next_ms(&openssh->keepalive);
    int64_t left = at - clock_monotonic_ms();
    struct itimerspec spec = {.it_value = {0}};
    if (at != INT64_MAX) {
        left = left > 1 ? left : 1;
        spec.it_value = (struct timespec){left / 1000, left % 1000 * 1000000};
    }
    timerfd_settime(openssh->timer, 0, &spec, NULL);
}

static void tell(struct openssh *openssh, bool gives_up)
{
    int64_t silent = clock_monotonic_ms() - openssh->keepalive.heard_ms;
    char span[32];
    duration_format(silent, span, sizeof span);
    if (gives_up) {
        openssh_end(openssh, LINK_CAUSE_NETWORK_DOWN,
            "given up: nothing was heard from the server for %s", span);
        return;
    }
    char text[200];
    snprintf(text, sizeof text, "nothing was heard from the server for %s", span);
    tunnel_set_state(
        openssh->tunnel, LINK_TUNNEL_DEGRADED, LINK_CAUSE_NETWORK_DOWN, text, silent);
}

static void on_timer(evutil_socket_t fd, short what, void *argument)
{
    (void)what;
    struct openssh *openssh = argument;
    uint64_t count;
    (void)!read((int)fd, &count, sizeof count);
    if (openssh->channel.mux) { /* what came while this process was stopped counts as heard */
        mux_hear(openssh->channel.mux);
    }
    if (openssh->phase != OPENSSH_UP) {
        return;
    }
    if (!openssh_channel_can_ask(openssh)) {
        keepalive_pause(&openssh->keepalive, clock_monotonic_ms());
    }
    unsigned acts = keepalive_step(&openssh->keepalive, clock_monotonic_ms(), clock_boot_ms());
    if (acts & KEEPALIVE_DEGRADE) {
        tell(openssh, false);
    }
    if (acts & KEEPALIVE_GIVE_UP) {
        tell(openssh, true);
        return;
    }
    if (acts & KEEPALIVE_ASK) {
        openssh_channel_ask(openssh);
    }
    arm(openssh);
}

static void on_probe_late(evutil_socket_t fd, short what, void *argument)
{
    (void)fd;
    (void)what;
    struct openssh *openssh = argument;
    control_state(openssh->tunnel, openssh->probe_request);
    openssh->probe_request = 0;
}

void openssh_life_ask(struct openssh *openssh)
{
    if (keepalive_need(&openssh->keepalive, clock_monotonic_ms())) {
        openssh_channel_ask(openssh);
    }
    arm(openssh);
}

void openssh_probe(struct openssh *openssh, uint32_t request)
{
    struct timeval wait = {PROBE_MS / 1000, PROBE_MS % 1000 * 1000};
    if (openssh->phase != OPENSSH_UP) {
        control_state(openssh->tunnel, request);
        return;
    }
    if (openssh->probe_request) {
        control_state(openssh->tunnel, openssh->probe_request);
    }
    openssh->probe_request = request;
    event_add(openssh->probe_late, &wait);
    openssh_life_ask(openssh);
}

void openssh_life_heard(struct openssh *openssh)
{
    if (openssh->phase != OPENSSH_UP) {
        return;
    }
    bool asked = openssh->keepalive.asked;
    if (keepalive_heard(&openssh->keepalive, clock_monotonic_ms())) {
        tunnel_set_state(openssh->tunnel, LINK_TUNNEL_UP, LINK_CAUSE_NONE, "", 0);
    }
    if (asked) { /* the timer is for its answer; else it is early, and looks again */
        arm(openssh);
    }
    if (openssh->probe_request) {
        control_state(openssh->tunnel, openssh->probe_request);
        openssh->probe_request = 0;
        event_del(openssh->probe_late);
    }
}

int openssh_life_start(struct openssh *openssh)
{
    const struct tunnel *tunnel = openssh->tunnel;
    keepalive_init(&openssh->keepalive, tunnel->keepalive_ms, tunnel->keepalive_count,
        tunnel->dead_after_ms, clock_monotonic_ms(), clock_boot_ms());
    openssh->timer = timerfd_create(CLOCK_BOOTTIME, TFD_CLOEXEC | TFD_NONBLOCK);
    if (openssh->timer < 0) {
        return -errno;
    }
    openssh->timer_event =
        event_new(tunnel->base, openssh->timer, EV_READ | EV_PERSIST, on_timer, openssh);
    openssh->probe_late = evtimer_new(tunnel->base, on_probe_late, openssh);
    if (!openssh->timer_event || !openssh->probe_late ||
        event_add(openssh->timer_event, NULL)) {
        return -ENOMEM;
    }
    arm(openssh);
    return 0;
}

void openssh_life_stop(struct openssh *openssh)
{
    if (openssh->timer_event) {
        event_free(openssh->timer_event);
    }
    if (openssh->probe_late) {
        event_free(openssh->probe_late);
    }
    if (openssh->timer >= 0) {
        close(openssh->timer);
    }
}
