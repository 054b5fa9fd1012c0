/* gearsd's orders, and who leads: who said hello last is the controller. What gearsd is told is
 * in control_tell.c. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/clock.h"
#include "daemon/core/timer.h"
#include "daemon/tunnel/control_private.h"
#include "daemon/tunnel/openssh.h"
#include "daemon/tunnel/session.h"

/* A login under way ends when gearsd is gone for so long: nobody would see its prompts. */
enum { LONELY_MS = 10000, RUN_MS = 60000 };

static void on_message(void *context, struct link_message *message);
static void on_closed(void *context);
static const struct link_peer_calls peer_calls = {on_message, on_closed};

/* ---- orders ---- */

static void reply(struct tunnel *tunnel, uint32_t request, int code, const char *words)
{
    struct link_frame frame;
    link_frame_start(&frame, code ? LINK_ERROR : LINK_TUNNEL_OK, request);
    if (code) {
        link_frame_error(&frame, code, words);
    }
    control_send(tunnel, &frame);
}

static void wipe(char *text)
{
    if (text) {
        explicit_bzero(text, strlen(text));
        free(text);
    }
}

/* Nothing of it stays here: neither the copies nor the frame. */
static void take_answer(struct tunnel *tunnel, struct link_message *message)
{
    char id[NONCE_TEXT_SIZE];
    char *answers[PROMPTS_MOST] = {NULL};
    size_t count = 0;
    int code = -ESTALE;
    link_find_string(message, LINK_TAG_PROMPT_ID, 0, id, sizeof id);
    while (count < PROMPTS_MOST &&
           (answers[count] = link_copy_string(message, LINK_TAG_ANSWER, count))) {
        count++;
    }
    if ((tunnel->login || tunnel->openssh) && tunnel->control->prompt_id[0] &&
        !strcmp(id, tunnel->control->prompt_id)) {
        const char *const *texts = (const char *const *)(const void *)answers;
        code = tunnel->openssh ? openssh_answer(tunnel->openssh, id, texts, count)
                               : login_answer(tunnel->login, id, texts, count);
    }
    for (size_t i = 0; i < count; i++) {
        wipe(answers[i]);
    }
    explicit_bzero((void *)(uintptr_t)message->fields, message->length);
    if (!code) {
        control_drop_prompt(tunnel);
        tunnel->human = tunnel->human || (tunnel->login && login_human(tunnel->login));
        tunnel_set_state(
            tunnel, LINK_TUNNEL_CONNECTING, LINK_CAUSE_NONE, "answered, logging in", 0);
    }
    reply(tunnel, message->request, code,
        code == -EINVAL ? "another number of answers than of questions"
                        : "this question is not asked any more");
}

static void close_by_order(struct tunnel *tunnel, const struct link_message *message)
{
    char text[512];
    link_find_string(message, LINK_TAG_TEXT, 0, text, sizeof text);
    reply(tunnel, message->request, 0, NULL);
    tunnel_close(tunnel, (enum link_tunnel_cause)link_u64(message, LINK_TAG_CAUSE, 0), text);
}

static void order_run(struct tunnel *tunnel, const struct link_message *message)
{
    char *command = link_copy_string(message, LINK_TAG_COMMAND, 0);
    int64_t timeout = (int64_t)link_u64(message, LINK_TAG_TIMEOUT_MS, RUN_MS);
    bool up = tunnel->state == LINK_TUNNEL_UP || tunnel->state == LINK_TUNNEL_DEGRADED;
    if (!up || !command || !command[0]) {
        free(command);
        reply(tunnel, message->request, up ? -EINVAL : -ENOTCONN,
            up ? "no command was given" : "the connection is not up");
    } else if (tunnel->openssh
                   ? openssh_run(tunnel->openssh, message->request, command, timeout)
                   : run_start(&tunnel->session->run, message->request, command, timeout)) {
        reply(tunnel, message->request, -EBUSY, "another command runs already");
    }
}

static void order_probe(struct tunnel *tunnel, const struct link_message *message)
{
    if (tunnel->openssh) {
        openssh_probe(tunnel->openssh, message->request);
    } else if (tunnel->session) {
        silence_probe(&tunnel->session->silence, message->request);
    } else {
        control_state(tunnel, message->request);
    }
}

static void on_message(void *context, struct link_message *message)
{
    struct tunnel *tunnel = context;
    struct link_frame frame;
    switch ((int)message->type) {
    case LINK_HELLO:
        control_status(tunnel, message->request);
        control_tell_prompt(tunnel);
        break;
    case LINK_TUNNEL_ANSWER:
        take_answer(tunnel, message);
        break;
    case LINK_TUNNEL_CLOSE:
        close_by_order(tunnel, message);
        break;
    case LINK_TUNNEL_RUN:
        order_run(tunnel, message);
        break;
    case LINK_TUNNEL_PROBE:
        order_probe(tunnel, message);
        break;
    default:
        link_frame_unsupported(&frame, message);
        control_send(tunnel, &frame);
    }
}

/* ---- who leads ---- */

static void on_lonely(evutil_socket_t fd, short what, void *argument)
{
    (void)fd;
    (void)what;
    struct tunnel *tunnel = argument;
    if (tunnel->state == LINK_TUNNEL_CONNECTING || tunnel->state == LINK_TUNNEL_PROMPTING) {
        tunnel_close(tunnel, LINK_CAUSE_CANCELLED,
            "gearsd went away during the login and did not come back");
    }
}

static void on_closed(void *context)
{
    struct tunnel *tunnel = context;
    control_leave(tunnel->control);
    timer_arm(tunnel->control->lonely, LONELY_MS);
    watch_check(tunnel); /* a later gearsd has to find this */
}

static void take(struct tunnel *tunnel, int fd)
{
    struct control *control = tunnel->control;
    control_leave(control);
    control->writable = event_new(tunnel->base, fd, EV_WRITE, control_on_writable, tunnel);
    control->controller_fd = fd;
    if (control->writable) {
        control->controller = link_peer_create(tunnel->base, fd, &peer_calls, tunnel);
    } else {
        close(fd);
    }
    event_del(control->lonely);
}

static void on_door(evutil_socket_t fd, short what, void *argument)
{
    (void)fd;
    (void)what;
    static uint8_t buffer[LINK_FRAME_LIMIT];
    struct tunnel *tunnel = argument;
    uint32_t request = 0;
    int came = link_door_answer(&tunnel->control->door, buffer, &request);
    if (came >= 0) {
        take(tunnel, came);
        control_status(tunnel, request);
        control_tell_prompt(tunnel);
    }
}

static int listen_at_link(struct tunnel *tunnel, struct error *err)
{
    struct control *control = tunnel->control;
    int code = link_door_listen(&control->door, tunnel->link_path, err);
    if (!code) {
        unix_file_note(tunnel->link_path, &control->bound);
    }
    return code;
}

int control_check_link(struct tunnel *tunnel, struct error *err)
{
    bool gone = unix_file_look(tunnel->link_path, &tunnel->control->bound) == -ENOENT;
    return gone ? listen_at_link(tunnel, err) : 0;
}

int control_start(struct tunnel *tunnel, int fd, struct error *err)
{
    struct control *control = calloc(1, sizeof *control);
    tunnel->control = control;
    if (!control) {
        return error_set(err, -ENOMEM, "out of memory");
    }
    link_door_init(&control->door);
    control->lonely = evtimer_new(tunnel->base, on_lonely, tunnel);
    int code = listen_at_link(tunnel, err);
    if (code) {
        return code;
    }
    control->door_event =
        event_new(tunnel->base, control->door.epoll, EV_READ | EV_PERSIST, on_door, tunnel);
    if (!control->lonely || !control->door_event || event_add(control->door_event, NULL)) {
        return error_set(err, -ENOMEM, "out of memory");
    }
    take(tunnel, fd);
    control_status(tunnel, 1);
    return 0;
}

void control_finish(struct tunnel *tunnel)
{
    struct control *control = tunnel->control;
    unix_file_remove(tunnel->link_path, &control->bound);
    control_pay_at_last(tunnel);
    control_drop_prompt(tunnel);
    if (control->door_event) {
        event_free(control->door_event);
    }
    if (control->lonely) {
        event_free(control->lonely);
    }
    link_door_close(&control->door);
    control_leave(control);
    free(control);
    tunnel->control = NULL;
}
