/* Where a service is reached: its URL and its loopback port. */
#include <stdio.h>

#include "daemon/control/control_private.h"

enum { FORWARD_TRIES = 100 };

void method_url(struct varlink_call *call, const cJSON *parameters, void *context)
{
    struct control *control = context;
    struct service *service = call_service(control, call, parameters);
    char address[80];
    if (!service) {
        return;
    }
    const char *path = service->launch.url_path ? service->launch.url_path : "/";
    cJSON *object = cJSON_CreateObject();
    if (service->forward_port) {
        snprintf(
            address, sizeof address, "http://localhost:%u", (unsigned)service->forward_port);
        cJSON_AddStringToObject(object, "forward", address);
    }
    if (service_is_served(service)) {
        snprintf(
            address, sizeof address, "http://localhost:%d", control->manager->config->port);
        cJSON_AddStringToObject(object, "laptop", address);
    }
    if (service->launch.token) {
        cJSON_AddStringToObject(object, "token", service->launch.token);
    }
    cJSON_AddStringToObject(object, "path", path);
    varlink_call_reply(call, object);
}

/* Whether a loopback port is free now and not given to another service. */
static bool port_is_free(struct manager *manager, const struct service *mine, int port)
{
    for (struct service *s = manager->services; s; s = s->next) {
        if (s != mine && s->forward_port == port) {
            return false;
        }
    }
    return forward_port_probe(port);
}

void method_forward(struct varlink_call *call, const cJSON *parameters, void *context)
{
    struct control *control = context;
    struct manager *manager = control->manager;
    struct service *service = call_service(control, call, parameters);
    if (!service) {
        return;
    }
    bool remove = call_bool(parameters, "remove");
    int wish = (int)call_integer(parameters, "port", 0), port = 0;
    char message[200];
    if (wish < 0 || wish > 65535) {
        reply_refused(call, "a port is 1 to 65535");
        return;
    }
    if (!remove && !service_is_served(service)) {
        reply_refused(
            call, "this service has no socket; use {socket} or {port} in its command");
        return;
    }
    if (!remove && service->forward_port && (!wish || wish == service->forward_port)) {
        port = service->forward_port;
    }
    for (int i = 0; !remove && !port && i < (wish ? 1 : FORWARD_TRIES); i++) {
        int candidate = wish ? wish : manager->config->port + i;
        if (candidate < 65536 && port_is_free(manager, service, candidate)) {
            port = candidate;
        }
    }
    if (!remove && !port) {
        if (wish) {
            snprintf(message, sizeof message,
                "port %d is taken on this host; choose another, or none for the next free one",
                wish);
        } else {
            snprintf(message, sizeof message, "the ports %d to %d are all taken on this host",
                manager->config->port, manager->config->port + FORWARD_TRIES - 1);
        }
        reply_refused(call, message);
        return;
    }
    struct pending *pending = pending_create(control, call, service->config->name, parameters);
    if (pending) {
        pending->port = remove ? -1 : port;
        manager_forward(manager, service, port, pending_done, pending);
    }
}
