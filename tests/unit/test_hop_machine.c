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
        .again = bits & 64,
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
    bool ordered = is_humans((enum hop_event)event) || (before.again && before.again_attended);
    CHECK(m.state < HOP_STATES);
    /* The rule: nobody connects for a hop that needs a human but the human. */
    CHECK(!(actions & CONNECTS) || !before.human || ordered);
    CHECK(!(actions & HOP_ACT_CONNECT_ALONE) || !m.human);
    CHECK(!(actions & HOP_ACT_SCHEDULE) || (!m.human && m.wanted && m.scheduled));
    CHECK(!(actions & CONNECTS) || m.state == HOP_CONNECTING);
    CHECK((actions & CONNECTS) != CONNECTS);
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

static void check_a_human_hop(void)
{
    struct hop_machine m = {0};
    CHECK_INT(hop_step(&m, HOP_LOGIN), HOP_ACT_CONNECT);
    hop_step(&m, HOP_PROMPTED);
    CHECK_INT(m.state, HOP_AUTH_NEEDED);
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

static void check_backoff(void)
{
    struct hop_machine m = {0};
    for (m.tries = 0; m.tries < 40; m.tries++) {
        int64_t low = hop_backoff_ms(&m, 0), high = hop_backoff_ms(&m, UINT32_MAX);
        CHECK(low >= HOP_BACKOFF_FIRST_MS * 4 / 5 && high <= HOP_BACKOFF_MOST_MS * 6 / 5);
        CHECK(low <= high);
    }
}

int main(void)
{
    check_every_case();
    check_a_human_hop();
    check_a_key_hop();
    check_again();
    check_backoff();
    CHECK_STRING(hop_state_name(HOP_AUTH_NEEDED), "auth-needed");
    CHECK_STRING(hop_cause_name(LINK_CAUSE_HOST_KEY_CHANGED), "host-key-changed");
    return check_result();
}
