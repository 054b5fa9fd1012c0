/* The parameters of a call and the replies that several methods share. */
#include "daemon/control/control_private.h"

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

void reply_refused(struct varlink_call *call, const char *message)
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

void reply_service(struct control *control, struct varlink_call *call, struct service *service)
{
    cJSON *object = cJSON_CreateObject();
    cJSON_AddItemToObject(object, "service", view_service(control->manager, service, false));
    varlink_call_reply(call, object);
}
