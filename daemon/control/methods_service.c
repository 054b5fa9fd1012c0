/* Methods that act on one service: first durable, then done, then answered. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "daemon/control/control_private.h"

/* What every act on a service begins with: the service that is named and a call that waits for
 * it. NULL: replied. */
static struct pending *begin(struct control *control, struct varlink_call *call,
    const cJSON *parameters, struct service **service)
{
    *service = call_service(control, call, parameters);
    return *service ? pending_create(control, call, (*service)->config->name, parameters)
                    : NULL;
}

void method_start(struct varlink_call *call, const cJSON *parameters, void *context)
{
    struct control *control = context;
    struct service *service;
    struct pending *pending = begin(control, call, parameters, &service);
    if (pending) {
        pending->goal = SERVICE_READY;
        manager_start(control->manager, service, call_string(parameters, "workspace"),
            call_string(parameters, "env"), pending_done, pending);
    }
}

void method_stop(struct varlink_call *call, const cJSON *parameters, void *context)
{
    struct control *control = context;
    struct service *service;
    struct pending *pending = begin(control, call, parameters, &service);
    if (pending) {
        pending->goal = SERVICE_STOPPED;
        pending->timeout_ms = 2 * service->config->stop_timeout_ms + 20000;
        manager_stop(control->manager, service, pending_done, pending);
    }
}

void method_restart(struct varlink_call *call, const cJSON *parameters, void *context)
{
    struct control *control = context;
    struct service *service;
    struct pending *pending = begin(control, call, parameters, &service);
    if (pending) {
        pending->goal = SERVICE_READY;
        manager_restart(control->manager, service, pending_done, pending);
    }
}

static void set_enabled(
    struct varlink_call *call, const cJSON *parameters, struct control *control, bool enabled)
{
    struct service *service;
    struct pending *pending = begin(control, call, parameters, &service);
    if (pending) {
        pending->plain = true;
        manager_enable(control->manager, service, enabled, pending_done, pending);
    }
}

void method_enable(struct varlink_call *call, const cJSON *parameters, void *context)
{
    set_enabled(call, parameters, context, true);
}

void method_disable(struct varlink_call *call, const cJSON *parameters, void *context)
{
    set_enabled(call, parameters, context, false);
}

void method_signal(struct varlink_call *call, const cJSON *parameters, void *context)
{
    struct service *service = call_service(context, call, parameters);
    struct error err;
    int number;
    if (!service) {
        return;
    }
    if (!service->pid) {
        cJSON *object = cJSON_CreateObject();
        cJSON_AddStringToObject(object, "name", service->config->name);
        cJSON_AddStringToObject(object, "state", service_state_name(service->machine.state));
        varlink_call_error(call, "org.gears.Manager.NotRunning", object);
    } else if (signal_parse(call_string(parameters, "signal"), &number, &err) ||
               manager_signal(service, number, &err)) {
        reply_failed(call, service->config->name, err.text);
    } else {
        varlink_call_reply(call, NULL);
    }
}

void method_reset_failed(struct varlink_call *call, const cJSON *parameters, void *context)
{
    struct control *control = context;
    struct service *service;
    struct pending *pending = begin(control, call, parameters, &service);
    if (pending) {
        pending->wait = false;
        manager_reset_failed(service, pending_done, pending);
    }
}

static struct service_config *run_config(const cJSON *parameters, struct error *err)
{
    const char *name = call_string(parameters, "name");
    const char *kind = call_string(parameters, "kind");
    const cJSON *argv = cJSON_GetObjectItemCaseSensitive(parameters, "argv");
    int count = cJSON_GetArraySize(argv);
    if (name_check(name, err)) {
        return NULL;
    }
    if (count < 1 || count > 512) {
        error_set(err, -EINVAL, "a command needs 1 to 512 words");
        return NULL;
    }
    if (!kind_find(kind ? kind : "command")) {
        error_set(err, -EINVAL, "there is no kind \"%s\"; use command or jupyter", kind);
        return NULL;
    }
    struct service_config *config = service_config_create(name, kind ? kind : "command");
    const char *cwd = call_string(parameters, "cwd");
    if (!config || !(config->argv = calloc((size_t)count + 1, sizeof(char *)))) {
        service_config_destroy(config);
        error_set(err, -ENOMEM, "out of memory");
        return NULL;
    }
    for (int i = 0; i < count; i++) {
        config->argv[i] = strdup(cJSON_GetStringValue(cJSON_GetArrayItem(argv, i)));
    }
    free(config->cwd);
    config->cwd = cwd ? strdup(cwd) : NULL;
    config->restart = RESTART_NO; /* a command typed once runs once */
    return config;
}

void method_run(struct varlink_call *call, const cJSON *parameters, void *context)
{
    struct control *control = context;
    struct error err;
    const char *name = call_string(parameters, "name");
    struct service_config *config = run_config(parameters, &err);
    if (!config) {
        reply_refused(call, err.text);
        return;
    }
    struct service *old = manager_find(control->manager, name);
    if (old && (!old->adhoc || (old->machine.state != SERVICE_STOPPED &&
                                   old->machine.state != SERVICE_FAILED))) {
        char message[200];
        snprintf(message, sizeof message, "%s exists already and is %s; choose another name",
            name, service_state_name(old->machine.state));
        service_config_destroy(config);
        cJSON *object = cJSON_CreateObject();
        cJSON_AddStringToObject(object, "message", message);
        varlink_call_error(call, "org.gears.Manager.Conflict", object);
        return;
    }
    struct pending *pending = pending_create(control, call, name, parameters);
    if (!pending) {
        service_config_destroy(config);
        return;
    }
    pending->goal = SERVICE_READY;
    if (!manager_run(control->manager, config, pending_done, pending, &err)) {
        pending_drop(pending);
        reply_refused(call, err.text);
    }
}

void method_remove(struct varlink_call *call, const cJSON *parameters, void *context)
{
    struct control *control = context;
    struct service *service;
    struct pending *pending = begin(control, call, parameters, &service);
    if (pending) {
        pending->gone = true;
        manager_remove(control->manager, service, pending_done, pending);
    }
}

void method_wait(struct varlink_call *call, const cJSON *parameters, void *context)
{
    struct service *service = call_service(context, call, parameters);
    const char *goal = call_string(parameters, "for");
    if (!service) {
        return;
    }
    if (strcmp(goal, "ready") != 0 && strcmp(goal, "stopped") != 0) {
        reply_refused(call, "wait for \"ready\" or \"stopped\"");
        return;
    }
    wait_for_state(context, call, service,
        !strcmp(goal, "ready") ? SERVICE_READY : SERVICE_STOPPED,
        call_integer(parameters, "timeout", 0), true);
}
