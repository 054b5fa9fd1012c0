/* What gearsd is told. What it must not miss is told later when its socket is full, as that of
 * one that is stopped is: this connection ends with either of them, or when another leads. */
#include <errno.h>
#include <poll.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/clock.h"
#include "daemon/tunnel/control_private.h"

enum { LAST_MS = 5000 };
/* What gearsd has not been told yet because its socket was full. */
enum { OWED_STATE = 1, OWED_PROMPT = 2, OWED_RAN = 4 };

/* 0 or a negative errno; -EAGAIN: it does not read. The frame is finished. */
static int send_now(struct tunnel *tunnel, struct link_frame *frame)
{
    if (tunnel->control && tunnel->control->controller) {
        return link_peer_send(tunnel->control->controller, frame);
    }
    link_frame_finish(frame);
    return -ENOTCONN;
}

void control_send(struct tunnel *tunnel, struct link_frame *frame)
{
    (void)send_now(tunnel, frame);
}

/* A frame is gone once sent, and this one may have to be told again. */
static int send_copy(struct tunnel *tunnel, const struct link_frame *frame)
{
    struct link_frame copy = *frame;
    copy.capacity = frame->length;
    copy.data = frame->failed ? NULL : malloc(frame->length);
    if (!copy.data) {
        return -ENOMEM;
    }
    memcpy(copy.data, frame->data, frame->length);
    return send_now(tunnel, &copy);
}

/* `code` is what became of telling it. */
static void note_owed(struct tunnel *tunnel, unsigned what, int code)
{
    if (code == -EAGAIN) {
        tunnel->control->owed |= what;
        event_add(tunnel->control->writable, NULL);
    }
}

void control_log(struct tunnel *tunnel, const char *format, ...)
{
    struct link_frame frame;
    va_list args;
    va_start(args, format);
    link_frame_words(&frame, LINK_TUNNEL_LOG, format, args);
    va_end(args);
    control_send(tunnel, &frame);
}

static void add_state(struct link_frame *frame, const struct tunnel *tunnel)
{
    link_frame_u64(frame, LINK_TAG_TUNNEL_STATE, (uint64_t)tunnel->state);
    link_frame_u64(frame, LINK_TAG_CAUSE, (uint64_t)tunnel->cause);
    link_frame_string(frame, LINK_TAG_TEXT, tunnel->text);
    link_frame_u64(frame, LINK_TAG_SINCE, (uint64_t)tunnel->since_us);
    link_frame_u64(frame, LINK_TAG_HUMAN, tunnel->human);
    if (tunnel->authenticated_at_us) {
        link_frame_u64(frame, LINK_TAG_AUTHENTICATED_AT, (uint64_t)tunnel->authenticated_at_us);
        link_frame_string(frame, LINK_TAG_AUTH_METHOD, tunnel->method);
    }
    if (tunnel->address[0]) {
        link_frame_string(frame, LINK_TAG_ADDRESS, tunnel->address);
    }
    if (tunnel->rtt_us) {
        link_frame_u64(frame, LINK_TAG_RTT_US, (uint64_t)tunnel->rtt_us);
    }
}

void control_state(struct tunnel *tunnel, uint32_t request)
{
    struct link_frame frame;
    link_frame_start(&frame, LINK_TUNNEL_STATE, request);
    add_state(&frame, tunnel);
    note_owed(tunnel, OWED_STATE, send_now(tunnel, &frame));
}

static void tell_ran(struct tunnel *tunnel)
{
    struct link_frame *ran = &tunnel->control->ran;
    int code = send_copy(tunnel, ran);
    note_owed(tunnel, OWED_RAN, code);
    if (code != -EAGAIN) {
        link_frame_finish(ran);
    }
}

void control_ran(struct tunnel *tunnel, struct link_frame *frame)
{
    link_frame_finish(&tunnel->control->ran);
    tunnel->control->ran = *frame;
    tell_ran(tunnel);
}

void control_status(struct tunnel *tunnel, uint32_t request)
{
    struct link_frame frame;
    link_frame_start(&frame, LINK_TUNNEL_STATUS, request);
    add_state(&frame, tunnel);
    link_frame_string(&frame, LINK_TAG_NONCE, tunnel->nonce);
    link_frame_string(&frame, LINK_TAG_BUILD, tunnel->build);
    link_frame_u64(&frame, LINK_TAG_PID, (uint64_t)getpid());
    link_frame_string(&frame, LINK_TAG_CLUSTER, tunnel->cluster);
    link_frame_fd(&frame, tunnel->counters_fd);
    control_send(tunnel, &frame);
}

void control_tell_prompt(struct tunnel *tunnel)
{
    const struct link_frame *prompt = &tunnel->control->prompt;
    if (prompt->length) {
        note_owed(tunnel, OWED_PROMPT, send_copy(tunnel, prompt));
    }
}

void control_drop_prompt(struct tunnel *tunnel)
{
    link_frame_finish(&tunnel->control->prompt);
    tunnel->control->prompt_id[0] = 0;
}

void control_prompt(struct tunnel *tunnel, const struct login_prompt *prompt)
{
    struct control *control = tunnel->control;
    control_drop_prompt(tunnel);
    snprintf(control->prompt_id, sizeof control->prompt_id, "%s", prompt->id);
    link_frame_start(&control->prompt, LINK_TUNNEL_PROMPT, 0);
    link_frame_string(&control->prompt, LINK_TAG_PROMPT_ID, prompt->id);
    link_frame_string(&control->prompt, LINK_TAG_NAME, prompt->name);
    link_frame_string(&control->prompt, LINK_TAG_INSTRUCTION, prompt->instruction);
    for (size_t i = 0; i < prompt->count; i++) {
        link_frame_string(&control->prompt, LINK_TAG_PROMPT_TEXT, prompt->prompts[i].text);
        link_frame_u64(&control->prompt, LINK_TAG_PROMPT_ECHO, prompt->prompts[i].echo);
    }
    control_tell_prompt(tunnel);
}

static void pay(struct tunnel *tunnel)
{
    unsigned owed = tunnel->control->owed;
    tunnel->control->owed = 0;
    if (owed & OWED_RAN) {
        tell_ran(tunnel);
    }
    if (owed & OWED_STATE) {
        control_state(tunnel, 0);
    }
    if (owed & OWED_PROMPT) {
        control_tell_prompt(tunnel);
    }
}

void control_on_writable(evutil_socket_t fd, short what, void *argument)
{
    (void)fd;
    (void)what;
    pay(argument);
}

void control_pay_at_last(struct tunnel *tunnel)
{
    struct control *control = tunnel->control;
    int64_t until = clock_monotonic_ms() + LAST_MS, left = LAST_MS;
    struct pollfd fd = {.fd = control->controller_fd, .events = POLLOUT};
    while (control->controller && control->owed && left > 0) {
        int n = poll(&fd, 1, (int)left);
        if (n > 0) {
            pay(tunnel);
        }
        left = until - clock_monotonic_ms();
    }
}

void control_leave(struct control *control)
{
    if (control->writable) {
        event_free(control->writable);
        control->writable = NULL;
    }
    link_peer_destroy(control->controller);
    control->controller = NULL;
    control->owed = 0;
    link_frame_finish(&control->ran);
}
