/* Tunnels as users see them. */
#include "client/tunnels.h"

#include <stdio.h>
#include <string.h>

#include "common/clock.h"

static bool has(const cJSON *tunnel, const char *key, const char *word)
{
    return !strcmp(json_text(tunnel, key), word);
}

bool tunnel_is_open(const cJSON *tunnel)
{
    return has(tunnel, "state", "up") || has(tunnel, "state", "degraded");
}

bool tunnel_needs_human(const cJSON *tunnel)
{
    if (tunnel_is_open(tunnel) || has(tunnel, "state", "connecting")) {
        return false;
    }
    return has(tunnel, "state", "auth-needed") || has(tunnel, "cause", "auth-needed") ||
           has(tunnel, "cause", "host-key-unknown") || !json_bool(tunnel, "wanted");
}

bool tunnel_is_used(const cJSON *tunnel)
{
    return !has(tunnel, "state", "down") || json_bool(tunnel, "wanted") ||
           *json_text(tunnel, "cause") || *json_text(tunnel, "held_by") ||
           json_number(tunnel, "authenticated_at") > 0;
}

void tunnel_explain(const cJSON *tunnel, const char *cluster, char *out, size_t size)
{
    const char *cause = json_text(tunnel, "cause"), *message = json_text(tunnel, "message");
    const char *state = json_text(tunnel, "state");
    if (has(tunnel, "cause", "host-key-unknown")) {
        snprintf(out, size, "the host key of %s has to be confirmed; run: gearsctl login %s",
            cluster, cluster);
    } else if (tunnel_needs_human(tunnel)) {
        snprintf(out, size, "hop to %s needs your PASSCODE; run: gearsctl login %s", cluster,
            cluster);
    } else if (!strcmp(state, "connecting")) {
        snprintf(out, size, "hop to %s is connecting%s%s; see: gearsctl status", cluster,
            *message ? ": " : "", message);
    } else {
        snprintf(out, size, "hop to %s is %s%s%s%s%s; see: gearsctl status", cluster,
            *state ? state : "down", *cause ? ", " : "", cause, *message ? ": " : "", message);
    }
}

void tunnel_describe(const cJSON *tunnel, char *out, size_t size)
{
    const char *cause = json_text(tunnel, "cause"), *message = json_text(tunnel, "message");
    const char *holder = json_text(tunnel, "held_by"), *cluster = json_text(tunnel, "cluster");
    out[0] = 0;
    if (!has(tunnel, "state", "up")) {
        bool twice = *cause && !strncmp(message, cause, strlen(cause));
        snprintf(out, size, "%s%s%s", twice ? "" : cause,
            *cause && *message && !twice ? ": " : "", message);
    }
    if (tunnel_needs_human(tunnel) && !strstr(out, "gearsctl login")) {
        size_t n = strlen(out);
        snprintf(out + n, size - n, "%s; run: gearsctl login %s", n ? "" : "not open", cluster);
    }
    if (*holder) {
        size_t n = strlen(out);
        snprintf(out + n, size - n, "%srun/%s.sck is on %s", n ? "; " : "", cluster, holder);
    }
}

cJSON *json_tunnel(const cJSON *tunnel)
{
    static const char *const keys[] = {"cluster", "host", "address", "transport", "wanted",
        "state", "cause", "message", "reconnects", "rtt_ms", "connections", "bytes_in",
        "bytes_out", "human", "pid", "build", "remote_build", "socket", "service", "port",
        "held_by"};
    cJSON *out = cJSON_CreateObject();
    for (size_t i = 0; i < sizeof keys / sizeof *keys; i++) {
        cJSON_AddItemToObject(out, keys[i], json_copy(tunnel, keys[i]));
    }
    cJSON_AddItemToObject(out, "since", json_time(tunnel, "since"));
    cJSON_AddItemToObject(out, "authenticated_at", json_time(tunnel, "authenticated_at"));
    cJSON_AddItemToObject(out, "expires_at", json_time(tunnel, "expires_at"));
    return out;
}

cJSON *tunnel_unreachable_service(const cJSON *tunnel, const char *name, const char *cluster)
{
    char words[600];
    tunnel_describe(tunnel, words, sizeof words);
    cJSON *out = cJSON_CreateObject();
    cJSON_AddStringToObject(out, "name", name);
    cJSON_AddStringToObject(out, "cluster", cluster);
    cJSON_AddItemToObject(out, "host", json_copy(tunnel, "host"));
    cJSON_AddStringToObject(out, "state", "unreachable");
    cJSON_AddItemToObject(out, "since", json_copy(tunnel, "since"));
    cJSON_AddItemToObject(out, "cause", json_copy(tunnel, "cause"));
    cJSON *health = cJSON_AddObjectToObject(out, "health");
    cJSON_AddStringToObject(health, "layer", "hop");
    cJSON_AddBoolToObject(health, "ok", false);
    cJSON_AddStringToObject(health, "message", words);
    cJSON_AddItemToObject(health, "since", json_copy(tunnel, "since"));
    return out;
}

static void print_row(struct cli *cli, const cJSON *tunnel)
{
    char age[32], rtt[32] = "-", words[600];
    const char *state = json_text(tunnel, "state"), *host = json_text(tunnel, "host");
    int64_t ms = (clock_utc_us() - (int64_t)json_number(tunnel, "since")) / 1000;
    duration_format(ms > 0 ? ms : 0, age, sizeof age);
    tunnel_describe(tunnel, words, sizeof words);
    if (json_number(tunnel, "rtt_ms") > 0) {
        double value = json_number(tunnel, "rtt_ms");
        snprintf(rtt, sizeof rtt, "%.*fms", value < 10, value);
    }
    if (!cli->terminal) {
        printf("%s\t%s\t%s\t%s\t%d\t%s\t%s\n", json_text(tunnel, "cluster"), state, host, age,
            (int)json_number(tunnel, "connections"), rtt, words);
        return;
    }
    const char *colour = !cli->colour              ? ""
                         : !strcmp(state, "up")    ? "\033[32m"
                         : !tunnel_is_used(tunnel) ? ""
                                                   : "\033[33m";
    printf("%-16s %s%-11s%s %-18s %8s %5d %7s  %s\n", json_text(tunnel, "cluster"), colour,
        state, *colour ? "\033[0m" : "", *host ? host : "-", age,
        (int)json_number(tunnel, "connections"), rtt, words);
}

int tunnels_print(struct cli *cli, const cJSON *tunnels, const char *cluster, bool head)
{
    const cJSON *tunnel;
    int count = 0;
    cJSON_ArrayForEach(tunnel, tunnels)
    {
        if (cluster ? !has(tunnel, "cluster", cluster) : !tunnel_is_used(tunnel)) {
            continue;
        }
        if (!count++ && head) {
            putchar('\n');
            if (cli->terminal) {
                printf("%-16s %-11s %-18s %8s %5s %7s\n", "CLUSTER", "STATE", "HOST", "SINCE",
                    "CONNS", "RTT");
            }
        }
        print_row(cli, tunnel);
    }
    return count;
}
