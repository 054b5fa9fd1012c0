/* A command in the session channel, and its report; as run.c is for libssh2. control.c orders
 * it, openssh_channel.c carries it. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "daemon/core/timer.h"
#include "daemon/tunnel/openssh_private.h"
#include "daemon/tunnel/run_answer.h"

static void answered(struct openssh *openssh)
{
    struct openssh_run *run = &openssh->run;
    run->asked = run->begun = false;
    free(run->command);
    run->command = NULL;
    report_finish(&run->report);
    event_del(run->timer);
}

static void answer_failure(struct openssh *openssh, int code, const char *why, int exit)
{
    run_answer_failure(
        openssh->tunnel, openssh->run.request, &openssh->run.report, code, why, exit);
    answered(openssh);
}

/* The command may go on; the next one closes its channel. */
static void on_late(evutil_socket_t fd, short what, void *argument)
{
    (void)fd;
    (void)what;
    struct openssh *openssh = argument;
    switch (openssh->channel.state) {
    case CHAN_ENDING:
        answer_failure(openssh, EBUSY, "the command before still runs on the server", -1);
        break;
    case CHAN_OPEN:
        answer_failure(openssh, ETIMEDOUT, "the command did not report in time", -1);
        break;
    default:
        answer_failure(openssh, ETIMEDOUT, "the server did not open a session in time", -1);
    }
}

int openssh_run(struct openssh *openssh, uint32_t request, char *command, int64_t timeout_ms)
{
    struct openssh_run *run = &openssh->run;
    if (run->asked) {
        free(command);
        return -EBUSY;
    }
    run->asked = true;
    run->begun = false;
    run->request = request;
    run->command = command;
    run->exit = -1;
    run->signal[0] = 0;
    timer_arm(run->timer, timeout_ms);
    if (report_init(&run->report)) {
        answer_failure(openssh, ENOMEM, "out of memory", -1);
    } else {
        openssh_channel_want_run(openssh);
    }
    return 0;
}

void openssh_run_no_session(struct openssh *openssh, const char *why, bool busy)
{
    char words[400];
    int code = run_explain_no_session(busy, why, words, sizeof words);
    answer_failure(openssh, code, words, -1);
}

void openssh_run_began(struct openssh *openssh, bool taken)
{
    if (!taken && openssh->run.begun) {
        answer_failure(openssh, EACCES, "the server runs no command", -1);
    }
}

void openssh_run_heard(struct openssh *openssh, const uint8_t *bytes, size_t length)
{
    struct openssh_run *run = &openssh->run;
    if (!run->begun) {
        return;
    }
    int code = report_feed(&run->report, (const char *)bytes, length);
    if (code == 1) {
        run_answer_report(openssh->tunnel, run->request, &run->report);
        answered(openssh);
    } else if (code) {
        answer_failure(openssh, EMSGSIZE, "too much output before the report", -1);
    }
}

void openssh_run_ended(struct openssh *openssh)
{
    struct openssh_run *run = &openssh->run;
    char why[160];
    if (!run->begun) {
        return; /* it has reported, or another one waits */
    }
    if (run->signal[0]) {
        snprintf(why, sizeof why, "the command was ended by signal %s", run->signal);
        answer_failure(openssh, EPROTO, why, -1);
        return;
    }
    int code = run_explain_exit(run->exit, why, sizeof why);
    answer_failure(openssh, code, why, run->exit);
}

int openssh_run_prepare(struct openssh *openssh)
{
    openssh->run.timer = evtimer_new(openssh->tunnel->base, on_late, openssh);
    return openssh->run.timer ? 0 : -ENOMEM;
}

void openssh_run_stop(struct openssh *openssh)
{
    if (openssh->run.asked) {
        answer_failure(openssh, ECONNRESET, "the connection ended", -1);
    }
    if (openssh->run.timer) {
        event_free(openssh->run.timer);
        openssh->run.timer = NULL;
    }
}
