/* Finding the report in a login shell's output; run.c and openssh_run.c feed it. */
#include "daemon/tunnel/report.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

static const char WORD[] = "@gears-report 1 ";

int report_init(struct report *report)
{
    *report = (struct report){.place = REPORT_WORD};
    report->text = malloc(REPORT_TEXT_MOST + 1);
    report->last = malloc(REPORT_LAST_MOST);
    if (!report->text || !report->last) {
        report_finish(report);
        return -ENOMEM;
    }
    return 0;
}

void report_finish(struct report *report)
{
    free(report->text);
    free(report->last);
    report->text = report->last = NULL;
}

size_t report_last(const struct report *report, char *out)
{
    size_t length =
        report->last_length < REPORT_LAST_MOST ? report->last_length : REPORT_LAST_MOST;
    for (size_t i = 0; i < length; i++) {
        out[i] = report->last[(report->last_length - length + i) % REPORT_LAST_MOST];
    }
    return length;
}

/* What looked like the report is none. */
static void give_back(struct report *report)
{
    report->noise += sizeof WORD - 1 + report->length;
    report->length = 0;
}

static void at_word(struct report *report, char c)
{
    if (c == WORD[report->matched]) {
        report->matched++;
        if (!WORD[report->matched]) {
            report->place = REPORT_TEXT;
            report->length = 0;
        }
        return;
    }
    report->noise += report->matched + 1;
    report->matched = 0;
    report->place = c == '\n' || c == '\r' ? REPORT_WORD : REPORT_SKIP;
}

static void end_line(struct report *report)
{
    if (report->length >= 2 && report->text[0] == '{' &&
        report->text[report->length - 1] == '}') {
        report->text[report->length] = 0;
        report->place = REPORT_FOUND;
        return;
    }
    give_back(report);
    report->matched = 0;
    report->place = REPORT_WORD;
}

static void in_text(struct report *report, char c)
{
    unsigned char byte = (unsigned char)c;
    if (c == '\n') {
        end_line(report);
    } else if (c == '\r') {
        report->place = REPORT_CR;
    } else if (byte < 0x20 || byte == 0x7f || report->length == REPORT_TEXT_MOST) {
        give_back(report);
        report->place = REPORT_SKIP;
    } else {
        report->text[report->length++] = c;
    }
}

/* A lone \r starts a line as well. */
static void after_cr(struct report *report, char c)
{
    if (c == '\n') {
        end_line(report);
        return;
    }
    give_back(report);
    report->matched = 0;
    report->place = REPORT_WORD;
    at_word(report, c);
}

static void take(struct report *report, char c)
{
    report->last[report->last_length++ % REPORT_LAST_MOST] = c;
    switch (report->place) {
    case REPORT_WORD:
        at_word(report, c);
        break;
    case REPORT_SKIP:
        report->noise++;
        if (c == '\n' || c == '\r') {
            report->matched = 0;
            report->place = REPORT_WORD;
        }
        break;
    case REPORT_TEXT:
        in_text(report, c);
        break;
    case REPORT_CR:
        after_cr(report, c);
        break;
    case REPORT_FOUND:
        break;
    }
}

int report_feed(struct report *report, const char *bytes, size_t length)
{
    for (size_t i = 0; i < length && report->place != REPORT_FOUND; i++) {
        take(report, bytes[i]);
        if (report->noise > REPORT_NOISE_MOST) {
            return -EMSGSIZE;
        }
    }
    return report->place == REPORT_FOUND;
}
