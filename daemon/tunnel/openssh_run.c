/* A command in the session channel, and its report; as run.c is for libssh2. control.c orders
 * it, openssh_channel.c carries it. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/text.h"
#include "daemon/tunnel/openssh_private.h"

static void answer(struct openssh *openssh, int code, const char *why, int exit)
{
    struct openssh_run *run = &openssh->run;
    struct link_frame frame;
    link_frame_start(&frame, LINK_TUNNEL_RAN, run->request);
    if (!code) {
        link_frame_string(&frame, LINK_TAG_REPORT, run->report.text);
    } else {
        link_frame_u64(&frame, LINK_TAG_ERRNO, (uint64_t)code);
        link_frame_string(&frame, LINK_TAG_TEXT, why);
    }
    if (exit >= 0) {
        link_frame_u64(&frame, LINK_TAG_EXIT_CODE, (uint64_t)exit);
    }
    control_ran(openssh->tunnel, &frame);
    run->asked = run->begun = false;
    free(run->command);
    run->command = NULL;
    report_finish(&run->report);
    event_del(run->timer);
}

/* "…; it printed last: …", all of it on one line. */
static void answer_failure(struct openssh *openssh, int code, const char *why, int exit)
{
    struct text words = {0};
    char last[REPORT_LAST_MOST], visible[REPORT_LAST_MOST * 4 + 8];
    size_t length = openssh->run.report.last ? report_last(&openssh->run.report, last) : 0;
    while (length && (last[length - 1] == '\n' || last[length - 1] == '\r')) {
        length--;
    }
    text_printf(&words, "%s", why);
    if (length) {
        visible_format(last, length, visible, sizeof visible);
        text_printf(&words, "; it printed last: %s", visible);
    }
    answer(openssh, code, text_string(&words), exit);
    text_finish(&words);
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
    struct timeval wait = {timeout_ms / 1000, timeout_ms % 1000 * 1000};
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
    event_add(run->timer, &wait);
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
    snprintf(words, sizeof words,
        busy ? "the server refused a session (%s): it allows no command, or the one before "
               "still runs there"
             : "the server opened no session (%s)",
        why);
    answer_failure(openssh, busy ? EBUSY : EIO, words, -1);
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
        answer(openssh, 0, NULL, -1);
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
    snprintf(why, sizeof why, "the command ended with exit code %d%s and no report", run->exit,
        run->exit == 127   ? " (not found)"
        : run->exit == 126 ? " (not executable here)"
                           : "");
    answer_failure(openssh,
        run->exit == 127   ? ENOENT
        : run->exit == 126 ? ENOEXEC
                           : EPROTO,
        why, run->exit);
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
