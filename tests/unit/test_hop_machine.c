/* Every state of a hop with every event: no order to connect but where it is allowed. */
#include "tests/unit/check.h"

#include "daemon/remote/hop_machine.h"

static const unsigned CONNECTS = HOP_ACT_CONNECT | HOP_ACT_CONNECT_ALONE;

static struct hop_machine make(int state, int bits, enum link_tunnel_cause cause)
{
    return (struct hop_machine){.state = (enum hop_state)state,
        .cause = cause,
        .wanted = bits & 1,
        .human = bits & 2,
        .lasting = bits & 4,
        .attended = bits & 8,
        .scheduled = (bits & 16) && !(bits & 2),
        .closing = bits & 32,
        .again_alone = bits & 64,
        .again_attended = bits & 128};
}

static bool is_humans(enum hop_event event)
{
    return event == HOP_LOGIN || event == HOP_RELOGIN;
}

static void check_one(int state, int event, int bits, int cause)
{
    struct hop_machine m = make(state, bits, (enum link_tunnel_cause)cause), before = m;
    unsigned actions = hop_step(&m, (enum hop_event)event);
    bool waited = event == HOP_ENDED && before.again_attended;
    CHECK(m.state < HOP_STATES);
    /* The rule: nobody connects for a hop that needs a human but the human. */
    CHECK(!(actions & HOP_ACT_CONNECT) || is_humans((enum hop_event)event) || waited);
    CHECK(!(actions & HOP_ACT_CONNECT_ALONE) || (!before.human && !m.human));
    CHECK(!(actions & HOP_ACT_SCHEDULE) || (!m.human && m.wanted && m.scheduled));
    CHECK(!(actions & CONNECTS) || m.state == HOP_CONNECTING);
    CHECK((actions & CONNECTS) != CONNECTS);
    /* That a human is needed is forgotten by a login that needed none, and is recorded. */
    CHECK(!before.human || m.human || event == HOP_OPENED || event == HOP_KEYS);
    CHECK(before.human == m.human || (actions & HOP_ACT_PERSIST));
    /* What is open is not opened a second time. */
    CHECK(!(actions & CONNECTS) || event == HOP_ENDED ||
          (before.state != HOP_UP && before.state != HOP_DEGRADED));
    /* A retry that is armed and one that runs exclude each other. */
    CHECK(!(actions & CONNECTS) || !m.scheduled);
    if (event == HOP_LOGOUT) {
        CHECK(!m.wanted && !(actions & (CONNECTS | HOP_ACT_SCHEDULE)) && !m.scheduled);
    }
    /* Silence alone closes nothing. */
    if (event == HOP_SILENT) {
        CHECK(!actions);
    }
}

static void check_every_case(void)
{
    for (int state = 0; state < HOP_STATES; state++) {
        for (int event = 0; event < HOP_EVENTS; event++) {
            for (int bits = 0; bits < 256; bits++) {
                for (int cause = 0; cause <= LINK_CAUSE_FAILED; cause++) {
                    check_one(state, event, bits, cause);
                }
            }
        }
    }
}

/* ---- every history: what can come about, with what is true beside the machine ---- */

struct world {
    struct hop_machine machine;
    bool needs;   /* the newest login, or try, needed a human */
    bool present; /* one waits at a terminal for this hop */
};

enum { WORLDS = 1 << 17 };
static struct world queue[WORLDS];
static bool seen[WORLDS];
static size_t queued;

static void visit(const struct world *world)
{
    const struct hop_machine *m = &world->machine;
    const bool bits[] = {m->wanted, m->human, m->scheduled, m->attended, m->closing,
        m->again_attended, m->again_alone, m->lasting, world->needs, world->present};
    size_t index = (size_t)m->state * 16 + (size_t)m->cause;
    for (size_t i = 0; i < sizeof bits / sizeof *bits; i++) {
        index = index * 2 + bits[i];
    }
    if (!seen[index]) {
        seen[index] = true;
        queue[queued] = *world;
        queue[queued].machine.tries = queue[queued].machine.reconnects = 0;
        queued++;
    }
}

static bool has_tunnel(const struct hop_machine *m)
{
    return m->closing || m->state == HOP_UP || m->state == HOP_DEGRADED ||
           m->state == HOP_CONNECTING || (m->state == HOP_AUTH_NEEDED && m->attended);
}

/* Whether it can happen now. */
static bool may_come(const struct world *world, enum hop_event event)
{
    const struct hop_machine *m = &world->machine;
    bool unattended = m->state == HOP_CONNECTING && !m->attended;
    switch (event) {
    case HOP_PROMPTED:
    case HOP_HUMAN:
        return has_tunnel(m) && !unattended; /* who cannot answer is not asked */
    case HOP_KEYS:
    case HOP_OPENED:
    case HOP_OPENED_BY_HUMAN:
    case HOP_SILENT:
    case HOP_ENDED:
        return has_tunnel(m);
    case HOP_ABANDONED:
        return world->present;
    case HOP_RESTORED:
    case HOP_ADOPTED:
    case HOP_ADOPTED_LOGIN:
        return m->state == HOP_DOWN && !m->scheduled && !m->closing;
    default:
        return true;
    }
}

static void follow(const struct world *from, enum hop_event event, int cause)
{
    struct world to = *from;
    struct hop_machine *m = &to.machine;
    m->cause = event == HOP_ENDED ? (enum link_tunnel_cause)cause : m->cause;
    bool counts = !m->closing && (event == HOP_KEYS || has_tunnel(m));
    to.present = is_humans(event) || (from->present && event != HOP_ABANDONED);
    if (event == HOP_PROMPTED || event == HOP_HUMAN ||
        (event == HOP_ENDED && m->cause == LINK_CAUSE_AUTH_NEEDED)) {
        to.needs = true;
    } else if (counts && (event == HOP_OPENED || event == HOP_OPENED_BY_HUMAN) &&
               m->state != HOP_UP && m->state != HOP_DEGRADED) {
        to.needs = event == HOP_OPENED_BY_HUMAN;
    } else if (counts && event == HOP_KEYS &&
               (m->state == HOP_UP || m->state == HOP_DEGRADED)) {
        to.needs = false;
    }
    unsigned actions = hop_step(m, event);
    CHECK(!(actions & HOP_ACT_CONNECT) || to.present);
    CHECK(!(actions & HOP_ACT_CONNECT_ALONE) || !to.needs);
    CHECK(!(actions & CONNECTS) || event == HOP_ENDED || !has_tunnel(&from->machine));
    CHECK(to.needs == m->human);
    if (event == HOP_ENDED && !(actions & CONNECTS)) {
        to.present = false; /* told why */
    }
    visit(&to);
    if (m->state == HOP_UP && !m->closing) {
        to.present = false; /* served */
        visit(&to);
    }
}

static void check_every_history(void)
{
    for (int bits = 0; bits < 4; bits++) { /* what a record may say */
        struct world start = {.machine = {.wanted = bits & 1, .human = bits & 2}};
        start.needs = start.machine.human;
        visit(&start);
    }
    for (size_t at = 0; at < queued; at++) {
        for (int event = 0; event < HOP_EVENTS; event++) {
            int causes = event == HOP_ENDED ? LINK_CAUSE_FAILED : LINK_CAUSE_NETWORK_DOWN;
            for (int cause = LINK_CAUSE_NETWORK_DOWN; cause <= causes; cause++) {
                if (may_come(&queue[at], (enum hop_event)event)) {
                    const struct world from = queue[at];
                    follow(&from, (enum hop_event)event, cause);
                }
            }
        }
    }
    CHECK(queued > 200);
}

static void check_a_human_hop(void)
{
    struct hop_machine m = {0};
    CHECK_INT(hop_step(&m, HOP_LOGIN), HOP_ACT_CONNECT);
    CHECK_INT(hop_step(&m, HOP_PROMPTED), HOP_ACT_PERSIST); /* before it is answered */
    CHECK(m.state == HOP_AUTH_NEEDED && m.human);
    CHECK_INT(hop_step(&m, HOP_LOGIN), 0); /* somebody is being asked already */
    hop_step(&m, HOP_ANSWERED);
    CHECK_INT(hop_step(&m, HOP_OPENED_BY_HUMAN), HOP_ACT_PERSIST);
    CHECK(m.state == HOP_UP && m.wanted && m.human);
    CHECK_INT(hop_step(&m, HOP_SILENT), 0);
    CHECK_INT(m.state, HOP_DEGRADED);
    hop_step(&m, HOP_HEARD);
    CHECK_INT(m.state, HOP_UP);
    m.cause = LINK_CAUSE_NETWORK_DOWN;
    CHECK_INT(hop_step(&m, HOP_ENDED), 0);
    CHECK_INT(m.state, HOP_AUTH_NEEDED);
    CHECK_INT(hop_step(&m, HOP_NETWORK) | hop_step(&m, HOP_RETRY), 0);
    CHECK_INT(hop_step(&m, HOP_LOGIN_ALONE), 0);
    CHECK_INT(hop_step(&m, HOP_LOGIN), HOP_ACT_CONNECT);
    m.cause = LINK_CAUSE_AUTH_FAILED;
    CHECK_INT(hop_step(&m, HOP_ENDED), 0);
    CHECK_INT(m.state, HOP_AUTH_NEEDED);
}

static void check_a_key_hop(void)
{
    struct hop_machine m = {0};
    CHECK_INT(hop_step(&m, HOP_LOGIN_ALONE), HOP_ACT_CONNECT_ALONE);
    CHECK_INT(hop_step(&m, HOP_OPENED), HOP_ACT_PERSIST);
    for (int i = 1; i <= 10; i++) {
        m.cause = LINK_CAUSE_NETWORK_DOWN;
        CHECK_INT(hop_step(&m, HOP_ENDED), HOP_ACT_SCHEDULE);
        CHECK_INT(m.tries, i);
        CHECK_INT(hop_step(&m, HOP_RETRY), HOP_ACT_CONNECT_ALONE | HOP_ACT_CANCEL_TIMER);
    }
    hop_step(&m, HOP_OPENED);
    CHECK_INT(m.reconnects, 1);
    /* The key is refused one day: from now on a human must come. */
    m.cause = LINK_CAUSE_NETWORK_DOWN;
    hop_step(&m, HOP_ENDED);
    CHECK_INT(hop_step(&m, HOP_NETWORK), HOP_ACT_CONNECT_ALONE | HOP_ACT_CANCEL_TIMER);
    m.cause = LINK_CAUSE_AUTH_NEEDED;
    CHECK_INT(hop_step(&m, HOP_ENDED), HOP_ACT_PERSIST);
    CHECK(m.state == HOP_AUTH_NEEDED && m.human);
    /* A changed host key is nothing that waiting mends. */
    m = (struct hop_machine){
        .state = HOP_UP, .wanted = true, .lasting = true, .cause = LINK_CAUSE_HOST_KEY_CHANGED};
    CHECK_INT(hop_step(&m, HOP_ENDED), 0);
    CHECK_INT(m.state, HOP_DOWN);
}

static void check_again(void)
{
    struct hop_machine m = {.state = HOP_UP, .wanted = true, .human = true, .lasting = true};
    CHECK_INT(hop_step(&m, HOP_RELOGIN), HOP_ACT_CLOSE);
    m.cause = LINK_CAUSE_CANCELLED;
    CHECK_INT(hop_step(&m, HOP_ENDED), HOP_ACT_CONNECT);
    CHECK_INT(hop_step(&m, HOP_LOGOUT), HOP_ACT_PERSIST | HOP_ACT_CLOSE);
    CHECK_INT(hop_step(&m, HOP_OPENED_BY_HUMAN), 0); /* too late */
    CHECK_INT(hop_step(&m, HOP_ENDED), 0);
    CHECK(m.state == HOP_DOWN && !m.wanted);
}

/* ^C while the old connection ends, or while the way is being found: nobody is left to ask. */
static void check_abandoned(void)
{
    struct hop_machine m = {.state = HOP_UP, .wanted = true, .human = true, .lasting = true};
    hop_step(&m, HOP_RELOGIN);
    CHECK_INT(hop_step(&m, HOP_ABANDONED), 0);
    m.cause = LINK_CAUSE_CANCELLED;
    CHECK_INT(hop_step(&m, HOP_ENDED), 0);
    CHECK_INT(m.state, HOP_AUTH_NEEDED);
    /* Twice, of a hop that nobody had yet. */
    m = (struct hop_machine){0};
    CHECK_INT(hop_step(&m, HOP_LOGIN), HOP_ACT_CONNECT);
    CHECK_INT(hop_step(&m, HOP_ABANDONED), HOP_ACT_CLOSE);
    CHECK_INT(hop_step(&m, HOP_LOGIN), 0);
    CHECK_INT(hop_step(&m, HOP_ABANDONED), 0);
    m.cause = LINK_CAUSE_CANCELLED;
    CHECK_INT(hop_step(&m, HOP_ENDED), 0);
    CHECK_INT(m.state, HOP_DOWN);
    /* What keys open comes back, also when a human tried to help. */
    m = (struct hop_machine){.wanted = true, .lasting = true, .scheduled = true};
    CHECK(hop_step(&m, HOP_LOGIN) & HOP_ACT_CONNECT);
    CHECK_INT(hop_step(&m, HOP_ABANDONED), HOP_ACT_CLOSE);
    m.cause = LINK_CAUSE_CANCELLED;
    CHECK_INT(hop_step(&m, HOP_ENDED), HOP_ACT_CONNECT_ALONE);
    /* Another one who cannot be asked does not take the terminal's place. */
    m = (struct hop_machine){.state = HOP_UP, .wanted = true, .human = true, .lasting = true};
    hop_step(&m, HOP_RELOGIN);
    CHECK_INT(hop_step(&m, HOP_LOGIN_ALONE), 0);
    m.cause = LINK_CAUSE_CANCELLED;
    CHECK_INT(hop_step(&m, HOP_ENDED), HOP_ACT_CONNECT);
}

/* A human comes while keys are tried by themselves. */
static void check_human_beside_keys(void)
{
    struct hop_machine m = {.state = HOP_CONNECTING, .wanted = true, .lasting = true}, other;
    CHECK_INT(hop_step(&m, HOP_LOGIN), 0);
    other = m;
    m.cause = LINK_CAUSE_AUTH_NEEDED;
    CHECK_INT(hop_step(&m, HOP_ENDED), HOP_ACT_CONNECT | HOP_ACT_PERSIST);
    CHECK(m.attended);
    CHECK_INT(hop_step(&other, HOP_OPENED), HOP_ACT_PERSIST);
    other.cause = LINK_CAUSE_NETWORK_DOWN;
    CHECK_INT(hop_step(&other, HOP_ENDED), HOP_ACT_SCHEDULE);
    /* Its answer counts, although the connection is lost before it is up. */
    hop_step(&m, HOP_HUMAN);
    m.cause = LINK_CAUSE_NETWORK_DOWN;
    CHECK_INT(hop_step(&m, HOP_ENDED), 0);
    CHECK_INT(m.state, HOP_AUTH_NEEDED);
    CHECK_INT(hop_step(&m, HOP_NETWORK) | hop_step(&m, HOP_LOGIN_ALONE), 0);
}

static void check_force_alone(void)
{
    struct hop_machine m = {.state = HOP_UP, .wanted = true, .human = true, .lasting = true};
    CHECK_INT(hop_step(&m, HOP_RELOGIN_ALONE), 0);
    CHECK(m.state == HOP_UP && !m.closing);
    m.human = false;
    CHECK_INT(hop_step(&m, HOP_RELOGIN_ALONE), HOP_ACT_CLOSE);
    m.cause = LINK_CAUSE_CANCELLED;
    CHECK_INT(hop_step(&m, HOP_ENDED), HOP_ACT_CONNECT_ALONE);
}

/* What a new gearsd finds. */
static void check_adoption(void)
{
    struct hop_machine m = {.wanted = true, .human = true};
    CHECK_INT(hop_step(&m, HOP_ADOPTED_LOGIN), HOP_ACT_CLOSE);
    m.cause = LINK_CAUSE_CANCELLED;
    CHECK_INT(hop_step(&m, HOP_ENDED), 0);
    CHECK_INT(m.state, HOP_AUTH_NEEDED);
    CHECK_INT(hop_step(&m, HOP_LOGIN_ALONE), 0);
    m = (struct hop_machine){.wanted = true};
    CHECK_INT(hop_step(&m, HOP_ADOPTED_LOGIN), HOP_ACT_CLOSE);
    m.cause = LINK_CAUSE_CANCELLED;
    CHECK_INT(hop_step(&m, HOP_ENDED), HOP_ACT_CONNECT_ALONE);
    m.cause = LINK_CAUSE_NETWORK_DOWN;
    CHECK_INT(hop_step(&m, HOP_ENDED), HOP_ACT_SCHEDULE);
    m = (struct hop_machine){0}; /* a first login: nobody wants its rest */
    hop_step(&m, HOP_ADOPTED_LOGIN);
    m.cause = LINK_CAUSE_CANCELLED;
    CHECK_INT(hop_step(&m, HOP_ENDED), 0);
    CHECK_INT(m.state, HOP_DOWN);
    m = (struct hop_machine){.cause = LINK_CAUSE_NETWORK_DOWN};
    CHECK_INT(hop_step(&m, HOP_ADOPTED), HOP_ACT_PERSIST);
    CHECK(m.state == HOP_UP && m.wanted && m.lasting && !m.cause);
    CHECK_INT(hop_step(&m, HOP_HUMAN), HOP_ACT_PERSIST);
    CHECK_INT(hop_step(&m, HOP_KEYS), HOP_ACT_PERSIST);
    m = (struct hop_machine){.closing = true}; /* it was told to end before it spoke */
    CHECK_INT(hop_step(&m, HOP_ADOPTED), 0);
    CHECK(!m.wanted);
}

static void check_backoff(void)
{
    struct hop_machine m = {.cause = LINK_CAUSE_REFUSED};
    int64_t floor = 0;
    for (m.tries = 0; m.tries < 40; m.tries++) {
        int64_t low = hop_backoff_ms(&m, 0), high = hop_backoff_ms(&m, UINT32_MAX);
        CHECK(low >= HOP_BACKOFF_FIRST_MS * 4 / 5 && high <= HOP_BACKOFF_MOST_MS * 6 / 5);
        CHECK(low <= high);
        /* However much they are asked for, tries come slower and slower. */
        CHECK(hop_floor_ms(&m, true) >= HOP_FLOOR_MS && hop_floor_ms(&m, false) >= floor);
        floor = hop_floor_ms(&m, false);
    }
    CHECK(floor >= 5 * HOP_FLOOR_MS);
    m.cause = LINK_CAUSE_NETWORK_DOWN;
    CHECK(hop_floor_ms(&m, true) == HOP_FLOOR_NETWORK_MS && hop_floor_ms(&m, false) == floor);
    /* Demands do not start the backoff anew. */
    m = (struct hop_machine){.wanted = true, .lasting = true, .scheduled = true, .tries = 7};
    CHECK_INT(hop_step(&m, HOP_LOGIN_ALONE), 0);
    CHECK(m.scheduled && m.tries == 7);
}

int main(void)
{
    check_every_case();
    check_every_history();
    check_a_human_hop();
    check_a_key_hop();
    check_again();
    check_abandoned();
    check_human_beside_keys();
    check_force_alone();
    check_adoption();
    check_backoff();
    CHECK_STRING(hop_state_name(HOP_AUTH_NEEDED), "auth-needed");
    CHECK_STRING(hop_cause_name(LINK_CAUSE_HOST_KEY_CHANGED), "host-key-changed");
    return check_result();
}
