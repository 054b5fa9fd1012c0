/* Every state with every event: the machine stays within its rules. */
#include "tests/unit/check.h"

#include "daemon/service/machine.h"

static struct machine machine_in(
    enum service_state state, bool wanted, enum restart_policy policy)
{
    return (struct machine){.state = state, .wanted = wanted, .policy = policy};
}

static void check_every_pair(void)
{
    for (int state = 0; state < SERVICE_STATES; state++) {
        for (int event = 0; event < SERVICE_EVENTS; event++) {
            struct machine m = machine_in((enum service_state)state, true, RESTART_ON_FAILURE);
            unsigned actions = machine_step(&m, (enum service_event)event, 1000);
            CHECK(m.state < SERVICE_STATES);
            /* A launch always leads to starting, a kill to stopping, a schedule to backoff. */
            CHECK(!(actions & ACTION_LAUNCH) || m.state == SERVICE_STARTING);
            CHECK(!(actions & ACTION_KILL) || m.state == SERVICE_STOPPING);
            CHECK(!(actions & ACTION_SCHEDULE) || m.state == SERVICE_BACKOFF);
            /* Nothing that runs is launched again. */
            if ((state == SERVICE_STARTING || state == SERVICE_READY) && event == EVENT_START) {
                CHECK(!(actions & ACTION_LAUNCH));
            }
            /* After stop nothing is wanted and nothing is launched. */
            if (event == EVENT_STOP) {
                CHECK(!m.wanted && !(actions & (ACTION_LAUNCH | ACTION_SCHEDULE)));
            }
        }
    }
}

static void check_deaths(void)
{
    struct machine m = machine_in(SERVICE_STOPPED, false, RESTART_ON_FAILURE);
    CHECK(machine_step(&m, EVENT_START, 0) & ACTION_LAUNCH);
    for (int i = 1; i <= DEATHS_LIMIT; i++) {
        CHECK(machine_step(&m, EVENT_DIED, i * 10) & ACTION_SCHEDULE);
        CHECK(m.state == SERVICE_BACKOFF && m.deaths == i);
        CHECK(machine_step(&m, EVENT_BACKOFF_OVER, i * 10 + 5) & ACTION_LAUNCH);
    }
    machine_step(&m, EVENT_DIED, 1000);
    CHECK(m.state == SERVICE_FAILED);
    CHECK(!machine_step(&m, EVENT_BACKOFF_OVER, 1001) && m.state == SERVICE_FAILED);
    machine_step(&m, EVENT_RESET_FAILED, 1002);
    CHECK(m.state == SERVICE_STOPPED);
    /* A long life forgives. */
    m = machine_in(SERVICE_READY, true, RESTART_ON_FAILURE);
    m.deaths = DEATHS_LIMIT;
    machine_step(&m, EVENT_DIED, STABLE_MS + 1);
    CHECK(m.state == SERVICE_BACKOFF && m.deaths == 1);
}

static void check_policies(void)
{
    struct machine m = machine_in(SERVICE_READY, true, RESTART_NO);
    machine_step(&m, EVENT_DIED, 1);
    CHECK(m.state == SERVICE_FAILED);
    m = machine_in(SERVICE_READY, true, RESTART_ON_FAILURE);
    machine_step(&m, EVENT_DIED_CLEAN, 1);
    CHECK(m.state == SERVICE_STOPPED);
    m = machine_in(SERVICE_READY, true, RESTART_ALWAYS);
    machine_step(&m, EVENT_DIED_CLEAN, 1);
    CHECK(m.state == SERVICE_BACKOFF);
    m = machine_in(SERVICE_READY, true, RESTART_NO);
    CHECK(machine_step(&m, EVENT_RESTART, 1) & ACTION_KILL);
    CHECK(machine_step(&m, EVENT_DIED, 2) & ACTION_LAUNCH);
    /* A stop after a restart wins. */
    m = machine_in(SERVICE_READY, true, RESTART_ALWAYS);
    machine_step(&m, EVENT_RESTART, 1);
    machine_step(&m, EVENT_STOP, 1);
    machine_step(&m, EVENT_DIED, 2);
    CHECK(m.state == SERVICE_STOPPED);
    /* Given up: ended first, then failed, unless the user says otherwise meanwhile. */
    m = machine_in(SERVICE_STARTING, true, RESTART_ALWAYS);
    CHECK(machine_step(&m, EVENT_GAVE_UP, 1) & ACTION_KILL);
    CHECK(!(machine_step(&m, EVENT_DIED, 2) & ACTION_SCHEDULE) && m.state == SERVICE_FAILED);
    m = machine_in(SERVICE_STARTING, true, RESTART_ALWAYS);
    machine_step(&m, EVENT_GAVE_UP, 1);
    machine_step(&m, EVENT_STOP, 1);
    machine_step(&m, EVENT_DIED, 2);
    CHECK(m.state == SERVICE_STOPPED);
    m = machine_in(SERVICE_STARTING, true, RESTART_ALWAYS);
    machine_step(&m, EVENT_GAVE_UP, 1);
    machine_step(&m, EVENT_START, 1);
    CHECK(machine_step(&m, EVENT_DIED, 2) & ACTION_LAUNCH);
}

static void check_backoff(void)
{
    struct machine m = {.deaths = 1};
    for (uint32_t random = 0; random < 5000; random += 7) {
        for (m.deaths = 1; m.deaths < 40; m.deaths++) {
            int64_t ms = machine_backoff_ms(&m, random);
            CHECK(ms >= BACKOFF_FIRST_MS * 4 / 5 && ms <= BACKOFF_MOST_MS * 6 / 5);
        }
    }
}

int main(void)
{
    check_every_pair();
    check_deaths();
    check_policies();
    check_backoff();
    return check_result();
}
