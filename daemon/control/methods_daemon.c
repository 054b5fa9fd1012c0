/* Methods about gearsd itself: who it is, its configuration, its end. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "build_id.h"
#include "daemon/control/control_private.h"
#include "daemon/core/config_job.h"

void method_hello(struct varlink_call *call, const cJSON *parameters, void *context)
{
    (void)parameters;
    struct control *control = context;
    struct manager *manager = control->manager;
    static const char *const capabilities[] = {
        "services", "logs", "events", "forward", "upgrade", "hops"};
    cJSON *object = cJSON_CreateObject();
    cJSON_AddStringToObject(object, "version", GEARS_VERSION);
    cJSON_AddStringToObject(object, "build", GEARS_BUILD_ID);
    cJSON_AddStringToObject(object, "host", manager->home.host);
    cJSON_AddStringToObject(object, "boot_id", manager->home.boot_id);
    varlink_add_integer(object, "pid", getpid());
    varlink_add_integer(object, "started_at", manager->started_at_us);
    cJSON_AddItemToObject(object, "capabilities",
        cJSON_CreateStringArray(capabilities, sizeof capabilities / sizeof *capabilities));
    const char *relay = relay_client_build(manager->relay);
    if (*relay) {
        cJSON_AddStringToObject(object, "relay_build", relay);
    }
    cJSON_AddStringToObject(object, "home", manager->home.root);
    varlink_call_reply(call, object);
}

static void reply_config(struct varlink_call *call, bool ok, const char *errors)
{
    cJSON *object = cJSON_CreateObject(), *list;
    cJSON_AddBoolToObject(object, "ok", ok);
    list = cJSON_AddArrayToObject(object, "errors");
    char *save = NULL, *copy = strdup(errors);
    for (char *line = copy ? strtok_r(copy, "\n", &save) : NULL; line;
         line = strtok_r(NULL, "\n", &save)) {
        cJSON_AddItemToArray(list, cJSON_CreateString(line));
    }
    free(copy);
    varlink_call_reply(call, object);
}

static void on_checked(void *context, struct config *config, const char *errors)
{
    struct pending *pending = context;
    if (pending->call) {
        reply_config(pending->call, config != NULL, errors);
        pending_drop(pending);
    } else {
        free(pending);
    }
    config_destroy(config);
}

void method_config_check(struct varlink_call *call, const cJSON *parameters, void *context)
{
    struct control *control = context;
    struct pending *pending = pending_create(control, call, "", parameters);
    struct manager *manager = control->manager;
    if (pending && config_load_start(manager->work, &manager->home, manager->share_dir,
                       on_checked, pending)) {
        pending_drop(pending);
        reply_failed(call, NULL, "the files cannot be read now (the home hangs?); try again");
    }
}

void method_config_show(struct varlink_call *call, const cJSON *parameters, void *context)
{
    (void)parameters;
    struct text text = {0};
    config_format(((struct control *)context)->manager->config, &text);
    cJSON *object = cJSON_CreateObject();
    cJSON_AddStringToObject(object, "text", text_string(&text));
    text_finish(&text);
    varlink_call_reply(call, object);
}

void method_reload(struct varlink_call *call, const cJSON *parameters, void *context)
{
    struct control *control = context;
    struct pending *pending = pending_create(control, call, "", parameters);
    if (pending) {
        pending->plain = true;
        control->calls.reload(control->calls.context, pending_done, pending);
    }
}

void method_upgrade(struct varlink_call *call, const cJSON *parameters, void *context)
{
    struct control *control = context;
    struct pending *pending = pending_create(control, call, "", parameters);
    if (pending) {
        pending->plain = true;
        control->calls.upgrade(
            control->calls.context, call_string(parameters, "path"), pending_done, pending);
    }
}

void method_shutdown(struct varlink_call *call, const cJSON *parameters, void *context)
{
    struct control *control = context;
    control->calls.shutdown(control->calls.context, call_bool(parameters, "services"));
    varlink_call_reply(call, NULL);
}
