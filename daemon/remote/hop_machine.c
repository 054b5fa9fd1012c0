/* What follows from what happened to a hop; hop.c carries it out. Tested exhaustively. */
#include "daemon/remote/hop_machine.h"

#include <stddef.h>

const char *hop_state_name(enum hop_state state)
{
    static const char *const names[HOP_STATES] = {[HOP_DOWN] = "down",
        [HOP_CONNECTING] = "connecting",
        [HOP_AUTH_NEEDED] = "auth-needed",
        [HOP_UP] = "up",
        [HOP_DEGRADED] = "degraded"};
    return state < HOP_STATES ? names[state] : "?";
}

const char *hop_cause_name(enum link_tunnel_cause cause)
{
    static const char *const names[] = {[LINK_CAUSE_NONE] = "",
        [LINK_CAUSE_NETWORK_DOWN] = "network-down",
        [LINK_CAUSE_REFUSED] = "refused",
        [LINK_CAUSE_NO_COMMON_ALGORITHM] = "no-common-algorithm",
        [LINK_CAUSE_HOST_KEY_CHANGED] = "host-key-changed",
        [LINK_CAUSE_HOST_KEY_UNKNOWN] = "host-key-unknown",
        [LINK_CAUSE_AUTH_NEEDED] = "auth-needed",
        [LINK_CAUSE_AUTH_FAILED] = "auth-failed",
        [LINK_CAUSE_POLICY] = "policy",
        [LINK_CAUSE_CANCELLED] = "cancelled",
        [LINK_CAUSE_FAILED] = "failed"};
    return cause < sizeof names / sizeof *names ? names[cause] : "failed";
}

static int64_t exponential_ms(const struct hop_machine *machine)
{
    int64_t ms = HOP_BACKOFF_FIRST_MS;
    for (int i = 1; i < machine->tries && ms < HOP_BACKOFF_MOST_MS; i++) {
        ms *= 2;
    }
    return ms < HOP_BACKOFF_MOST_MS ? ms : HOP_BACKOFF_MOST_MS;
}

int64_t hop_backoff_ms(const struct hop_machine *machine, uint32_t random)
{
    int64_t ms = exponential_ms(machine);
    return ms * 4 / 5 + (int64_t)(random % (uint32_t)(ms * 2 / 5 + 1));
}

int64_t hop_floor_ms(const struct hop_machine *machine, bool network)
{
    int64_t ms = exponential_ms(machine) / 2;
    if (network && machine->cause == LINK_CAUSE_NETWORK_DOWN) {
        return HOP_FLOOR_NETWORK_MS;
    }
    return ms > HOP_FLOOR_MS ? ms : HOP_FLOOR_MS;
}

/* Whether trying again by itself may help, and is allowed. */
static bool may_retry(const struct hop_machine *m)
{
    bool passing = m->cause == LINK_CAUSE_NETWORK_DOWN || m->cause == LINK_CAUSE_REFUSED ||
                   m->cause == LINK_CAUSE_POLICY || m->cause == LINK_CAUSE_FAILED;
    return m->wanted && m->lasting && !m->human && passing;
}

/* Whether there is a tunnel, or will be in a moment. */
static bool is_open(const struct hop_machine *m)
{
    return m->state == HOP_UP || m->state == HOP_DEGRADED || m->state == HOP_CONNECTING ||
           (m->state == HOP_AUTH_NEEDED && m->attended);
}

static bool is_up(const struct hop_machine *m)
{
    return m->state == HOP_UP || m->state == HOP_DEGRADED;
}

static unsigned set_human(struct hop_machine *m, bool human)
{
    unsigned actions = m->human != human ? HOP_ACT_PERSIST : 0;
    m->human = human;
    return actions;
}

static unsigned connect_now(struct hop_machine *m, bool attended)
{
    unsigned actions = m->scheduled ? HOP_ACT_CANCEL_TIMER : 0;
    m->scheduled = false;
    m->attended = attended;
    if (attended || !m->lasting || m->cause == LINK_CAUSE_CANCELLED) { /* else the outage's */
        m->cause = LINK_CAUSE_NONE;
    }
    m->state = HOP_CONNECTING;
    return actions | (attended ? HOP_ACT_CONNECT : HOP_ACT_CONNECT_ALONE);
}

/* Who cannot be asked gets a connection only where the last login asked nobody, and none
 * sooner than the backoff has it. */
static unsigned on_login(struct hop_machine *m, bool attended)
{
    bool tries_alone = m->state == HOP_CONNECTING && !m->attended;
    if (m->closing || (attended && tries_alone)) { /* that try may end for want of a human */
        m->again_attended |= attended;
        m->again_alone |= !attended;
        return 0;
    }
    if (is_open(m) || (!attended && m->scheduled)) {
        return 0; /* there is one, or it is on its way */
    }
    if (!attended && m->human) {
        m->state = HOP_AUTH_NEEDED;
        return 0;
    }
    m->tries = 0;
    return connect_now(m, attended);
}

/* Nobody is left whom a login could ask. What was wanted before comes back by keys. */
static unsigned on_abandoned(struct hop_machine *m)
{
    bool logs_in = is_open(m) && m->attended && !is_up(m) && !m->closing;
    if (logs_in || (m->closing && m->again_attended)) {
        m->again_alone |= m->wanted && m->lasting;
    }
    m->again_attended = false;
    m->closing |= logs_in;
    return logs_in ? HOP_ACT_CLOSE : 0;
}

static unsigned on_opened(struct hop_machine *m, bool human)
{
    if (m->closing || (m->state != HOP_CONNECTING && m->state != HOP_AUTH_NEEDED)) {
        return 0;
    }
    m->reconnects = m->attended || !m->lasting ? 0 : m->reconnects + 1;
    m->state = HOP_UP;
    m->cause = LINK_CAUSE_NONE;
    m->wanted = m->lasting = true;
    m->human = human;
    m->attended = m->again_attended = m->again_alone = false;
    m->tries = 0;
    return HOP_ACT_PERSIST;
}

static unsigned on_ended(struct hop_machine *m)
{
    unsigned actions = 0;
    if (m->cause == LINK_CAUSE_AUTH_NEEDED) { /* whatever let it in before does no more */
        actions = set_human(m, true);
    }
    bool attended = m->again_attended, again = attended || (m->again_alone && !m->human);
    m->attended = m->closing = m->again_attended = m->again_alone = false;
    m->tries++;
    if (again) {
        m->tries = 0;
        return actions | connect_now(m, attended);
    }
    if (may_retry(m)) {
        m->state = HOP_DOWN;
        m->scheduled = true;
        return actions | HOP_ACT_SCHEDULE;
    }
    bool asks = m->wanted && m->lasting && m->human;
    m->state = asks || m->cause == LINK_CAUSE_AUTH_NEEDED ? HOP_AUTH_NEEDED : HOP_DOWN;
    return actions;
}

static unsigned on_relogin(struct hop_machine *m, bool attended)
{
    if (attended ? !is_open(m) : !is_up(m)) { /* a try under way is as new as can be */
        return on_login(m, attended);
    }
    if (!attended && m->human) {
        return 0; /* what a human paid for is not given up for nothing */
    }
    m->closing = true;
    m->again_attended |= attended;
    m->again_alone |= !attended;
    return HOP_ACT_CLOSE;
}

static unsigned on_logout(struct hop_machine *m)
{
    unsigned actions = m->wanted ? HOP_ACT_PERSIST : 0;
    m->wanted = m->lasting = m->again_attended = m->again_alone = false;
    actions |= m->scheduled ? HOP_ACT_CANCEL_TIMER : 0;
    m->scheduled = false;
    if (is_open(m)) {
        m->closing = true;
        return actions | HOP_ACT_CLOSE; /* down once it has ended */
    }
    m->state = HOP_DOWN;
    m->cause = LINK_CAUSE_NONE;
    return actions;
}

static unsigned on_restored(struct hop_machine *m)
{
    m->lasting = true;
    if (!m->human) {
        return connect_now(m, false);
    }
    m->state = HOP_AUTH_NEEDED;
    return 0;
}

/* `human` stays as recorded until the tunnel says it. */
static unsigned on_adopted(struct hop_machine *m)
{
    unsigned actions = m->wanted ? 0 : HOP_ACT_PERSIST;
    if (m->state != HOP_DOWN || m->closing || m->scheduled) {
        return 0;
    }
    m->state = HOP_UP;
    m->cause = LINK_CAUSE_NONE;
    m->wanted = m->lasting = true;
    return actions;
}

/* Who could answer left with the gearsd that led it. What is wanted comes back by keys. */
static unsigned on_adopted_login(struct hop_machine *m)
{
    if ((m->state != HOP_DOWN && !is_up(m)) || m->closing || m->scheduled) {
        return 0;
    }
    m->state = HOP_CONNECTING;
    m->lasting = m->again_alone = m->wanted;
    m->closing = true;
    return HOP_ACT_CLOSE;
}

static unsigned on_prompted(struct hop_machine *m)
{
    if (m->state == HOP_DOWN && m->scheduled) {
        return 0; /* no tunnel is there */
    }
    if (m->state == HOP_CONNECTING && m->attended && !m->closing) {
        m->state = HOP_AUTH_NEEDED;
    }
    return set_human(m, true);
}

/* What an open or opening connection tells beside. */
static unsigned on_said(struct hop_machine *m, enum hop_event event)
{
    switch (event) {
    case HOP_PROMPTED:
        return on_prompted(m);
    case HOP_ASKED:
        m->state = m->state == HOP_CONNECTING && m->attended ? HOP_AUTH_NEEDED : m->state;
        return 0;
    case HOP_ANSWERED:
        m->state = m->state == HOP_AUTH_NEEDED && m->attended ? HOP_CONNECTING : m->state;
        return 0;
    case HOP_HUMAN:
        return m->scheduled ? 0 : set_human(m, true);
    case HOP_KEYS:
        return is_up(m) && !m->closing ? set_human(m, false) : 0;
    case HOP_SILENT:
        m->state = m->state == HOP_UP ? HOP_DEGRADED : m->state;
        return 0;
    default:
        m->state = m->state == HOP_DEGRADED ? HOP_UP : m->state; /* HOP_HEARD */
        return 0;
    }
}

unsigned hop_step(struct hop_machine *m, enum hop_event event)
{
    switch (event) {
    case HOP_LOGIN:
    case HOP_LOGIN_ALONE:
        return on_login(m, event == HOP_LOGIN);
    case HOP_RELOGIN:
    case HOP_RELOGIN_ALONE:
        return on_relogin(m, event == HOP_RELOGIN);
    case HOP_ABANDONED:
        return on_abandoned(m);
    case HOP_OPENED:
    case HOP_OPENED_BY_HUMAN:
        return on_opened(m, event == HOP_OPENED_BY_HUMAN);
    case HOP_ENDED:
        return on_ended(m);
    case HOP_RETRY:
    case HOP_NETWORK:
        return m->state == HOP_DOWN && m->scheduled && !m->human ? connect_now(m, false) : 0;
    case HOP_LOGOUT:
        return on_logout(m);
    case HOP_RESTORED:
        return m->wanted && m->state == HOP_DOWN ? on_restored(m) : 0;
    case HOP_ADOPTED:
        return on_adopted(m);
    case HOP_ADOPTED_LOGIN:
        return on_adopted_login(m);
    default:
        return on_said(m, event);
    }
}
