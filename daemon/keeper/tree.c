/* The service's process tree: reaping, the stages of a stop, and clearing what a dead main
 * process left. As subreaper the keeper is the ancestor of all that the service started. */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "common/clock.h"
#include "common/proc.h"
#include "daemon/keeper/keeper.h"

enum { KILL_MS = 10000, KILL_STEP_MS = 50, FREEZE_ROUNDS = 8 };

static void signal_tree(int signal)
{
    struct proc_list list = {0};
    proc_list_descendants(getpid(), &list);
    proc_list_signal(&list, signal);
    free(list.items);
}

/* Stop everything first, until no scan finds a new one: what forks cannot outrun the KILL. */
static void kill_tree(void)
{
    size_t known = 0;
    for (int i = 0; i < FREEZE_ROUNDS; i++) {
        struct proc_list list = {0};
        proc_list_descendants(getpid(), &list);
        proc_list_signal(&list, SIGSTOP);
        size_t count = list.count;
        free(list.items);
        if (count == known) {
            break;
        }
        known = count;
    }
    signal_tree(SIGKILL);
}

static void set_phase(struct keeper *keeper, enum keeper_phase phase, int64_t deadline_ms)
{
    keeper->phase = phase;
    keeper->deadline_ms = deadline_ms;
}

static void finish(struct keeper *keeper)
{
    set_phase(keeper, PHASE_DRAINING, 0);
    output_drain(keeper);
}

/* A signal stopped the main process, or continued it: said, for ill health ends nothing. */
static void set_paused(struct keeper *keeper, bool paused)
{
    if (keeper->paused != paused && keeper->phase == PHASE_RUNNING) {
        keeper->paused = paused;
        control_tell(keeper, LINK_KEEPER_PAUSED);
    }
}

void tree_reap(struct keeper *keeper)
{
    int status;
    pid_t pid;
    while ((pid = waitpid(-1, &status, WNOHANG | WUNTRACED | WCONTINUED)) > 0) {
        if (pid != keeper->pid) {
            continue;
        }
        if (WIFSTOPPED(status) || WIFCONTINUED(status)) {
            set_paused(keeper, WIFSTOPPED(status));
            continue;
        }
        keeper->exited = true;
        keeper->status = status;
        keeper->exit_at_us = clock_utc_us();
        record_exit_start(keeper);
        control_tell(keeper, LINK_KEEPER_EXITED);
        if (keeper->phase == PHASE_RUNNING || keeper->phase == PHASE_ASKED) {
            signal_tree(SIGTERM); /* what it leaves; a stop has set the time it may take */
            signal_tree(SIGCONT);
        }
        if (keeper->phase == PHASE_RUNNING) {
            set_phase(keeper, PHASE_ASKED, clock_monotonic_ms() + CLEAR_MS);
        }
    }
    if (pid < 0 && errno == ECHILD && keeper->exited && keeper->phase < PHASE_DRAINING) {
        finish(keeper);
    }
}

void tree_stop(struct keeper *keeper, int signal, int64_t timeout_ms)
{
    int64_t deadline = clock_monotonic_ms() + timeout_ms;
    keeper->stop_asked = true;
    if (keeper->phase >= PHASE_KILLING) {
        return;
    }
    if (!keeper->exited && signal) {
        kill(keeper->pid, signal);
        kill(keeper->pid, SIGCONT); /* a stopped program cannot end by itself */
    }
    if (keeper->phase == PHASE_RUNNING || deadline < keeper->deadline_ms) {
        set_phase(keeper, PHASE_ASKED, deadline);
    }
}

/* The record takes long, or there was no thread to write it: that sets the deadline again. */
static void step_empty(struct keeper *keeper)
{
    keeper->deadline_ms = 0;
    if (!keeper->gone_told && !keeper->record_waits) {
        keeper->record_waits = true; /* said; gearsd waits for the record as we do */
        control_tell(keeper, LINK_KEEPER_EXITED);
    }
    if (!keeper->record_durable && !keeper->released) {
        record_exit_start(keeper);
    }
}

static void step_killing(struct keeper *keeper, int64_t now)
{
    static int64_t began;
    began = began ? began : now;
    if (now - began < KILL_MS) {
        kill_tree();
        keeper->deadline_ms = now + KILL_STEP_MS;
        return;
    }
    struct proc_list list = {0};
    proc_list_descendants(getpid(), &list);
    proc_list_describe(&list, keeper->survivors, sizeof keeper->survivors);
    free(list.items);
    /* Unkillable (sleeping in a dead filesystem): how it ends is unknown. */
    if (!keeper->exited) {
        keeper->exit_at_us = clock_utc_us();
    }
    finish(keeper);
}

void tree_step(struct keeper *keeper)
{
    int64_t now = clock_monotonic_ms();
    bool due = keeper->deadline_ms && now >= keeper->deadline_ms;
    if (due && keeper->phase == PHASE_ASKED) {
        kill_tree();
        set_phase(keeper, PHASE_KILLING, now + KILL_STEP_MS);
    } else if (due && keeper->phase == PHASE_KILLING) {
        step_killing(keeper, now);
    } else if (due && keeper->phase == PHASE_EMPTY) {
        step_empty(keeper);
    }
    if (keeper->phase == PHASE_DRAINING && output_drained(keeper)) {
        set_phase(keeper, PHASE_EMPTY, now + STALL_MS);
        record_exit_start(keeper);
    }
}
