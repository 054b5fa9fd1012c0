/* The methods of org.gears.Manager, one function each. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "build_id.h"
#include "daemon/control/control_private.h"
#include "proto/interfaces.h"

enum { START_TIMEOUT_MS = 90000, FORWARD_TRIES = 100 };

const char *call_string(const cJSON *parameters, const char *key)
{
    return cJSON_GetStringValue(cJSON_GetObjectItemCaseSensitive(parameters, key));
}

int64_t call_integer(const cJSON *parameters, const char *key, int64_t fallback)
{
    const cJSON *item = cJSON_GetObjectItemCaseSensitive(parameters, key);
    return cJSON_IsNumber(item) ? (int64_t)item->valuedouble : fallback;
}

bool call_bool(const cJSON *parameters, const char *key)
{
    return cJSON_IsTrue(cJSON_GetObjectItemCaseSensitive(parameters, key));
}

void reply_failed(struct varlink_call *call, const char *name, const char *message)
{
    cJSON *object = cJSON_CreateObject();
    if (name) {
        cJSON_AddStringToObject(object, "name", name);
    }
    cJSON_AddStringToObject(object, "message", message);
    varlink_call_error(call, "org.gears.Manager.Failed", object);
}

static void reply_refused(struct varlink_call *call, const char *message)
{
    cJSON *object = cJSON_CreateObject();
    cJSON_AddStringToObject(object, "message", message);
    varlink_call_error(call, "org.gears.Manager.Refused", object);
}

void reply_no_such(struct control *control, struct varlink_call *call, const char *name)
{
    cJSON *object = cJSON_CreateObject();
    const char *closest = manager_closest(control->manager, name);
    cJSON_AddStringToObject(object, "name", name);
    if (closest) {
        cJSON_AddStringToObject(object, "hint", closest);
    }
    varlink_call_error(call, "org.gears.Manager.NoSuchService", object);
}

struct service *call_service(
    struct control *control, struct varlink_call *call, const cJSON *parameters)
{
    const char *name = call_string(parameters, "name");
    struct service *service = manager_find(control->manager, name ? name : "");
    if (!service) {
        reply_no_such(control, call, name ? name : "");
    }
    return service;
}

static void reply_service(
    struct control *control, struct varlink_call *call, struct service *service)
{
    cJSON *object = cJSON_CreateObject();
    cJSON_AddItemToObject(object, "service", view_service(control->manager, service, false));
    varlink_call_reply(call, object);
}

/* An act on its way to being durable. The call may die before: on_close forgets it. */
struct pending {
    struct control *control;
    struct varlink_call *call; /* NULL: the client left */
    char name[33];
    bool wait, plain;
    enum service_state goal;
    int64_t timeout_ms;
    int port;
};

static void on_pending_closed(struct varlink_call *call, void *context)
{
    (void)call;
    ((struct pending *)context)->call = NULL;
}

static struct pending *pend(struct control *control, struct varlink_call *call,
    const char *name, const cJSON *parameters)
{
    struct pending *pending = calloc(1, sizeof *pending);
    if (!pending) {
        reply_failed(call, name, "gearsd is out of memory");
        return NULL;
    }
    *pending = (struct pending){.control = control,
        .call = call,
        .wait = call_bool(parameters, "wait"),
        .timeout_ms = call_integer(parameters, "timeout", START_TIMEOUT_MS)};
    snprintf(pending->name, sizeof pending->name, "%s", name);
    varlink_call_on_close(call, on_pending_closed, pending);
    return pending;
}

static void on_done(void *context, int code, const struct error *err)
{
    struct pending *pending = context;
    struct control *control = pending->control;
    struct varlink_call *call = pending->call;
    struct pending copy = *pending;
    free(pending);
    if (!call) {
        return;
    }
    varlink_call_on_close(call, NULL, NULL);
    struct service *service = manager_find(control->manager, copy.name);
    if (code || !service) {
        reply_failed(call, copy.name, code ? err->text : "it was removed meanwhile");
    } else if (copy.port) {
        cJSON *object = cJSON_CreateObject();
        cJSON_AddNumberToObject(object, "port", copy.port);
        varlink_call_reply(call, object);
    } else if (copy.plain) {
        varlink_call_reply(call, NULL);
    } else if (copy.wait) {
        wait_for_state(control, call, service, copy.goal, copy.timeout_ms, true);
    } else {
        reply_service(control, call, service);
    }
}

static void method_hello(struct varlink_call *call, const cJSON *parameters, void *context)
{
    (void)parameters;
    struct control *control = context;
    struct manager *manager = control->manager;
    static const char *const capabilities[] = {
        "services", "logs", "events", "forward", "upgrade"};
    cJSON *object = cJSON_CreateObject();
    cJSON_AddStringToObject(object, "version", GEARS_VERSION);
    cJSON_AddStringToObject(object, "build", GEARS_BUILD_ID);
    cJSON_AddStringToObject(object, "host", manager->home.host);
    cJSON_AddStringToObject(object, "boot_id", manager->home.boot_id);
    cJSON_AddNumberToObject(object, "pid", getpid());
    cJSON_AddNumberToObject(object, "started_at", (double)manager->started_at_us);
    cJSON_AddItemToObject(object, "capabilities",
        cJSON_CreateStringArray(capabilities, sizeof capabilities / sizeof *capabilities));
    const char *relay = relay_client_build(manager->relay);
    if (*relay) {
        cJSON_AddStringToObject(object, "relay_build", relay);
    }
    cJSON_AddStringToObject(object, "home", manager->home.root);
    varlink_call_reply(call, object);
}

static void method_start(struct varlink_call *call, const cJSON *parameters, void *context)
{
    struct control *control = context;
    struct service *service = call_service(control, call, parameters);
    struct pending *pending =
        service ? pend(control, call, service->config->name, parameters) : NULL;
    if (pending) {
        pending->goal = SERVICE_READY;
        manager_start(control->manager, service, call_string(parameters, "workspace"),
            call_string(parameters, "env"), on_done, pending);
    }
}

static void method_stop(struct varlink_call *call, const cJSON *parameters, void *context)
{
    struct control *control = context;
    struct service *service = call_service(control, call, parameters);
    struct pending *pending =
        service ? pend(control, call, service->config->name, parameters) : NULL;
    if (pending) {
        pending->goal = SERVICE_STOPPED;
        pending->timeout_ms = 2 * service->config->stop_timeout_ms + 20000;
        manager_stop(control->manager, service, on_done, pending);
    }
}

static void method_restart(struct varlink_call *call, const cJSON *parameters, void *context)
{
    struct control *control = context;
    struct service *service = call_service(control, call, parameters);
    struct pending *pending =
        service ? pend(control, call, service->config->name, parameters) : NULL;
    if (pending) {
        pending->goal = SERVICE_READY;
        manager_restart(control->manager, service, on_done, pending);
    }
}

static void set_enabled(
    struct varlink_call *call, const cJSON *parameters, struct control *control, bool enabled)
{
    struct service *service = call_service(control, call, parameters);
    struct pending *pending =
        service ? pend(control, call, service->config->name, parameters) : NULL;
    if (pending) {
        pending->plain = true;
        manager_enable(control->manager, service, enabled, on_done, pending);
    }
}

static void method_enable(struct varlink_call *call, const cJSON *parameters, void *context)
{
    set_enabled(call, parameters, context, true);
}

static void method_disable(struct varlink_call *call, const cJSON *parameters, void *context)
{
    set_enabled(call, parameters, context, false);
}

static void method_signal(struct varlink_call *call, const cJSON *parameters, void *context)
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

static void method_reset_failed(
    struct varlink_call *call, const cJSON *parameters, void *context)
{
    struct service *service = call_service(context, call, parameters);
    if (service) {
        manager_reset_failed(service);
        reply_service(context, call, service);
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

static void method_run(struct varlink_call *call, const cJSON *parameters, void *context)
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
    struct pending *pending = pend(control, call, name, parameters);
    if (!pending) {
        service_config_destroy(config);
        return;
    }
    pending->goal = SERVICE_READY;
    if (!manager_run(control->manager, config, on_done, pending, &err)) {
        varlink_call_on_close(call, NULL, NULL);
        free(pending);
        reply_refused(call, err.text);
    }
}

static void method_remove(struct varlink_call *call, const cJSON *parameters, void *context)
{
    struct control *control = context;
    struct service *service = call_service(control, call, parameters);
    struct error err;
    if (!service) {
        return;
    }
    if (manager_remove(control->manager, service, &err)) {
        reply_failed(call, service->config->name, err.text);
    } else {
        varlink_call_reply(call, NULL);
    }
}

static void method_wait(struct varlink_call *call, const cJSON *parameters, void *context)
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

static void method_url(struct varlink_call *call, const cJSON *parameters, void *context)
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

static void method_forward(struct varlink_call *call, const cJSON *parameters, void *context)
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
        snprintf(
            message, sizeof message, "port %d is taken on this host; choose another", wish);
        reply_refused(call, message);
        return;
    }
    struct pending *pending = pend(control, call, service->config->name, parameters);
    if (pending) {
        pending->port = port;
        pending->plain = remove;
        manager_forward(manager, service, port, on_done, pending);
    }
}

static void method_config_check(
    struct varlink_call *call, const cJSON *parameters, void *context)
{
    (void)parameters;
    struct control *control = context;
    struct config *config = NULL;
    struct text errors = {0};
    bool ok = !config_load(&control->manager->home, &config, &errors);
    cJSON *object = cJSON_CreateObject(), *list;
    cJSON_AddBoolToObject(object, "ok", ok);
    list = cJSON_AddArrayToObject(object, "errors");
    char *save = NULL, *copy = text_take(&errors);
    for (char *line = copy ? strtok_r(copy, "\n", &save) : NULL; line;
         line = strtok_r(NULL, "\n", &save)) {
        cJSON_AddItemToArray(list, cJSON_CreateString(line));
    }
    free(copy);
    config_destroy(config);
    varlink_call_reply(call, object);
}

static void method_config_show(
    struct varlink_call *call, const cJSON *parameters, void *context)
{
    (void)parameters;
    struct text text = {0};
    config_format(((struct control *)context)->manager->config, &text);
    cJSON *object = cJSON_CreateObject();
    cJSON_AddStringToObject(object, "text", text_string(&text));
    text_finish(&text);
    varlink_call_reply(call, object);
}

static void method_reload(struct varlink_call *call, const cJSON *parameters, void *context)
{
    (void)parameters;
    struct control *control = context;
    struct error err;
    if (control->calls.reload(control->calls.context, &err)) {
        reply_failed(call, NULL, err.text);
    } else {
        varlink_call_reply(call, NULL);
    }
}

static void method_upgrade(struct varlink_call *call, const cJSON *parameters, void *context)
{
    struct control *control = context;
    struct error err;
    if (control->calls.upgrade(control->calls.context, call_string(parameters, "path"), &err)) {
        reply_failed(call, NULL, err.text);
    } else {
        varlink_call_reply(call, NULL);
    }
}

static void method_shutdown(struct varlink_call *call, const cJSON *parameters, void *context)
{
    struct control *control = context;
    control->calls.shutdown(control->calls.context, call_bool(parameters, "services"));
    varlink_call_reply(call, NULL);
}

const struct varlink_method control_methods[] = {{"Hello", method_hello},
    {"Status", method_status}, {"Start", method_start}, {"Stop", method_stop},
    {"Restart", method_restart}, {"Enable", method_enable}, {"Disable", method_disable},
    {"Signal", method_signal}, {"ResetFailed", method_reset_failed}, {"Run", method_run},
    {"Remove", method_remove}, {"Wait", method_wait}, {"Logs", method_logs},
    {"Events", method_events}, {"Url", method_url}, {"Forward", method_forward},
    {"ConfigCheck", method_config_check}, {"ConfigShow", method_config_show},
    {"Reload", method_reload}, {"Upgrade", method_upgrade}, {"Shutdown", method_shutdown}, {0}};
