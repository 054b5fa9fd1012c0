/* A call that waits for an act to be durable; its client may leave before. */
#include <stdio.h>
#include <stdlib.h>

#include "daemon/control/control_private.h"

static void on_pending_closed(struct varlink_call *call, void *context)
{
    (void)call;
    ((struct pending *)context)->call = NULL;
}

struct pending *pending_create(struct control *control, struct varlink_call *call,
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
        .timeout_ms = call_integer(parameters, "timeout", -1)};
    snprintf(pending->name, sizeof pending->name, "%s", name);
    varlink_call_on_close(call, on_pending_closed, pending);
    return pending;
}

void pending_done(void *context, int code, const struct error *err)
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
    if (code || (copy.name[0] && !service && !copy.gone)) {
        reply_failed(call, copy.name[0] ? copy.name : NULL,
            code ? err->text : "it was removed meanwhile");
    } else if (copy.port) {
        cJSON *object = cJSON_CreateObject();
        varlink_add_integer(object, "port", copy.port > 0 ? copy.port : 0);
        varlink_call_reply(call, object);
    } else if (copy.plain || copy.gone) {
        varlink_call_reply(call, NULL);
    } else if (copy.wait) {
        wait_for_state(control, call, service, copy.goal,
            copy.timeout_ms < 0 ? service->config->start_timeout_ms : copy.timeout_ms, true);
    } else {
        reply_service(control, call, service);
    }
}

void pending_drop(struct pending *pending)
{
    varlink_call_on_close(pending->call, NULL, NULL);
    free(pending);
}
