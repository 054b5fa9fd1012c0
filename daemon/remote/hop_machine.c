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

int64_t hop_backoff_ms(const struct hop_machine *machine, uint32_t random)
{
    int64_t ms = HOP_BACKOFF_FIRST_MS;
    for (int i = 1; i < machine->tries && ms < HOP_BACKOFF_MOST_MS; i++) {
        ms *= 2;
    }
    ms = ms < HOP_BACKOFF_MOST_MS ? ms : HOP_BACKOFF_MOST_MS;
    return ms * 4 / 5 + (int64_t)(random % (uint32_t)(ms * 2 / 5 + 1));
}

/* Whether trying again by itself may help, and is allowed. */
static bool may_retry(const struct hop_machine *m)
{
    bool passing = m->cause == LINK_CAUSE_NETWORK_DOWN || m->cause == LINK_CAUSE_REFUSED ||
                   m->cause == LINK_CAUSE_POLICY || m->cause == LINK_CAUSE_FAILED;
    return m->wanted && m->lasting && !m->human && passing;
}

static unsigned connect_now(struct hop_machine *m, bool attended)
{
    unsigned actions = m->scheduled ? HOP_ACT_CANCEL_TIMER : 0;
    m->scheduled = false;
    m->attended = attended;
    if (attended || !m->lasting) { /* else it is still what the outage is about */
        m->cause = LINK_CAUSE_NONE;
    }
    m->state = HOP_CONNECTING;
    return actions | (attended ? HOP_ACT_CONNECT : HOP_ACT_CONNECT_ALONE);
}

/* Who cannot be asked gets a connection only where the last login asked nobody. */
static unsigned on_login(struct hop_machine *m, bool attended)
{
    if (m->closing) {
        m->again = true;
        m->again_attended = attended;
        return 0;
    }
    if (m->state == HOP_UP || m->state == HOP_DEGRADED || m->state == HOP_CONNECTING ||
        (m->state == HOP_AUTH_NEEDED && m->attended)) {
        return 0; /* there is one, or it is on its way */
    }
    if (!attended && m->human) {
        m->state = HOP_AUTH_NEEDED;
        return 0;
    }
    m->tries = 0;
    return connect_now(m, attended);
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
    m->attended = false;
    m->tries = 0;
    return HOP_ACT_PERSIST;
}

static unsigned on_ended(struct hop_machine *m)
{
    unsigned actions = 0;
    bool again = m->again && (m->again_attended || !m->human);
    m->attended = m->closing = m->again = false;
    m->tries++;
    if (again) {
        m->tries = 0;
        return connect_now(m, m->again_attended);
    }
    if (m->cause == LINK_CAUSE_AUTH_NEEDED && !m->human) {
        m->human = true; /* whatever let it in before does no more */
        actions = HOP_ACT_PERSIST;
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

/* Whether there is a tunnel, or will be in a moment. */
static bool is_open(const struct hop_machine *m)
{
    return m->state == HOP_UP || m->state == HOP_DEGRADED || m->state == HOP_CONNECTING ||
           (m->state == HOP_AUTH_NEEDED && m->attended);
}

static unsigned on_relogin(struct hop_machine *m)
{
    if (!is_open(m)) {
        return on_login(m, true);
    }
    m->closing = m->again = m->again_attended = true;
    return HOP_ACT_CLOSE;
}

static unsigned on_logout(struct hop_machine *m)
{
    unsigned actions = m->wanted ? HOP_ACT_PERSIST : 0;
    m->wanted = m->lasting = m->again = false;
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

unsigned hop_step(struct hop_machine *m, enum hop_event event)
{
    switch (event) {
    case HOP_LOGIN:
    case HOP_LOGIN_ALONE:
        return on_login(m, event == HOP_LOGIN);
    case HOP_PROMPTED:
        m->state = m->state == HOP_CONNECTING && m->attended ? HOP_AUTH_NEEDED : m->state;
        return 0;
    case HOP_ANSWERED:
        m->state = m->state == HOP_AUTH_NEEDED && m->attended ? HOP_CONNECTING : m->state;
        return 0;
    case HOP_OPENED:
    case HOP_OPENED_BY_HUMAN:
        return on_opened(m, event == HOP_OPENED_BY_HUMAN);
    case HOP_SILENT:
        m->state = m->state == HOP_UP ? HOP_DEGRADED : m->state;
        return 0;
    case HOP_HEARD:
        m->state = m->state == HOP_DEGRADED ? HOP_UP : m->state;
        return 0;
    case HOP_ENDED:
        return on_ended(m);
    case HOP_RETRY:
    case HOP_NETWORK:
        return m->state == HOP_DOWN && m->scheduled && !m->human ? connect_now(m, false) : 0;
    case HOP_LOGOUT:
        return on_logout(m);
    case HOP_RELOGIN:
        return on_relogin(m);
    case HOP_RESTORED:
        return m->wanted && m->state == HOP_DOWN ? on_restored(m) : 0;
    default:
        return 0;
    }
}
