/* Services and events as the objects of the interface. */
#include <stdio.h>
#include <string.h>

#include "build_id.h"
#include "common/proc.h"
#include "daemon/control/control_private.h"

static void add_text(cJSON *object, const char *key, const char *value)
{
    if (value && *value) {
        cJSON_AddStringToObject(object, key, value);
    }
}

static cJSON *view_exit(const struct service_exit *end)
{
    cJSON *object = cJSON_CreateObject();
    if (end->how == EXIT_CODE) {
        cJSON_AddNumberToObject(object, "code", end->value);
    } else if (end->how == EXIT_SIGNAL) {
        cJSON_AddStringToObject(object, "signal", signal_name(end->value));
    } else {
        cJSON_AddBoolToObject(object, "unknown", true);
    }
    if (end->at_us) {
        cJSON_AddNumberToObject(object, "at", (double)end->at_us);
    }
    add_text(object, "lost", end->lost);
    add_text(object, "note", end->note);
    return object;
}

static cJSON *view_health(const struct service_health *health)
{
    cJSON *object = cJSON_CreateObject();
    cJSON_AddStringToObject(object, "layer", health->layer);
    cJSON_AddBoolToObject(object, "ok", health->ok);
    add_text(object, "message", health->message);
    cJSON_AddNumberToObject(object, "since", (double)health->since_us);
    return object;
}

static void add_counters(struct manager *manager, struct service *service, cJSON *object)
{
    uint64_t connections, in, out;
    relay_client_counters(manager->relay, service, &connections, &in, &out);
    cJSON_AddNumberToObject(object, "connections", (double)connections);
    cJSON_AddNumberToObject(object, "bytes_in", (double)in);
    cJSON_AddNumberToObject(object, "bytes_out", (double)out);
}

static void add_address(struct manager *manager, struct service *service, cJSON *object)
{
    char path[PATH_MAX];
    if (!service_is_served(service)) {
        return;
    }
    if (!home_path(&manager->home, path, "run", "%s.sck", service->config->name)) {
        add_text(object, "socket", path);
    }
    if (service->forward_port) {
        snprintf(path, sizeof path, "http://localhost:%u%s", (unsigned)service->forward_port,
            service->launch.url_path ? service->launch.url_path : "/");
        add_text(object, "url", path);
    }
}

cJSON *view_service(struct manager *manager, struct service *service, bool usage)
{
    cJSON *object = cJSON_CreateObject();
    const struct service_config *config = service->config;
    add_text(object, "name", config->name);
    add_text(object, "host", manager->home.host);
    add_text(object, "kind", config->kind);
    add_text(object, "wanted", service->machine.wanted ? "start" : "stop");
    add_text(object, "state", service_state_name(service->machine.state));
    cJSON_AddNumberToObject(object, "since", (double)service->since_us);
    add_text(object, "cause", service->cause);
    cJSON_AddBoolToObject(
        object, "enabled", service->enabled >= 0 ? service->enabled : config->enabled);
    cJSON_AddItemToObject(object, "health", view_health(&service->health));
    if (service->pid) {
        cJSON_AddNumberToObject(object, "pid", service->pid);
    }
    cJSON_AddNumberToObject(object, "restarts", service->machine.restarts);
    if (service->exit.how != EXIT_NONE) {
        cJSON_AddItemToObject(object, "exit", view_exit(&service->exit));
    }
    add_address(manager, service, object);
    add_text(object, "env", service->launch.env_name);
    add_text(object, "workspace", config->workspace);
    add_counters(manager, service, object);
    add_text(object, "build", service->build);
    if (usage && service->pid) {
        uint64_t bytes;
        double seconds;
        proc_tree_usage(service->keeper_pid, &bytes, &seconds);
        cJSON_AddNumberToObject(object, "memory_bytes", (double)bytes);
        cJSON_AddNumberToObject(object, "cpu_s", seconds);
    }
    if (service->last_activity_us) {
        cJSON_AddNumberToObject(object, "last_activity", (double)service->last_activity_us);
    }
    if (service->log_dropped) {
        cJSON_AddNumberToObject(object, "log_dropped", (double)service->log_dropped);
    }
    return object;
}

cJSON *view_event(struct manager *manager, const struct manager_event *event)
{
    cJSON *object = cJSON_CreateObject();
    cJSON_AddStringToObject(object, "epoch", manager->epoch);
    cJSON_AddNumberToObject(object, "seq", (double)event->seq);
    cJSON_AddNumberToObject(object, "at", (double)event->at_us);
    add_text(object, "service", event->service);
    cJSON_AddStringToObject(object, "event", event->event);
    cJSON_AddStringToObject(object, "message", event->message);
    return object;
}
