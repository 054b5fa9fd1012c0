/* The pure state machine of a service; the manager carries out the actions. */
#include "daemon/service/machine.h"

const char *service_state_name(enum service_state state)
{
    static const char *const names[SERVICE_STATES] = {
        "stopped", "starting", "ready", "stopping", "backoff", "failed"};
    return names[state];
}

static unsigned launch(struct machine *machine, int64_t now_ms)
{
    machine->state = SERVICE_STARTING;
    machine->started_ms = now_ms;
    machine->again = machine->failing = false;
    return ACTION_LAUNCH | ACTION_CANCEL_TIMER;
}

static unsigned on_start(struct machine *machine, int64_t now_ms)
{
    machine->wanted = true;
    switch (machine->state) {
    case SERVICE_STARTING:
    case SERVICE_READY:
        return ACTION_PERSIST;
    case SERVICE_STOPPING:
        machine->again = true;
        machine->failing = false;
        return ACTION_PERSIST;
    default:
        machine->deaths = 0;
        machine->restarts = 0;
        return launch(machine, now_ms) | ACTION_PERSIST;
    }
}

static unsigned on_stop(struct machine *machine)
{
    machine->wanted = false;
    machine->again = false;
    machine->failing = false;
    if (machine->state == SERVICE_STARTING || machine->state == SERVICE_READY) {
        machine->state = SERVICE_STOPPING;
        return ACTION_KILL | ACTION_PERSIST;
    }
    if (machine->state == SERVICE_BACKOFF || machine->state == SERVICE_FAILED) {
        machine->state = SERVICE_STOPPED;
    }
    return ACTION_PERSIST | ACTION_CANCEL_TIMER;
}

static unsigned on_restart(struct machine *machine, int64_t now_ms)
{
    if (machine->state != SERVICE_STARTING && machine->state != SERVICE_READY) {
        return on_start(machine, now_ms);
    }
    machine->wanted = true;
    machine->again = true;
    machine->state = SERVICE_STOPPING;
    return ACTION_KILL | ACTION_PERSIST;
}

/* A tree that should have lived is gone: again, later, or never. */
static unsigned on_unwanted_death(struct machine *machine, bool clean, int64_t now_ms)
{
    bool again = machine->wanted && (machine->policy == RESTART_ALWAYS ||
                                        (machine->policy == RESTART_ON_FAILURE && !clean));
    if (!again) {
        machine->state = clean || !machine->wanted ? SERVICE_STOPPED : SERVICE_FAILED;
        return ACTION_CANCEL_TIMER;
    }
    if (now_ms - machine->started_ms >= STABLE_MS || !machine->deaths ||
        now_ms - machine->window_ms > DEATHS_WINDOW_MS) {
        machine->deaths = 0;
        machine->window_ms = now_ms;
    }
    machine->deaths++;
    if (machine->deaths > DEATHS_LIMIT) {
        machine->state = SERVICE_FAILED;
        return ACTION_CANCEL_TIMER;
    }
    machine->state = SERVICE_BACKOFF;
    return ACTION_SCHEDULE;
}

static unsigned on_death(struct machine *machine, bool clean, int64_t now_ms)
{
    switch (machine->state) {
    case SERVICE_STOPPING:
        if (machine->again) {
            machine->deaths = 0;
            machine->restarts = 0;
            return launch(machine, now_ms);
        }
        machine->state = machine->failing ? SERVICE_FAILED : SERVICE_STOPPED;
        machine->failing = false;
        return ACTION_CANCEL_TIMER;
    case SERVICE_STARTING:
    case SERVICE_READY:
        return on_unwanted_death(machine, clean, now_ms);
    default:
        return 0;
    }
}

unsigned machine_step(struct machine *machine, enum service_event event, int64_t now_ms)
{
    switch (event) {
    case EVENT_START:
        return on_start(machine, now_ms);
    case EVENT_STOP:
        return on_stop(machine);
    case EVENT_RESTART:
        return on_restart(machine, now_ms);
    case EVENT_READY:
        if (machine->state == SERVICE_STARTING) {
            machine->state = SERVICE_READY;
        }
        return 0;
    case EVENT_LAUNCH_FAILED:
        if (machine->state == SERVICE_STARTING) {
            machine->state = SERVICE_FAILED;
            return ACTION_CANCEL_TIMER;
        }
        return on_death(machine, false, now_ms);
    case EVENT_GAVE_UP:
        if (machine->state == SERVICE_STARTING || machine->state == SERVICE_READY) {
            machine->state = SERVICE_STOPPING;
            machine->failing = true;
            return ACTION_KILL;
        }
        return 0;
    case EVENT_DIED_CLEAN:
    case EVENT_DIED:
        return on_death(machine, event == EVENT_DIED_CLEAN, now_ms);
    case EVENT_BACKOFF_OVER:
        if (machine->state == SERVICE_BACKOFF) {
            machine->restarts++;
            return launch(machine, now_ms);
        }
        return 0;
    case EVENT_RESET_FAILED:
        if (machine->state == SERVICE_FAILED) {
            machine->state = SERVICE_STOPPED;
            machine->wanted = false;
            machine->deaths = 0;
        }
        return 0;
    case EVENT_ADOPTED:
        machine->state = SERVICE_STARTING;
        return 0;
    default:
        return 0;
    }
}

int64_t machine_backoff_ms(const struct machine *machine, uint32_t random)
{
    int64_t delay = BACKOFF_FIRST_MS;
    for (int i = 1; i < machine->deaths && delay < BACKOFF_MOST_MS; i++) {
        delay *= 2;
    }
    delay = delay < BACKOFF_MOST_MS ? delay : BACKOFF_MOST_MS;
    return delay - delay / 5 + (int64_t)(random % (uint64_t)(2 * delay / 5 + 1));
}
