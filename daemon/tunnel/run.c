/* Running a command in the session channel; session.c pumps it, control.c orders it. */
#include "daemon/tunnel/run.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "common/clock.h"
#include "common/text.h"
#include "daemon/core/timer.h"
#include "daemon/tunnel/run_answer.h"
#include "daemon/tunnel/session.h"

/* LEAVE_MS: a command that has reported ends, and the server closes; CLOSE_MS: it answers our
 * close, after which it is not waited for any more. */
enum { LEAVE_MS = 2000, CLOSE_MS = 5000, READ_SIZE = 16384 };

static void on_late(evutil_socket_t fd, short what, void *argument);

int run_init(struct run *run, struct session *session)
{
    *run = (struct run){.session = session};
    run->timer = evtimer_new(session->tunnel->base, on_late, run);
    return run->timer ? 0 : -ENOMEM;
}

static void set_timer(struct run *run, int64_t at_ms)
{
    timer_arm(run->timer, at_ms - clock_monotonic_ms());
}

static void answered(struct run *run)
{
    run->asked = false;
    free(run->command);
    run->command = NULL;
}

static void answer_failure(struct run *run, int code, const char *why, int exit)
{
    run_answer_failure(run->session->tunnel, run->request, &run->report, code, why, exit);
    answered(run);
}

void run_finish(struct run *run)
{
    if (run->asked) {
        answer_failure(run, ECONNRESET, "the connection ended", -1);
    }
    report_finish(&run->report);
    if (run->timer) {
        event_free(run->timer);
    }
}

static void begin(struct run *run)
{
    run->state = RUN_OPENING;
    set_timer(run, run->deadline_ms);
    opens_run(&run->session->opens);
}

int run_start(struct run *run, uint32_t request, char *command, int64_t timeout_ms)
{
    if (run->asked) {
        free(command);
        return -EBUSY;
    }
    run->asked = true;
    run->request = request;
    run->command = command;
    run->deadline_ms = clock_monotonic_ms() + timeout_ms;
    if (run->state == RUN_IDLE) {
        begin(run);
    }
    return 0;
}

static void become_idle(struct run *run)
{
    report_finish(&run->report);
    if (run->channel) {
        opens_run_closed(&run->session->opens);
    }
    run->channel = NULL;
    run->state = RUN_IDLE;
    event_del(run->timer);
    if (run->asked) {
        begin(run);
    }
}

/* Answered: leave the channel to the server, which closes it when the command has ended. */
static void leave(struct run *run, enum run_state state)
{
    run->state = state;
    set_timer(run, clock_monotonic_ms() + (state == RUN_WAITING ? LEAVE_MS : CLOSE_MS));
    session_wake(run->session);
}

static void on_late(evutil_socket_t fd, short what, void *argument)
{
    (void)fd;
    (void)what;
    struct run *run = argument;
    switch (run->state) {
    case RUN_OPENING:
        opens_forget_run(&run->session->opens);
        answer_failure(run, ETIMEDOUT, "the server did not open a session in time", -1);
        become_idle(run);
        break;
    case RUN_STARTING:
    case RUN_READING:
        answer_failure(run, ETIMEDOUT, "the command did not report in time", -1);
        leave(run, RUN_CLOSING);
        break;
    case RUN_WAITING:
        leave(run, RUN_CLOSING);
        break;
    case RUN_CLOSING: /* the session goes on closing it */
        session_orphan(run->session, run->channel);
        become_idle(run);
        break;
    case RUN_IDLE:
        break;
    }
}

void run_opened(struct run *run, LIBSSH2_CHANNEL *channel, int code, const char *why)
{
    char words[400];
    if (run->state != RUN_OPENING) { /* too late */
        if (channel) {
            session_orphan(run->session, channel);
        }
        return;
    }
    if (!channel) {
        bool refused = code == LIBSSH2_ERROR_CHANNEL_FAILURE;
        int number = run_explain_no_session(refused, why, words, sizeof words);
        answer_failure(run, number, words, -1);
        become_idle(run);
        return;
    }
    run->channel = channel;
    run->state = RUN_STARTING;
    session_wake(run->session);
    libssh2_channel_handle_extended_data2(channel, LIBSSH2_CHANNEL_EXTENDED_DATA_MERGE);
    if (report_init(&run->report)) {
        answer_failure(run, ENOMEM, "out of memory", -1);
        leave(run, RUN_CLOSING);
    }
}

static void start_command(struct run *run)
{
    char words[200], why[256];
    int code = libssh2_channel_exec(run->channel, run->command);
    if (code == LIBSSH2_ERROR_EAGAIN) {
        return;
    }
    if (!code) {
        run->state = RUN_READING;
        return;
    }
    if (session_is_broken(run->session, code)) {
        return;
    }
    session_last_words(run->session, words, sizeof words);
    snprintf(why, sizeof why, "the server runs no command (%s)", words);
    answer_failure(run, EACCES, why, -1);
    leave(run, RUN_CLOSING);
}

/* It ended without a report. */
static void tell_end(struct run *run)
{
    char why[160], *signal = NULL;
    size_t length = 0;
    int exit = libssh2_channel_get_exit_status(run->channel);
    libssh2_channel_get_exit_signal(run->channel, &signal, &length, NULL, NULL, NULL, NULL);
    if (signal) {
        char name[64];
        visible_format(signal, length, name, sizeof name);
        libssh2_free(run->session->link->session, signal);
        snprintf(why, sizeof why, "the command was ended by signal %s", name);
        answer_failure(run, EPROTO, why, -1);
        return;
    }
    int code = run_explain_exit(exit, why, sizeof why);
    answer_failure(run, code, why, exit);
}

static void heard(struct run *run, const char *bytes, size_t length)
{
    int code = run->state == RUN_READING ? report_feed(&run->report, bytes, length) : 0;
    if (code == 1) {
        run_answer_report(run->session->tunnel, run->request, &run->report);
        answered(run);
        leave(run, RUN_WAITING);
    } else if (code) {
        answer_failure(run, EMSGSIZE, "too much output before the report", -1);
        leave(run, RUN_CLOSING);
    }
}

/* Read all there is, also of what is not wanted any more. True at the end of the output. */
static bool read_output(struct run *run)
{
    static char buffer[READ_SIZE];
    for (;;) {
        ssize_t n = libssh2_channel_read(run->channel, buffer, sizeof buffer);
        if (n > 0) {
            heard(run, buffer, (size_t)n);
        } else if (n == 0) {
            return libssh2_channel_eof(run->channel) == 1;
        } else {
            session_is_broken(run->session, (int)n);
            return false;
        }
    }
}

/* The exit status comes between the end of the output and the close. */
static void wait_for_close(struct run *run)
{
    if (libssh2_channel_wait_closed(run->channel) != 0) {
        return;
    }
    if (run->state == RUN_READING) {
        tell_end(run);
    }
    run->state = RUN_CLOSING;
}

void run_pump(struct run *run)
{
    if (run->state == RUN_STARTING) {
        start_command(run);
    }
    /* Also when closing: libssh2 takes whatever comes next for the answer to its close, and
     * only the true one says that the command has ended and the next may have its place. */
    if (run->state >= RUN_READING && read_output(run)) {
        wait_for_close(run);
    }
    if (run->state == RUN_CLOSING) {
        LIBSSH2_CHANNEL *channel = run->channel;
        if (libssh2_channel_free(channel) != LIBSSH2_ERROR_EAGAIN) {
            become_idle(run);
        }
    }
}
