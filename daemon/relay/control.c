/* gearsd's orders. Who said hello last is the controller. */
#include <errno.h>
#include <fcntl.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/epoll.h>
#include <unistd.h>

#include "common/unixsock.h"
#include "daemon/relay/relay.h"

enum { ORDERS_PER_ROUND = 64 };

static void act(struct relay *relay, const struct link_message *message);
static void on_link(struct source *source, uint32_t events);
static void leave_if_lost(struct relay *relay);

static void on_controller(struct source *source, uint32_t events)
{
    (void)events;
    struct relay *relay =
        (struct relay *)(void *)((char *)source - offsetof(struct relay, controller));
    static uint8_t buffer[LINK_FRAME_LIMIT];
    struct link_message message;
    int fd = source->fd, ends = 0;
    for (int i = 0; i < ORDERS_PER_ROUND && fd >= 0 && source->fd == fd; i++) {
        int code = link_receive(fd, buffer, &message);
        if (code == 1) {
            act(relay, &message);
            link_message_finish(&message);
        } else if (code == -EAGAIN) {
            return;
        } else if (code != -EBADMSG && (code || ++ends > 1)) {
            /* The first end may be a reset, told before what was ordered last. */
            relay_close(source);
            leave_if_lost(relay);
        }
    }
}

static void take(struct relay *relay, int fd)
{
    relay_close(&relay->controller);
    relay->controller = (struct source){on_controller, fd, 0};
    for (struct service *s = relay->services; s; s = s->next) {
        s->demander = NULL; /* it has not been told */
    }
    relay_arm(relay, &relay->controller, EPOLLIN);
}

/* Take no one in any more; the loop ends with the last connection. */
static void leave(struct relay *relay)
{
    relay->draining = true;
    for (struct service *s = relay->services; s; s = s->next) {
        listener_close_all(s, false);
        connection_service_changed(s); /* who waits now tries by itself */
    }
    link_door_close(&relay->door);
    relay->link = (struct source){on_link, -1, 0};
}

/* Nobody leads this relay and no successor of gearsd can find it: another serves by now. */
static void leave_if_lost(struct relay *relay)
{
    if (relay->lost && relay->controller.fd < 0 && !relay->draining) {
        leave(relay);
    }
}

static int listen_at_link(struct relay *relay, struct error *err)
{
    int code = link_door_listen(&relay->door, relay->link_path, err);
    if (!code) {
        unix_file_note(relay->link_path, &relay->link_bound);
    }
    return code;
}

void control_check_link(struct relay *relay)
{
    struct error err;
    if (relay->draining) {
        return;
    }
    int code = unix_file_look(relay->link_path, &relay->link_bound);
    relay->lost = code == -ENOENT ? listen_at_link(relay, &err) != 0 : code != 0;
    leave_if_lost(relay);
}

static void on_link(struct source *source, uint32_t events)
{
    (void)events;
    static uint8_t buffer[LINK_FRAME_LIMIT];
    struct relay *relay =
        (struct relay *)(void *)((char *)source - offsetof(struct relay, link));
    uint32_t request = 0;
    int fd = source->fd >= 0 ? link_door_answer(&relay->door, buffer, &request) : -1;
    if (fd >= 0) {
        take(relay, fd);
        control_status(relay, request);
    }
}

int control_start(struct relay *relay, int fd, struct error *err)
{
    int flags = fcntl(fd, F_GETFL);
    if (flags < 0 || fcntl(fd, F_SETFL, flags | O_NONBLOCK)) {
        return error_errno(err, -errno, "cannot use the first controller's descriptor");
    }
    take(relay, fd);
    link_door_init(&relay->door);
    int code = listen_at_link(relay, err);
    if (code) {
        return code;
    }
    relay->link = (struct source){on_link, relay->door.epoll, 0};
    return relay_arm(relay, &relay->link, EPOLLIN);
}

void control_send(struct relay *relay, struct link_frame *frame)
{
    if (relay->controller.fd < 0) {
        link_frame_finish(frame);
    } else {
        /* To one who has left, too: what it ordered last (to drain) is still to be read. */
        (void)link_send(relay->controller.fd, frame);
    }
}

void control_status(struct relay *relay, uint32_t request)
{
    struct link_frame frame;
    link_frame_start(&frame, LINK_RELAY_STATUS, request);
    link_frame_string(&frame, LINK_TAG_NONCE, relay->nonce);
    link_frame_string(&frame, LINK_TAG_BUILD, relay->build);
    link_frame_u64(&frame, LINK_TAG_PID, (uint64_t)getpid());
    link_frame_u64(&frame, LINK_TAG_DRAINING, relay->draining);
    link_frame_u64(&frame, LINK_TAG_FEEDS, 1);
    link_frame_fd(&frame, relay->counters_fd);
    control_send(relay, &frame);
}

static void reply_ok(struct relay *relay, uint32_t request, int port)
{
    struct link_frame frame;
    link_frame_start(&frame, LINK_RELAY_OK, request);
    if (port > 0) {
        link_frame_u64(&frame, LINK_TAG_PORT, (uint64_t)port);
    }
    control_send(relay, &frame);
}

static void reply_error(
    struct relay *relay, const struct link_message *message, int code, const char *words)
{
    struct link_frame frame;
    char name[RELAY_NAME_SIZE];
    link_find_string(message, LINK_TAG_SERVICE, 0, name, sizeof name);
    link_frame_start(&frame, LINK_ERROR, message->request);
    link_frame_string(&frame, LINK_TAG_SERVICE, name);
    link_frame_error(&frame, code, words);
    control_send(relay, &frame);
}

static void put_service(
    struct relay *relay, const struct link_message *message, struct service *service)
{
    service->is_fed = link_find_string(
        message, LINK_TAG_FEED_PATH, 0, service->feed_path, sizeof service->feed_path);
    link_find_string(
        message, LINK_TAG_TARGET_PATH, 0, service->target_path, sizeof service->target_path);
    service->target_port = (uint16_t)link_u64(message, LINK_TAG_TARGET_PORT, 0);
    enum link_service_state state =
        (enum link_service_state)link_u64(message, LINK_TAG_SERVICE_STATE, LINK_SERVICE_DOWN);
    service->demander = state == service->state ? service->demander : NULL;
    service->state = state;
    link_find_string(message, LINK_TAG_TEXT, 0, service->cause, sizeof service->cause);
    link_find_string(message, LINK_TAG_COMMAND, 0, service->command, sizeof service->command);
    service->since_us = (int64_t)link_u64(message, LINK_TAG_SINCE, 0);
    service->wait_ms = (int64_t)link_u64(message, LINK_TAG_WAIT_MS, 60000);
    struct link_frame frame;
    link_frame_start(&frame, LINK_RELAY_OK, message->request);
    link_frame_u64(&frame, LINK_TAG_SLOT, (uint64_t)service->slot);
    link_frame_string(&frame, LINK_TAG_SERVICE, service->name);
    control_send(relay, &frame);
    connection_service_changed(service);
}

static void listen_on(
    struct relay *relay, const struct link_message *message, struct service *service)
{
    struct error err;
    char path[UNIX_PATH_SIZE];
    bool is_path = link_find_string(message, LINK_TAG_LISTEN_PATH, 0, path, sizeof path);
    uint16_t port = (uint16_t)link_u64(message, LINK_TAG_LISTEN_PORT, 0);
    int code = relay->draining ? error_set(&err, -ESHUTDOWN, "the relay drains")
                               : listener_open(service, is_path ? path : NULL, &port, &err);
    if (code) {
        reply_error(relay, message, code, err.text);
    } else {
        reply_ok(relay, message->request, is_path ? 0 : port);
    }
}

static void drain(struct relay *relay, uint32_t request)
{
    leave(relay);
    reply_ok(relay, request, 0);
}

static void act(struct relay *relay, const struct link_message *message)
{
    char name[RELAY_NAME_SIZE], path[UNIX_PATH_SIZE];
    link_find_string(message, LINK_TAG_SERVICE, 0, name, sizeof name);
    struct service *service = name[0] ? service_find(relay, name) : NULL;
    switch (message->type) {
    case LINK_HELLO:
        control_status(relay, message->request);
        return;
    case LINK_RELAY_DRAIN:
        drain(relay, message->request);
        return;
    case LINK_RELAY_SERVICE:
        service = name[0] ? service_get(relay, name) : NULL;
        break;
    default:
        break;
    }
    if (!service) {
        reply_error(relay, message, -ENOENT, "the relay does not know this service");
    } else if (message->type == LINK_RELAY_SERVICE) {
        put_service(relay, message, service);
    } else if (message->type == LINK_RELAY_LISTEN) {
        listen_on(relay, message, service);
    } else if (message->type == LINK_RELAY_UNLISTEN) {
        bool is_path = link_find_string(message, LINK_TAG_LISTEN_PATH, 0, path, sizeof path);
        listener_close(service, is_path ? path : NULL,
            (uint16_t)link_u64(message, LINK_TAG_LISTEN_PORT, 0));
        reply_ok(relay, message->request, 0);
    } else if (message->type == LINK_RELAY_FORGET) {
        service_forget(service);
        reply_ok(relay, message->request, 0);
    } else {
        struct link_frame frame;
        link_frame_unsupported(&frame, message);
        control_send(relay, &frame);
    }
}
