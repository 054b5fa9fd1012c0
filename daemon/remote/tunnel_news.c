/* What a gears-tunnel says of its connection, and what follows for the hop. tunnel_client.c
 * hands over each message. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "common/clock.h"
#include "daemon/core/log.h"
#include "daemon/remote/tunnel_client.h"

enum { TROUBLE_AGAIN_MS = 10000 };

static void map_counters(struct tunnel_client *tunnel, struct link_message *message)
{
    if (message->fd_count && !tunnel->counters) {
        void *memory =
            mmap(NULL, sizeof *tunnel->counters, PROT_READ, MAP_SHARED, message->fds[0], 0);
        tunnel->counters = memory == MAP_FAILED ? NULL : memory;
    }
}

/* It is up: at last, again, or still. What is missing there is asked for, also after an answer
 * that was lost in a silence. */
static void become_up(struct hop *hop, bool human)
{
    bool was_up = hop->machine.state == HOP_UP;
    bool unknown = !hop->report.known || hop->report_failed;
    bool asks = unknown && !hop->reporting && !(was_up && hop->report_failed);
    hop->report_failed = hop->report_failed && !asks;
    if (hop->machine.state == HOP_DEGRADED) {
        hop_apply(hop, HOP_HEARD);
    } else if (!was_up) {
        hop_apply(hop, human ? HOP_OPENED_BY_HUMAN : HOP_OPENED);
    }
    if (!was_up) {
        expiry_arm(hop);
    }
    if (hop->machine.state == HOP_UP && !hop->machine.closing && asks) {
        arrive_start(hop);
    }
}

/* `human` of a login that is not over says nothing yet. */
static void adopt_state(struct hop *hop, bool human, const char *text)
{
    bool degraded = hop->tunnel->state == LINK_TUNNEL_DEGRADED;
    hop->tunnel->adopted = false;
    if (hop->machine.closing) {
        return; /* it was told to end before it spoke */
    }
    if (!degraded && hop->tunnel->state != LINK_TUNNEL_UP) {
        hop_apply(hop, HOP_ADOPTED_LOGIN);
        return;
    }
    hop_apply(hop, HOP_ADOPTED);
    hop_apply(hop, human ? HOP_HUMAN : HOP_KEYS);
    hop->report.known = hop->report.socket[0] != 0;
    hop_note(hop, "adopted", "found %s", degraded ? "degraded" : "up");
    if (degraded) {
        hop_set_message(hop, "%s", text);
        hop_apply(hop, HOP_SILENT);
    } else {
        become_up(hop, human);
    }
    expiry_arm(hop);
    hop_changed(hop);
}

static void on_state(struct hop *hop, const struct link_message *message)
{
    struct tunnel_client *tunnel = hop->tunnel;
    char text[HOP_TEXT];
    link_find_string(message, LINK_TAG_TEXT, 0, text, sizeof text);
    size_t length;
    int64_t rtt_us = hop->rtt_us;
    if (link_find(message, LINK_TAG_ADDRESS, 0, &length)) {
        link_find_string(message, LINK_TAG_ADDRESS, 0, hop->address, sizeof hop->address);
    }
    hop->rtt_us = (int64_t)link_u64(message, LINK_TAG_RTT_US, (uint64_t)hop->rtt_us);
    hop->authenticated_us =
        (int64_t)link_u64(message, LINK_TAG_AUTHENTICATED_AT, (uint64_t)hop->authenticated_us);
    bool human = link_u64(message, LINK_TAG_HUMAN, 0) != 0;
    tunnel->state = (enum link_tunnel_state)link_u64(message, LINK_TAG_TUNNEL_STATE, 0);
    if (human && !hop->machine.human) {
        hop_apply(hop, HOP_HUMAN); /* whatever becomes of this login */
    }
    if (tunnel->state == LINK_TUNNEL_DOWN) {
        tunnel->down = true;
        hop->machine.cause =
            (enum link_tunnel_cause)link_u64(message, LINK_TAG_CAUSE, LINK_CAUSE_FAILED);
        hop_set_message(hop, "%s", text);
    } else if (tunnel->adopted) {
        adopt_state(hop, human, text);
        hop->since_us = (int64_t)link_u64(message, LINK_TAG_SINCE, (uint64_t)hop->since_us);
    } else if (tunnel->state == LINK_TUNNEL_UP) {
        bool news = hop->machine.state == HOP_UP && hop->rtt_us != rtt_us;
        become_up(hop, human);
        if (news) { /* else it only said that it is alive */
            hop_changed(hop);
        }
    } else if (tunnel->state == LINK_TUNNEL_DEGRADED && strcmp(hop->message, text) != 0) {
        hop_set_message(hop, "%s", text);
        hop_apply(hop, HOP_SILENT);
    } else if (tunnel->state == LINK_TUNNEL_CONNECTING && text[0]) {
        hop_tell_step(hop, text);
    }
}

static void on_prompt(struct hop *hop, const struct link_message *message)
{
    struct hop_prompt prompt = {0};
    link_find_string(message, LINK_TAG_PROMPT_ID, 0, prompt.id, sizeof prompt.id);
    prompt.name = link_copy_string(message, LINK_TAG_NAME, 0);
    prompt.instruction = link_copy_string(message, LINK_TAG_INSTRUCTION, 0);
    size_t length;
    while (prompt.count < HOP_PROMPTS &&
           link_find(message, LINK_TAG_PROMPT_TEXT, prompt.count, &length)) {
        const uint8_t *echo = link_find(message, LINK_TAG_PROMPT_ECHO, prompt.count, &length);
        prompt.lines[prompt.count].text =
            link_copy_string(message, LINK_TAG_PROMPT_TEXT, prompt.count);
        prompt.lines[prompt.count].echo = echo && length == 8 && echo[0];
        prompt.count++;
    }
    if (prompt.id[0] && prompt.count) {
        hop_ask(hop, &prompt);
    }
    hop_prompt_finish(&prompt);
}

static void on_ran(struct hop *hop, const struct link_message *message)
{
    char *report = link_copy_string(message, LINK_TAG_REPORT, 0), text[HOP_TEXT];
    int code = -(int)link_u64(message, LINK_TAG_ERRNO, report ? 0 : EIO);
    link_find_string(message, LINK_TAG_TEXT, 0, text, sizeof text);
    int status = (int)link_u64(message, LINK_TAG_EXIT_CODE, 0);
    arrive_done(hop, report, code, status, text);
    free(report);
}

/* The server opens no channel to what we were told of: perhaps gearsd there has ended. */
static void on_trouble(struct hop *hop, const struct link_message *message)
{
    char path[UNIX_PATH_SIZE], text[300];
    link_find_string(message, LINK_TAG_TARGET_PATH, 0, path, sizeof path);
    link_find_string(message, LINK_TAG_TEXT, 0, text, sizeof text);
    log_line(
        "hop cluster=%s channel refused path=%s cause=\"%s\"", hop->config->name, path, text);
    if (clock_monotonic_ms() - hop->reported_ms >= TROUBLE_AGAIN_MS) {
        arrive_start(hop);
    }
}

/* Why it could not even begin; or why it takes no order. */
static void on_refused(struct hop *hop, const struct link_message *message)
{
    struct tunnel_client *tunnel = hop->tunnel;
    char text[HOP_TEXT];
    int code = -(int)link_u64(message, LINK_TAG_ERRNO, EIO);
    bool begins = tunnel->state != LINK_TUNNEL_UP && tunnel->state != LINK_TUNNEL_DEGRADED;
    link_find_string(message, LINK_TAG_TEXT, 0, text, sizeof text);
    log_line("tunnel cluster=%s refused cause=\"%s\"", hop->config->name, text);
    if (message->request == REQUEST_START && begins && !hop->machine.closing) {
        tunnel->down = true;
        hop->machine.cause = LINK_CAUSE_FAILED;
        hop_set_message(hop, "gears-tunnel cannot start: %.400s", text);
    } else if (message->request == REQUEST_RUN && hop->reporting && code != -EBUSY) {
        arrive_done(hop, NULL, code, 0, text); /* -EBUSY: an earlier order's answer will come */
    }
}

void tunnel_client_hear(struct tunnel_client *tunnel, struct link_message *message)
{
    struct hop *hop = tunnel->hop;
    char text[HOP_TEXT];
    tunnel->heard = true;
    pulse_heard(hop);
    switch (message->type) {
    case LINK_TUNNEL_STATUS:
        hop->pid = (pid_t)link_u64(message, LINK_TAG_PID, 0);
        link_find_string(message, LINK_TAG_BUILD, 0, hop->build, sizeof hop->build);
        link_find_string(message, LINK_TAG_NONCE, 0, hop->nonce, sizeof hop->nonce);
        map_counters(hop->tunnel, message);
        on_state(hop, message);
        break;
    case LINK_TUNNEL_STATE:
        on_state(hop, message);
        break;
    case LINK_TUNNEL_PROMPT:
        on_prompt(hop, message);
        break;
    case LINK_TUNNEL_RAN:
        on_ran(hop, message);
        break;
    case LINK_TUNNEL_TROUBLE:
        on_trouble(hop, message);
        break;
    case LINK_TUNNEL_LOG:
        link_find_string(message, LINK_TAG_TEXT, 0, text, sizeof text);
        log_line("tunnel cluster=%s %s", hop->config->name, text);
        break;
    case LINK_ERROR:
        on_refused(hop, message);
        break;
    default:
        break;
    }
}
