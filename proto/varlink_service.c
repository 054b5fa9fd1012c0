/* Interfaces, dispatch, and org.varlink.service itself. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "proto/varlink_client.h"
#include "proto/varlink_depth.h"
#include "proto/varlink_private.h"

const char varlink_service_description[] =
    "# What every Varlink service answers about itself.\n"
    "interface org.varlink.service\n"
    "\n"
    "method GetInfo() -> (vendor: string, product: string, version: string, url: string,\n"
    "  interfaces: []string)\n"
    "method GetInterfaceDescription(interface: string) -> (description: string)\n"
    "\n"
    "error InterfaceNotFound (interface: string)\n"
    "error MethodNotFound (method: string)\n"
    "error MethodNotImplemented (method: string)\n"
    "error InvalidParameter (parameter: string)\n"
    "error PermissionDenied ()\n"
    "error ExpectedMore ()\n";

struct varlink_service *varlink_service_create(
    const char *vendor, const char *product, const char *version, const char *url)
{
    struct varlink_service *service = calloc(1, sizeof *service);
    if (!service) {
        return NULL;
    }
    service->vendor = strdup(vendor);
    service->product = strdup(product);
    service->version = strdup(version);
    service->url = strdup(url);
    if (!service->vendor || !service->product || !service->version || !service->url) {
        varlink_service_destroy(service);
        return NULL;
    }
    return service;
}

void varlink_service_destroy(struct varlink_service *service)
{
    while (service->interfaces) {
        struct registered *next = service->interfaces->next;
        idl_destroy(service->interfaces->interface);
        free(service->interfaces);
        service->interfaces = next;
    }
    free(service->vendor);
    free(service->product);
    free(service->version);
    free(service->url);
    free(service);
}

static const struct varlink_method *find_method(
    const struct varlink_method *methods, const char *name)
{
    while (methods->name && strcmp(methods->name, name) != 0) {
        methods++;
    }
    return methods->name ? methods : NULL;
}

static const struct registered *find_interface(
    const struct varlink_service *service, const char *name, size_t length)
{
    const struct registered *r = service->interfaces;
    while (r && (strncmp(idl_name(r->interface), name, length) != 0 ||
                    idl_name(r->interface)[length])) {
        r = r->next;
    }
    return r;
}

int varlink_service_add(struct varlink_service *service, const char *description,
    const struct varlink_method *methods, void *context, struct error *err)
{
    struct idl_interface *interface = NULL;
    int code = idl_parse(description, &interface, err);
    if (code) {
        return code;
    }
    if (find_interface(service, idl_name(interface), strlen(idl_name(interface)))) {
        code = error_set(err, -EINVAL, "interface %s is there already", idl_name(interface));
    }
    const char *name;
    for (size_t i = 0; !code && (name = idl_method(interface, i)); i++) {
        if (!find_method(methods, name)) {
            code = error_set(err, -EINVAL, "method %s is described but not served", name);
        }
    }
    for (const struct varlink_method *m = methods; !code && m->name; m++) {
        if (!idl_has_method(interface, m->name)) {
            code = error_set(err, -EINVAL, "method %s is served but not described", m->name);
        }
    }
    struct registered *registered = code ? NULL : calloc(1, sizeof *registered);
    if (!registered) {
        idl_destroy(interface);
        return code ? code : error_set(err, -ENOMEM, "out of memory");
    }
    *registered = (struct registered){service->interfaces, interface, methods, context};
    service->interfaces = registered;
    return 0;
}

static void refuse(
    struct varlink_call *call, const char *error, const char *key, const char *value)
{
    cJSON *parameters = cJSON_CreateObject();
    if (key) {
        cJSON_AddStringToObject(parameters, key, value);
    }
    varlink_call_error(call, error, parameters);
}

static void get_info(struct varlink_call *call)
{
    const struct varlink_service *service = call->connection->service;
    cJSON *info = cJSON_CreateObject();
    cJSON_AddStringToObject(info, "vendor", service->vendor);
    cJSON_AddStringToObject(info, "product", service->product);
    cJSON_AddStringToObject(info, "version", service->version);
    cJSON_AddStringToObject(info, "url", service->url);
    cJSON *list = cJSON_AddArrayToObject(info, "interfaces");
    cJSON_AddItemToArray(list, cJSON_CreateString("org.varlink.service"));
    for (const struct registered *r = service->interfaces; r; r = r->next) {
        cJSON_AddItemToArray(list, cJSON_CreateString(idl_name(r->interface)));
    }
    varlink_call_reply(call, info);
}

static void get_description(struct varlink_call *call, const cJSON *parameters)
{
    const char *name =
        cJSON_GetStringValue(cJSON_GetObjectItemCaseSensitive(parameters, "interface"));
    if (!name) {
        refuse(call, "org.varlink.service.InvalidParameter", "parameter", "interface");
        return;
    }
    const struct registered *r = find_interface(call->connection->service, name, strlen(name));
    const char *text = r                                      ? idl_text(r->interface)
                       : !strcmp(name, "org.varlink.service") ? varlink_service_description
                                                              : NULL;
    if (!text) {
        refuse(call, "org.varlink.service.InterfaceNotFound", "interface", name);
        return;
    }
    cJSON *reply = cJSON_CreateObject();
    cJSON_AddStringToObject(reply, "description", text);
    varlink_call_reply(call, reply);
}

static void dispatch(struct varlink_call *call, const char *method, const cJSON *parameters)
{
    const char *dot = strrchr(method, '.');
    size_t length = dot ? (size_t)(dot - method) : 0;
    char parameter[160];
    if (call->upgrade) { /* an answer would mean that another protocol begins behind it */
        refuse(call, "org.varlink.service.InvalidParameter", "parameter", "upgrade");
        return;
    }
    if (!strcmp(method, "org.varlink.service.GetInfo")) {
        get_info(call);
        return;
    }
    if (!strcmp(method, "org.varlink.service.GetInterfaceDescription")) {
        get_description(call, parameters);
        return;
    }
    call->registered = dot ? find_interface(call->connection->service, method, length) : NULL;
    if (!call->registered) {
        bool own = length == strlen("org.varlink.service") &&
                   !strncmp(method, "org.varlink.service", length);
        char name[256];
        snprintf(name, sizeof name, "%.*s", (int)(length < 200 ? length : 200), method);
        varlink_text_mend(name);
        refuse(call,
            own ? "org.varlink.service.MethodNotFound"
                : "org.varlink.service.InterfaceNotFound",
            own ? "method" : "interface", own ? dot + 1 : name);
        return;
    }
    call->method = find_method(call->registered->methods, dot + 1);
    if (!call->method) {
        refuse(call, "org.varlink.service.MethodNotFound", "method", dot + 1);
    } else if (idl_check_call(call->registered->interface, dot + 1, parameters, parameter,
                   sizeof parameter)) {
        refuse(call, "org.varlink.service.InvalidParameter", "parameter", parameter);
    } else {
        call->method->call(call, parameters, call->registered->context);
    }
}

static bool flag_is_sane(const cJSON *message, const char *key)
{
    const cJSON *flag = cJSON_GetObjectItemCaseSensitive(message, key);
    return !flag || cJSON_IsBool(flag) || cJSON_IsNull(flag);
}

int varlink_serve(struct varlink_connection *connection, char *message, size_t length)
{
    const char *end = NULL;
    cJSON *json = varlink_text_is_sane(message, length, VARLINK_DEPTH_LIMIT)
                      ? cJSON_ParseWithLengthOpts(message, length + 1, &end, true)
                      : NULL;
    const char *method = cJSON_GetStringValue(cJSON_GetObjectItemCaseSensitive(json, "method"));
    const cJSON *parameters = cJSON_GetObjectItemCaseSensitive(json, "parameters");
    struct varlink_call *call = NULL;
    if (!method || !flag_is_sane(json, "more") || !flag_is_sane(json, "oneway") ||
        !flag_is_sane(json, "upgrade") ||
        (parameters && !cJSON_IsObject(parameters) && !cJSON_IsNull(parameters)) ||
        !(call = calloc(1, sizeof *call))) {
        cJSON_Delete(json);
        return -EBADMSG;
    }
    bool oneway = cJSON_IsTrue(cJSON_GetObjectItemCaseSensitive(json, "oneway"));
    bool more = cJSON_IsTrue(cJSON_GetObjectItemCaseSensitive(json, "more"));
    *call = (struct varlink_call){.connection = connection,
        .more = more && !oneway,
        .oneway = oneway,
        .upgrade = cJSON_IsTrue(cJSON_GetObjectItemCaseSensitive(json, "upgrade"))};
    connection->call = call;
    dispatch(call, method, cJSON_IsObject(parameters) ? parameters : NULL);
    varlink_wipe(json);
    cJSON_Delete(json); /* not sooner: the call may be over, its method still reads */
    explicit_bzero(message, length); /* it may have been a PASSCODE */
    return 0;
}
