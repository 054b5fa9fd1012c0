/* Calls that outlive their method: status and event streams, waiting for a state. Each is a
 * watcher of the manager that ends with its call. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/clock.h"
#include "daemon/control/control_private.h"
#include "daemon/core/timer.h"

enum { PROBE_WAIT_MS = 300 };

struct stream {
    struct manager_watcher watcher;
    struct control *control;
    struct varlink_call *call;
    char name[NAME_TEXT_SIZE]; /* "" for all */
    bool usage, progress;
    enum service_state goal;
    uint64_t sent;    /* events: last seq told */
    uint64_t tunnels; /* status: the version of the hops that was told */
    struct event *timer;
};

static void destroy(struct stream *stream)
{
    manager_unwatch(stream->control->manager, &stream->watcher);
    timer_stop(&stream->timer);
    free(stream);
}

static void on_close(struct varlink_call *call, void *context)
{
    (void)call;
    destroy(context);
}

static struct stream *create(struct control *control, struct varlink_call *call,
    const char *name, void (*changed)(void *, struct service *))
{
    struct stream *stream = calloc(1, sizeof *stream);
    if (!stream) {
        reply_failed(call, name, "gearsd is out of memory");
        return NULL;
    }
    stream->control = control;
    stream->call = call;
    snprintf(stream->name, sizeof stream->name, "%s", name ? name : "");
    stream->watcher = (struct manager_watcher){.changed = changed, .context = stream};
    manager_watch(control->manager, &stream->watcher);
    varlink_call_on_close(call, on_close, stream);
    return stream;
}

/* `one` NULL: every service. */
static cJSON *status_object(struct control *control, struct service *one, bool usage)
{
    struct manager *manager = control->manager;
    cJSON *object = cJSON_CreateObject();
    cJSON_AddStringToObject(object, "epoch", manager->epoch);
    varlink_add_integer(object, "seq", (int64_t)manager->seq);
    cJSON *list = cJSON_AddArrayToObject(object, "services");
    for (struct service *s = manager->services; s; s = s->next) {
        if (!one || s == one) {
            cJSON_AddItemToArray(list, view_service(manager, s, usage));
        }
    }
    if (!one) {
        add_tunnels(control, object);
    }
    return object;
}

static void on_status_change(void *context, struct service *service)
{
    struct stream *stream = context;
    struct control *control = stream->control;
    if (service && (!stream->name[0] || !strcmp(stream->name, service->config->name))) {
        varlink_call_continue(stream->call, status_object(control, service, stream->usage));
    } else if (!service && !stream->name[0] && stream->tunnels != control->remote->version) {
        cJSON *object = cJSON_CreateObject();
        cJSON_AddStringToObject(object, "epoch", control->manager->epoch);
        varlink_add_integer(object, "seq", (int64_t)control->manager->seq);
        cJSON_AddArrayToObject(object, "services");
        stream->tunnels = control->remote->version;
        add_tunnels(control, object);
        varlink_call_continue(stream->call, object);
    }
}

static void finish_status(struct stream *stream, struct service *service)
{
    struct varlink_call *call = stream->call;
    cJSON *object = status_object(stream->control, service, true);
    destroy(stream);
    varlink_call_reply(call, object);
}

static void on_probe_change(void *context, struct service *service)
{
    struct stream *stream = context;
    if (service && !service->probe && !strcmp(stream->name, service->config->name)) {
        finish_status(stream, service);
    }
}

static void on_probe_late(evutil_socket_t fd, short what, void *argument)
{
    (void)fd;
    (void)what;
    struct stream *stream = argument;
    struct service *service = manager_find(stream->control->manager, stream->name);
    if (service) {
        finish_status(stream, service);
    } else {
        struct varlink_call *call = stream->call;
        struct control *control = stream->control;
        char name[sizeof stream->name];
        memcpy(name, stream->name, sizeof name);
        destroy(stream);
        reply_no_such(control, call, name);
    }
}

/* Who asks after one service hears of now: what the probe just begun tells, if it is quick. */
static void await_probe(
    struct control *control, struct varlink_call *call, struct service *service)
{
    struct stream *stream = create(control, call, service->config->name, on_probe_change);
    if (stream) {
        timer_start(
            &stream->timer, control->manager->base, PROBE_WAIT_MS, on_probe_late, stream);
        if (!stream->timer) {
            finish_status(stream, service);
        }
    }
}

void method_status(struct varlink_call *call, const cJSON *parameters, void *context)
{
    struct control *control = context;
    const char *name = call_string(parameters, "name");
    struct service *one = NULL;
    if (name && !(one = call_service(control, call, parameters))) {
        return;
    }
    for (struct service *s = one ? one : control->manager->services; s;
         s = one ? NULL : s->next) {
        health_probe(s);
    }
    bool usage = call_bool(parameters, "usage") || (one && !varlink_call_more(call));
    if (one && one->probe && !varlink_call_more(call)) {
        await_probe(control, call, one);
        return;
    }
    cJSON *object = status_object(control, one, usage);
    if (!varlink_call_more(call)) {
        varlink_call_reply(call, object);
        return;
    }
    struct stream *stream = create(control, call, name, on_status_change);
    if (!stream) {
        cJSON_Delete(object);
        return;
    }
    stream->usage = usage;
    stream->tunnels = control->remote->version;
    varlink_call_continue(call, object);
}

static cJSON *events_since(struct manager *manager, uint64_t after)
{
    cJSON *object = cJSON_CreateObject();
    cJSON *list = cJSON_AddArrayToObject(object, "events");
    uint64_t oldest = manager->seq > EVENT_RING ? manager->seq - EVENT_RING : 0;
    for (uint64_t seq = (after > oldest ? after : oldest) + 1; seq <= manager->seq; seq++) {
        cJSON_AddItemToArray(list, view_event(manager, &manager->events[seq % EVENT_RING]));
    }
    return object;
}

static void on_event(void *context, struct service *service)
{
    (void)service;
    struct stream *stream = context;
    struct manager *manager = stream->control->manager;
    if (stream->sent < manager->seq) {
        uint64_t after = stream->sent;
        stream->sent = manager->seq;
        varlink_call_continue(stream->call, events_since(manager, after));
    }
}

void method_events(struct varlink_call *call, const cJSON *parameters, void *context)
{
    struct control *control = context;
    struct manager *manager = control->manager;
    const char *epoch = call_string(parameters, "epoch");
    int64_t after = call_integer(parameters, "after", 0);
    if ((epoch && strcmp(epoch, manager->epoch) != 0) || after < 0) {
        after = 0; /* another gearsd's numbers: tell everything we have */
    }
    if (!call_bool(parameters, "follow") || !varlink_call_more(call)) {
        varlink_call_reply(call, events_since(manager, (uint64_t)after));
        return;
    }
    struct stream *stream = create(control, call, NULL, on_event);
    if (stream) {
        stream->sent = manager->seq;
        varlink_call_continue(call, events_since(manager, (uint64_t)after));
    }
}

static void finish_wait(struct stream *stream, struct service *service)
{
    struct varlink_call *call = stream->call;
    cJSON *object = cJSON_CreateObject();
    cJSON_AddItemToObject(
        object, "service", view_service(stream->control->manager, service, false));
    destroy(stream);
    varlink_call_reply(call, object);
}

/* Reply if the wait is over; true then. */
static bool check_wait(struct stream *stream, struct service *service)
{
    enum service_state state = service->machine.state;
    if (state == stream->goal || (stream->goal == SERVICE_STOPPED && state == SERVICE_FAILED)) {
        finish_wait(stream, service);
        return true;
    }
    if (stream->goal == SERVICE_READY && !service->wish.fresh && /* else it is about to start */
        (state == SERVICE_FAILED || state == SERVICE_STOPPED)) {
        struct varlink_call *call = stream->call;
        char message[400];
        snprintf(message, sizeof message, "%s%s%s; see: gearsctl logs %s",
            service_state_name(state), service->cause[0] ? ": " : "", service->cause,
            service->config->name);
        destroy(stream);
        reply_failed(call, service->config->name, message);
        return true;
    }
    return false;
}

static void on_wait_change(void *context, struct service *service)
{
    struct stream *stream = context;
    if (!service || strcmp(stream->name, service->config->name) != 0) {
        return;
    }
    if (!check_wait(stream, service) && stream->progress) {
        cJSON *object = cJSON_CreateObject();
        cJSON_AddItemToObject(
            object, "service", view_service(stream->control->manager, service, false));
        varlink_call_continue(stream->call, object);
    }
}

static void on_wait_over(evutil_socket_t fd, short what, void *argument)
{
    (void)fd;
    (void)what;
    struct stream *stream = argument;
    struct service *service = manager_find(stream->control->manager, stream->name);
    struct varlink_call *call = stream->call;
    cJSON *object = cJSON_CreateObject();
    char message[400] = "it was removed";
    if (service) {
        const struct service_health *health = &service->health;
        snprintf(message, sizeof message, "still %s; %s %s%s",
            service_state_name(service->machine.state), health->layer,
            health->ok ? "answers" : "is not well: ", health->ok ? "" : health->message);
    }
    cJSON_AddStringToObject(object, "name", stream->name);
    cJSON_AddStringToObject(object, "message", message);
    destroy(stream);
    varlink_call_error(call, "org.gears.Manager.TimedOut", object);
}

void wait_for_state(struct control *control, struct varlink_call *call, struct service *service,
    enum service_state goal, int64_t timeout_ms, bool progress)
{
    struct stream *stream = create(control, call, service->config->name, on_wait_change);
    if (!stream) {
        return;
    }
    stream->goal = goal;
    stream->progress = progress && varlink_call_more(call);
    if (timeout_ms > 0) {
        timer_start(&stream->timer, control->manager->base, timeout_ms, on_wait_over, stream);
    }
    check_wait(stream, service);
}
