/* Outages of hops that nobody has to be asked for: how long silence is borne, when the next try
 * is, and what of that is news. hop.c calls this. */
#include <sys/random.h>

#include "common/clock.h"
#include "daemon/core/timer.h"
#include "daemon/remote/hop_private.h"

static void on_time(evutil_socket_t fd, short what, void *argument)
{
    (void)fd;
    (void)what;
    struct hop *hop = argument;
    timer_stop(&hop->outage);
    tunnel_client_close(hop, LINK_CAUSE_NETWORK_DOWN, "given up: the server stayed silent");
}

/* A hop that a human paid for is kept as long as `dead_after` says. One that keys alone open is
 * given up after one more keepalive interval and opened again, which is sooner than TCP would
 * notice that the network is back. */
void outage_arm(struct hop *hop)
{
    const struct cluster_config *config = hop->config;
    const struct hop_machine *machine = &hop->machine;
    bool waits = machine->state == HOP_DEGRADED && !machine->human && !machine->closing &&
                 config->dead_after_ms;
    int64_t ms = config->keepalive_ms < config->dead_after_ms ? config->keepalive_ms
                                                              : config->dead_after_ms;
    if (!waits) {
        timer_stop(&hop->outage);
    } else if (!hop->outage) {
        timer_start(&hop->outage, hop->remote->manager->base, ms, on_time, hop);
    }
}

static void on_retry(evutil_socket_t fd, short what, void *argument)
{
    (void)fd;
    (void)what;
    hop_apply(argument, HOP_RETRY);
}

/* Counted from the beginning of the last try: one that took long was a pause already. */
void outage_schedule(struct hop *hop)
{
    const struct hop_machine first = {.tries = 1};
    uint32_t random = 0;
    (void)!getrandom(&random, sizeof random, GRND_NONBLOCK);
    int64_t least = hop_backoff_ms(&first, random), ms = hop_backoff_ms(&hop->machine, random);
    ms -= clock_monotonic_ms() - hop->connect_began_ms;
    ms = ms > least ? ms : least;
    hop->retry_ms = clock_monotonic_ms() + ms;
    hop_timer(hop, ms, on_retry);
}

/* However often it is wanted, tries keep a distance: a server that refuses them must not take
 * this host for an attacker. */
void outage_hurry(struct hop *hop, bool network)
{
    int64_t now_ms = clock_monotonic_ms();
    int64_t at_ms = hop->connect_began_ms + hop_floor_ms(&hop->machine, network);
    if (!hop->machine.scheduled) {
        return;
    }
    if (at_ms <= now_ms) {
        hop_apply(hop, HOP_NETWORK);
    } else if (at_ms < hop->retry_ms) {
        hop->retry_ms = at_ms;
        hop_timer(hop, at_ms - now_ms, on_retry);
    }
}

/* "Since" stays the beginning of the outage, or of its newest cause. */
bool outage_goes_on(const struct hop *hop, enum hop_state before, bool attended)
{
    const struct hop_machine *machine = &hop->machine;
    bool begins = before == HOP_DOWN && machine->state == HOP_CONNECTING;
    bool fails = before == HOP_CONNECTING && machine->state == HOP_DOWN;
    return machine->lasting && machine->cause && !attended && !machine->attended &&
           (begins || (fails && machine->scheduled && machine->cause == hop->told_cause));
}
