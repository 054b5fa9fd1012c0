/* status: a table on a terminal, tab-separated rows otherwise, or the promised JSON. */
#include <stdio.h>
#include <string.h>

#include "client/client.h"
#include "client/elsewhere.h"
#include "client/status.h"
#include "client/target.h"
#include "client/tunnels.h"
#include "common/clock.h"

/* How long the gearsds behind hops may take; and behind one that is silent. */
enum { FAR_MS = 1000, DEGRADED_MS = 2000 };

static cJSON *json_exit(const cJSON *end)
{
    if (!end) {
        return cJSON_CreateNull();
    }
    cJSON *out = cJSON_CreateObject();
    static const char *const keys[] = {"code", "signal", "unknown", "lost", "note"};
    for (size_t i = 0; i < sizeof keys / sizeof *keys; i++) {
        const cJSON *item = cJSON_GetObjectItemCaseSensitive(end, keys[i]);
        if (item) {
            cJSON_AddItemToObject(out, keys[i], cJSON_Duplicate(item, true));
        }
    }
    cJSON_AddItemToObject(out, "at", json_time(end, "at"));
    return out;
}

cJSON *json_service(const cJSON *service)
{
    static const char *const keys[] = {"name", "cluster", "host", "kind", "wanted", "state",
        "cause", "enabled", "health", "pid", "restarts", "socket", "url", "env", "workspace",
        "connections", "bytes_in", "bytes_out", "build", "memory_bytes", "cpu_s",
        "log_dropped"};
    cJSON *out = cJSON_CreateObject();
    for (size_t i = 0; i < sizeof keys / sizeof *keys; i++) {
        cJSON_AddItemToObject(out, keys[i], json_copy(service, keys[i]));
    }
    cJSON_AddItemToObject(out, "since", json_time(service, "since"));
    cJSON_AddItemToObject(out, "last_activity", json_time(service, "last_activity"));
    cJSON_AddItemToObject(
        out, "exit", json_exit(cJSON_GetObjectItemCaseSensitive(service, "exit")));
    return out;
}

/* One Status and what belongs beside it. */
struct status {
    cJSON *reply, *hello; /* hello: NULL when the gearsd asked cannot be reached */
    cJSON *tunnels;       /* inside `reply`, or of its own */
    struct elsewhere *elsewhere;
    const char *name; /* "" for all */
};

static int print_json(struct status *status)
{
    cJSON *out = cJSON_CreateObject();
    const cJSON *hello = status->hello, *item;
    cJSON_AddNumberToObject(out, "schema", 1);
    cJSON_AddItemToObject(out, "host", json_copy(hello, "host"));
    cJSON *daemon = hello ? cJSON_AddObjectToObject(out, "daemon") : NULL;
    if (hello) {
        cJSON_AddItemToObject(daemon, "version", json_copy(hello, "version"));
        cJSON_AddItemToObject(daemon, "build", json_copy(hello, "build"));
        cJSON_AddItemToObject(daemon, "pid", json_copy(hello, "pid"));
        cJSON_AddNumberToObject(daemon, "uptime_s",
            (double)((clock_utc_us() - (int64_t)json_number(hello, "started_at")) / 1000000));
    } else {
        cJSON_AddNullToObject(out, "daemon");
    }
    cJSON *list = cJSON_AddArrayToObject(out, "services");
    cJSON_ArrayForEach(item, cJSON_GetObjectItemCaseSensitive(status->reply, "services"))
    {
        cJSON_AddItemToArray(list, json_service(item));
    }
    list = cJSON_AddArrayToObject(out, "tunnels");
    cJSON_ArrayForEach(item, status->tunnels)
    {
        cJSON_AddItemToArray(list, json_tunnel(item));
    }
    cJSON_AddArrayToObject(out, "pools");
    elsewhere_finish(status->elsewhere, cJSON_AddArrayToObject(out, "elsewhere"));
    status->elsewhere = NULL;
    int code = cli_print_json(out, false);
    cJSON_Delete(out);
    return code;
}

static int print_status(struct cli *cli, struct status *status)
{
    if (cli->json) {
        return print_json(status);
    }
    watch_output_begin();
    status_print_head(cli);
    status_print_services(cli, cJSON_GetObjectItemCaseSensitive(status->reply, "services"));
    if (!*status->name) {
        tunnels_print(cli, status->tunnels, cli->remote ? target_cluster(cli) : NULL, true);
    }
    int code = cli_flush();
    watch_output_end();
    elsewhere_finish(status->elsewhere, NULL);
    status->elsewhere = NULL;
    return code;
}

static cJSON *make_parameters(const char *name, bool usage)
{
    cJSON *parameters = *name ? cli_name(name) : cJSON_CreateObject();
    if (usage) {
        cJSON_AddBoolToObject(parameters, "usage", true);
    }
    return parameters;
}

/* This host's services and hops, and the services behind those that are open. */
static int take_local(struct cli *cli, struct status *status, bool usage)
{
    status->elsewhere = elsewhere_begin(&cli->home, *status->name ? status->name : NULL);
    int code = cli_call(cli, "Status", make_parameters(status->name, usage), &status->reply);
    code = code ? code : cli_call(cli, "Hello", NULL, &status->hello);
    if (code) {
        return code;
    }
    status->tunnels = cJSON_GetObjectItemCaseSensitive(status->reply, "tunnels");
    cJSON *services = cJSON_GetObjectItemCaseSensitive(status->reply, "services");
    if (!*status->name && cJSON_IsArray(services)) {
        const cJSON *service;
        status_gather(status->tunnels, NULL, NULL, FAR_MS, services);
        cJSON_ArrayForEach(service, services)
        {
            if (*json_text(service, "cluster")) {
                elsewhere_skip(status->elsewhere, json_text(service, "host"));
            }
        }
    }
    return 0;
}

/* As far as the hop can tell: the row of a service that nobody can reach now. */
static void take_unreachable(struct cli *cli, struct status *status)
{
    status->reply = cJSON_CreateObject();
    cJSON *services = cJSON_AddArrayToObject(status->reply, "services");
    if (*status->name) {
        cJSON_AddItemToArray(services,
            tunnel_unreachable_service(target_tunnel(cli), status->name, target_cluster(cli)));
    }
}

/* Those of one cluster. A hop that is silent is not waited for: that is what is asked about. */
static int take_remote(struct cli *cli, struct status *status, bool usage)
{
    status->tunnels = cJSON_CreateArray();
    cJSON_AddItemToArray(status->tunnels, cJSON_Duplicate(target_tunnel(cli), true));
    if (!strcmp(json_text(target_tunnel(cli), "state"), "degraded")) {
        status->reply = cJSON_CreateObject();
        cJSON *services = cJSON_AddArrayToObject(status->reply, "services");
        if (status_gather(status->tunnels, NULL, status->name, DEGRADED_MS, services)) {
            return 0;
        }
        cJSON_Delete(status->reply);
        take_unreachable(cli, status);
        return EXIT_FAILED;
    }
    int code = cli_call(cli, "Status", make_parameters(status->name, usage), &status->reply);
    return code ? code : cli_call(cli, "Hello", NULL, &status->hello);
}

/* What one NAME's state says to scripts. */
static int code_of(const cJSON *reply)
{
    const cJSON *first =
        cJSON_GetArrayItem(cJSON_GetObjectItemCaseSensitive(reply, "services"), 0);
    const char *state = json_text(first, "state");
    return !strcmp(state, "stopped") || !strcmp(state, "failed") ? EXIT_NOT_RUNNING : 0;
}

static int show_remote(struct cli *cli, struct status *status, int code, bool usage)
{
    char words[600];
    if (code) {
        status->tunnels = cJSON_CreateArray();
        cJSON_AddItemToArray(status->tunnels, cJSON_Duplicate(target_tunnel(cli), true));
        take_unreachable(cli, status);
        tunnel_explain(target_tunnel(cli), target_cluster(cli), words, sizeof words);
        cli_say("%s: %s", cli->subject, words);
    } else {
        code = take_remote(cli, status, usage);
    }
    if (status->reply) {
        int printed = print_status(cli, status);
        code = code ? code : printed;
    }
    if (status->hello) {
        cli_hint_build(json_text(status->hello, "host"), json_text(status->hello, "build"));
    }
    cJSON_Delete(status->tunnels);
    return code ? code : *status->name ? code_of(status->reply) : 0;
}

static int show_local(struct cli *cli, struct status *status, bool usage)
{
    int code = take_local(cli, status, usage);
    if (!code) {
        code = print_status(cli, status);
        cli_hint_builds(status->hello);
    }
    elsewhere_drop(status->elsewhere);
    return code ? code : *status->name ? code_of(status->reply) : 0;
}

static int show(struct cli *cli, const char *argument, bool watch, bool usage)
{
    char name[NAME_MOST] = "";
    struct status status = {.name = name};
    int code = argument ? target_take(cli, argument, TARGET_LOOK, name) : 0;
    if (code && !cli->remote) {
        return code;
    }
    if (watch) {
        char cluster[NAME_MOST];
        snprintf(cluster, sizeof cluster, "%s", target_cluster(cli));
        if (!code && *name && *cluster) { /* that it is there, before watching for it */
            code = cli_call(cli, "Status", cli_name(name), &status.reply);
            cJSON_Delete(status.reply);
            if (code) {
                return code;
            }
        }
        target_leave(cli);
        return status_watch(cli, name, cluster, usage);
    }
    code =
        cli->remote ? show_remote(cli, &status, code, usage) : show_local(cli, &status, usage);
    cJSON_Delete(status.hello);
    cJSON_Delete(status.reply);
    return code;
}

int cmd_status(struct cli *cli, int argc, char **argv)
{
    const char *argument = NULL;
    bool watch = false, usage = false;
    for (int i = 1; i < argc; i++) {
        if (!strcmp(argv[i], "--watch")) {
            watch = true;
        } else if (!strcmp(argv[i], "--usage")) {
            usage = true;
        } else if (argv[i][0] == '-') {
            return command_unknown_option(argv[0], argv[i]);
        } else if (argument) {
            return command_misuse(argv[0], "one NAME at most");
        } else {
            argument = argv[i];
        }
    }
    return show(cli, argument, watch, usage);
}
