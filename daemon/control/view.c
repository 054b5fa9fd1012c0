/* Services and events as the objects of the interface. */
#include <stdio.h>
#include <string.h>

#include "build_id.h"
#include "common/proc.h"
#include "daemon/control/control_private.h"

/* Keys are constants, so they are not copied. */
void view_add_text(cJSON *object, const char *key, const char *value)
{
    if (value && *value) {
        cJSON_AddItemToObjectCS(object, key, cJSON_CreateString(value));
    }
}

static void add_bool(cJSON *object, const char *key, bool value)
{
    cJSON_AddItemToObjectCS(object, key, cJSON_CreateBool(value));
}

static cJSON *view_exit(const struct service_exit *end)
{
    cJSON *object = cJSON_CreateObject();
    if (end->how == EXIT_CODE) {
        varlink_add_integer(object, "code", end->value);
    } else if (end->how == EXIT_SIGNAL) {
        cJSON_AddStringToObject(object, "signal", signal_name(end->value));
    } else {
        add_bool(object, "unknown", true);
    }
    if (end->at_us) {
        varlink_add_integer(object, "at", end->at_us);
    }
    view_add_text(object, "lost", end->lost);
    view_add_text(object, "note", end->note);
    return object;
}

static cJSON *view_health(const struct service_health *health)
{
    cJSON *object = cJSON_CreateObject();
    cJSON_AddStringToObject(object, "layer", health->layer);
    add_bool(object, "ok", health->ok);
    view_add_text(object, "message", health->message);
    varlink_add_integer(object, "since", health->since_us);
    return object;
}

static void add_counters(struct manager *manager, struct service *service, cJSON *object)
{
    uint64_t connections, in, out;
    relay_client_counters(manager->relay, service, &connections, &in, &out);
    varlink_add_integer(object, "connections", (int64_t)connections);
    varlink_add_integer(object, "bytes_in", (int64_t)in);
    varlink_add_integer(object, "bytes_out", (int64_t)out);
}

static void add_address(struct manager *manager, struct service *service, cJSON *object)
{
    char path[PATH_MAX];
    if (!service_is_served(service)) {
        return;
    }
    if (!home_path(&manager->home, path, "run", "%s.sck", service->config->name)) {
        view_add_text(object, "socket", path);
    }
    if (service->forward_port) {
        snprintf(path, sizeof path, "http://localhost:%u%s", (unsigned)service->forward_port,
            service->launch.url_path ? service->launch.url_path : "/");
        view_add_text(object, "url", path);
    }
}

cJSON *view_service(struct manager *manager, struct service *service, bool usage)
{
    cJSON *object = cJSON_CreateObject();
    const struct service_config *config = service->config;
    view_add_text(object, "name", config->name);
    view_add_text(object, "host", manager->home.host);
    view_add_text(object, "kind", config->kind);
    view_add_text(object, "wanted", service->machine.wanted ? "start" : "stop");
    view_add_text(object, "state", service_state_name(service->machine.state));
    varlink_add_integer(object, "since", service->since_us);
    view_add_text(object, "cause", service->cause);
    add_bool(object, "enabled", service->enabled >= 0 ? service->enabled : config->enabled);
    cJSON_AddItemToObjectCS(object, "health", view_health(&service->health));
    if (service->pid) {
        varlink_add_integer(object, "pid", service->pid);
    }
    varlink_add_integer(object, "restarts", service->machine.restarts);
    if (service->exit.how != EXIT_NONE) {
        cJSON_AddItemToObjectCS(object, "exit", view_exit(&service->exit));
    }
    add_address(manager, service, object);
    view_add_text(object, "env", service->launch.env_name);
    view_add_text(object, "workspace", config->workspace);
    add_counters(manager, service, object);
    view_add_text(object, "build", service->build);
    if (usage && service->pid) {
        uint64_t bytes;
        double seconds;
        proc_tree_usage(service->keeper_pid, &bytes, &seconds);
        varlink_add_integer(object, "memory_bytes", (int64_t)bytes);
        cJSON_AddNumberToObject(object, "cpu_s", seconds);
    }
    if (service->last_activity_us) {
        varlink_add_integer(object, "last_activity", service->last_activity_us);
    }
    if (service->log_dropped) {
        varlink_add_integer(object, "log_dropped", (int64_t)service->log_dropped);
    }
    return object;
}

cJSON *view_event(struct manager *manager, const struct manager_event *event)
{
    cJSON *object = cJSON_CreateObject();
    cJSON_AddStringToObject(object, "epoch", manager->epoch);
    varlink_add_integer(object, "seq", (int64_t)event->seq);
    varlink_add_integer(object, "at", event->at_us);
    view_add_text(object, "service", event->service);
    cJSON_AddStringToObject(object, "event", event->event);
    cJSON_AddStringToObject(object, "message", event->message);
    return object;
}
