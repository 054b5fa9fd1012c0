/* A hop and a prompt as the objects of the interface. */
#include <stdio.h>

#include "daemon/control/control_private.h"

static void add_positive(cJSON *object, const char *key, int64_t value)
{
    if (value > 0) {
        varlink_add_integer(object, key, value);
    }
}

static void add_login(const struct hop *hop, cJSON *object)
{
    const struct hop_machine *machine = &hop->machine;
    add_positive(object, "authenticated_at", machine->wanted ? hop->authenticated_us : 0);
    add_positive(object, "expires_at", hop_expires_us(hop));
    cJSON_AddBoolToObject(object, "human", machine->human);
    add_positive(object, "pid", hop->tunnel ? hop->pid : 0);
    view_add_text(object, "build", hop->tunnel ? hop->build : NULL);
    view_add_text(object, "remote_build", hop->report.build);
}

static void add_sockets(const struct hop *hop, cJSON *object)
{
    for (size_t i = 0; i < hop->route_count; i++) {
        if (i < 2) { /* as routes.c makes them: gearsd's own, then the lab's */
            view_add_text(object, i ? "socket" : "control", hop->routes[i].listen_path);
        }
    }
}

cJSON *view_tunnel(struct hop *hop)
{
    cJSON *object = cJSON_CreateObject();
    const struct hop_machine *machine = &hop->machine;
    bool open = machine->state == HOP_UP || machine->state == HOP_DEGRADED;
    uint64_t connections, in, out;
    hop_counters(hop, &connections, &in, &out);
    view_add_text(object, "cluster", hop->config->name);
    view_add_text(object, "host", hop->report.host[0] ? hop->report.host : hop->place.host);
    view_add_text(object, "address", hop->tunnel ? hop->address : NULL);
    view_add_text(object, "transport", hop->config->transport);
    cJSON_AddBoolToObject(object, "wanted", machine->wanted);
    view_add_text(object, "state", hop_state_name(machine->state));
    view_add_text(object, "cause", open ? "" : hop_cause_name(machine->cause));
    view_add_text(object, "message", hop->message);
    varlink_add_integer(object, "since", hop->since_us);
    varlink_add_integer(object, "reconnects", machine->reconnects);
    if (hop->rtt_us > 0) {
        cJSON_AddNumberToObject(object, "rtt_ms", (double)hop->rtt_us / 1000);
    }
    varlink_add_integer(object, "connections", (int64_t)connections);
    varlink_add_integer(object, "bytes_in", (int64_t)in);
    varlink_add_integer(object, "bytes_out", (int64_t)out);
    add_login(hop, object);
    add_sockets(hop, object);
    view_add_text(object, "service", hop->config->service);
    varlink_add_integer(object, "port", hop->config->port);
    view_add_text(object, "held_by", hop->held_by);
    return object;
}

cJSON *view_prompt(const struct hop_prompt *prompt)
{
    cJSON *object = cJSON_CreateObject();
    cJSON_AddStringToObject(object, "prompt_id", prompt->id);
    cJSON_AddStringToObject(object, "name", prompt->name ? prompt->name : "");
    cJSON_AddStringToObject(
        object, "instruction", prompt->instruction ? prompt->instruction : "");
    cJSON *lines = cJSON_AddArrayToObject(object, "prompts");
    for (size_t i = 0; i < prompt->count; i++) {
        cJSON *line = cJSON_CreateObject();
        cJSON_AddStringToObject(
            line, "text", prompt->lines[i].text ? prompt->lines[i].text : "");
        cJSON_AddBoolToObject(line, "echo", prompt->lines[i].echo);
        cJSON_AddItemToArray(lines, line);
    }
    return object;
}
