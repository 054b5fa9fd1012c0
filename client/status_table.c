/* Rows about services and hops. */
#include <stdio.h>
#include <string.h>

#include "client/status.h"
#include "client/tunnels.h"
#include "common/clock.h"

/* For who wonders whether a lab may be stopped; "" when it was used just now. */
static void describe_idle(const cJSON *service, char *out, size_t size)
{
    char age[32];
    int64_t at = (int64_t)json_number(service, "last_activity");
    int64_t ms = (clock_utc_us() - at) / 1000;
    if (at && ms >= 60000) {
        duration_format(ms, age, sizeof age);
        snprintf(out, size, "last used %s ago", age);
    }
}

static void describe(const cJSON *service, char *out, size_t size)
{
    const cJSON *health = cJSON_GetObjectItemCaseSensitive(service, "health");
    const cJSON *end = cJSON_GetObjectItemCaseSensitive(service, "exit");
    const char *state = json_text(service, "state");
    bool far = !strcmp(state, "unreachable");
    bool alive = far || !strcmp(state, "ready") || !strcmp(state, "starting");
    out[0] = 0;
    if (alive && !json_bool(health, "ok")) {
        snprintf(out, size, "%s: %s", json_text(health, "layer"), json_text(health, "message"));
    } else if (*json_text(service, "cause")) {
        snprintf(out, size, "%s", json_text(service, "cause"));
    } else if (!alive && end && *json_text(end, "note")) {
        snprintf(out, size, "%s", json_text(end, "note"));
    }
    if (!out[0] && !strcmp(state, "ready")) {
        describe_idle(service, out, size);
    }
    if (!alive && *json_text(end, "lost")) {
        size_t n = strlen(out);
        snprintf(
            out + n, size - n, "%slost kernels: %s", n ? "; " : "", json_text(end, "lost"));
    }
}

static const char *colour_of(const struct cli *cli, const char *state)
{
    bool good = !strcmp(state, "ready") || !strcmp(state, "up");
    bool bad = !strcmp(state, "failed") || !strcmp(state, "unreachable");
    bool plain = !strcmp(state, "stopped") || !strcmp(state, "down");
    return !cli->colour || plain ? "" : good ? "\033[32m" : bad ? "\033[31m" : "\033[33m";
}

static void print_row(const struct cli *cli, const cJSON *item, const char *name,
    const char *kind, const char *words)
{
    char age[32];
    const char *state = json_text(item, "state"), *colour = colour_of(cli, state);
    int pid = (int)json_number(item, "pid"),
        connections = (int)json_number(item, "connections");
    int64_t since = clock_utc_us() - (int64_t)json_number(item, "since");
    duration_format(since > 0 ? since / 1000 : 0, age, sizeof age);
    if (!cli->terminal) {
        printf("%s\t%s\t%s\t%s\t%d\t%d\t%s\n", name, state, kind, age, pid, connections, words);
        return;
    }
    printf("%-16s %s%-9s%s %-8s %8s %8d %5d  %s\n", name, colour, state,
        *colour ? "\033[0m" : "", kind, age, pid, connections, words);
}

void status_print_head(const struct cli *cli)
{
    if (cli->terminal) {
        printf(
            "%-16s %-9s %-8s %8s %8s %5s\n", "NAME", "STATE", "KIND", "SINCE", "PID", "CONNS");
    }
}

void status_print_services(const struct cli *cli, const cJSON *services)
{
    const cJSON *service;
    char words[600], name[FULL_NAME_MOST];
    cJSON_ArrayForEach(service, services)
    {
        describe(service, words, sizeof words);
        print_row(
            cli, service, cli_full_name(service, name), json_text(service, "kind"), words);
    }
}

void status_print_hop(const struct cli *cli, const cJSON *tunnel)
{
    char words[600];
    tunnel_describe(tunnel, words, sizeof words);
    print_row(cli, tunnel, json_text(tunnel, "cluster"), "hop",
        *words ? words : json_text(tunnel, "host"));
}
