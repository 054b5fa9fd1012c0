/* Whether gears-tunnel itself still runs. One that was stopped by a signal, or hangs in a file
 * system, keeps its connection and serves nobody: it is asked when somebody looks, and must end
 * when told to. Nothing here asks by itself. */
#include <signal.h>

#include "common/clock.h"
#include "daemon/core/log.h"
#include "daemon/core/timer.h"
#include "daemon/remote/tunnel_client.h"

/* FRESH_MS: what it said lately is still true. ANSWER_MS: a tunnel answers within 2 s, whatever
 * its server does. CLOSE_MS: it has 5 s of its own to give up a login. */
enum { FRESH_MS = 2000, ANSWER_MS = 4000, CLOSE_MS = 6000 };

static void on_overdue(evutil_socket_t fd, short what, void *argument)
{
    (void)fd;
    (void)what;
    struct hop *hop = argument;
    timer_stop(&hop->pulse);
    if (hop->machine.closing && hop->tunnel && hop->pid > 0) {
        /* Its socket is open, so this number is nobody else's. */
        log_audit("tunnel killed cluster=%s pid=%d cause=\"it did not end by order\"",
            hop->config->name, (int)hop->pid);
        kill(hop->pid, SIGKILL);
    } else if (hop->tunnel) {
        pulse_missed(hop);
    }
}

static void arm(struct hop *hop, int64_t ms)
{
    timer_start(&hop->pulse, hop->remote->manager->base, ms, on_overdue, hop);
}

void pulse_check(struct hop *hop)
{
    struct link_frame frame;
    if (hop->tunnel && !hop->pulse && !hop->mute &&
        clock_monotonic_ms() - hop->heard_ms >= FRESH_MS) {
        arm(hop, ANSWER_MS);
        /* To be answered in any case. */
        link_frame_start(&frame, LINK_TUNNEL_PROBE, REQUEST_ORDER);
        tunnel_client_send(hop, &frame);
    }
}

/* What it holds may have cost a human, so it counts as silent, not as lost. */
void pulse_missed(struct hop *hop)
{
    struct hop_machine *machine = &hop->machine;
    hop->mute = true;
    if (machine->state == HOP_DOWN && !machine->wanted) { /* the rest of an earlier gearsd's */
        tunnel_client_close(hop, LINK_CAUSE_CANCELLED, "nobody wants it");
        return;
    }
    if (machine->state == HOP_DOWN) {
        hop_apply(hop, HOP_ADOPTED);
        hop->report.known = hop->report.socket[0] != 0;
    }
    hop_set_message(hop, "gears-tunnel does not answer; is it stopped by a signal?");
    hop_apply(hop, HOP_SILENT);
}

void pulse_heard(struct hop *hop)
{
    hop->heard_ms = clock_monotonic_ms();
    hop->mute = false;
    if (!hop->machine.closing) {
        timer_stop(&hop->pulse);
    }
}

void pulse_expect_end(struct hop *hop)
{
    arm(hop, CLOSE_MS);
}

void pulse_stop(struct hop *hop)
{
    hop->mute = false;
    timer_stop(&hop->pulse);
}
