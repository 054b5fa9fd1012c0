/* The answers to ordered commands; run.c and openssh_run.c decide which. */
#include "daemon/tunnel/run_answer.h"

#include <errno.h>
#include <stdio.h>

#include "common/text.h"

void run_answer_report(struct tunnel *tunnel, uint32_t request, const struct report *report)
{
    struct link_frame frame;
    link_frame_start(&frame, LINK_TUNNEL_RAN, request);
    link_frame_string(&frame, LINK_TAG_REPORT, report->text);
    control_ran(tunnel, &frame);
}

/* "…; it printed last: …" */
static void add_last(struct text *words, const struct report *report)
{
    char last[REPORT_LAST_MOST], visible[REPORT_LAST_MOST * 4 + 8];
    size_t length = report->last ? report_last(report, last) : 0;
    while (length && (last[length - 1] == '\n' || last[length - 1] == '\r')) {
        length--;
    }
    if (length) {
        visible_format(last, length, visible, sizeof visible);
        text_printf(words, "; it printed last: %s", visible);
    }
}

void run_answer_failure(struct tunnel *tunnel, uint32_t request, const struct report *report,
    int code, const char *why, int exit)
{
    struct text words = {0};
    struct link_frame frame;
    text_printf(&words, "%s", why);
    add_last(&words, report);
    link_frame_start(&frame, LINK_TUNNEL_RAN, request);
    link_frame_u64(&frame, LINK_TAG_ERRNO, (uint64_t)code);
    link_frame_string(&frame, LINK_TAG_TEXT, text_string(&words));
    if (exit >= 0) {
        link_frame_u64(&frame, LINK_TAG_EXIT_CODE, (uint64_t)exit);
    }
    control_ran(tunnel, &frame);
    text_finish(&words);
}

int run_explain_exit(int exit, char *why, size_t size)
{
    snprintf(why, size, "the command ended with exit code %d%s and no report", exit,
        exit == 127   ? " (not found)"
        : exit == 126 ? " (not executable here)"
                      : "");
    return exit == 127 ? ENOENT : exit == 126 ? ENOEXEC : EPROTO;
}

int run_explain_no_session(bool refused, const char *words, char *why, size_t size)
{
    snprintf(why, size,
        refused ? "the server refused a session (%s): it allows no command, or the one before "
                  "still runs there"
                : "the server opened no session (%s)",
        words);
    return refused ? EBUSY : EIO;
}
