/* status: a table on a terminal, tab-separated rows otherwise, or the promised JSON. */
#include <stdio.h>
#include <string.h>

#include "client/client.h"
#include "client/elsewhere.h"
#include "common/clock.h"

static void copy_item(cJSON *to, const cJSON *from, const char *key)
{
    const cJSON *item = cJSON_GetObjectItemCaseSensitive(from, key);
    cJSON_AddItemToObject(to, key, item ? cJSON_Duplicate(item, true) : cJSON_CreateNull());
}

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
        copy_item(out, service, keys[i]);
    }
    cJSON_AddItemToObject(out, "since", json_time(service, "since"));
    cJSON_AddItemToObject(out, "last_activity", json_time(service, "last_activity"));
    cJSON_AddItemToObject(
        out, "exit", json_exit(cJSON_GetObjectItemCaseSensitive(service, "exit")));
    return out;
}

static int print_json(const cJSON *status, const cJSON *hello, struct elsewhere *elsewhere)
{
    cJSON *out = cJSON_CreateObject();
    cJSON_AddNumberToObject(out, "schema", 1);
    copy_item(out, hello, "host");
    cJSON *daemon = cJSON_AddObjectToObject(out, "daemon");
    copy_item(daemon, hello, "version");
    copy_item(daemon, hello, "build");
    copy_item(daemon, hello, "pid");
    cJSON_AddNumberToObject(daemon, "uptime_s",
        (double)((clock_utc_us() - (int64_t)json_number(hello, "started_at")) / 1000000));
    cJSON *list = cJSON_AddArrayToObject(out, "services");
    const cJSON *service;
    cJSON_ArrayForEach(service, cJSON_GetObjectItemCaseSensitive(status, "services"))
    {
        cJSON_AddItemToArray(list, json_service(service));
    }
    cJSON_AddArrayToObject(out, "tunnels");
    cJSON_AddArrayToObject(out, "pools");
    elsewhere_finish(elsewhere, cJSON_AddArrayToObject(out, "elsewhere"));
    int code = cli_print_json(out, false);
    cJSON_Delete(out);
    return code;
}

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
    bool alive = !strcmp(state, "ready") || !strcmp(state, "starting");
    out[0] = 0;
    if (alive && !cJSON_IsTrue(cJSON_GetObjectItemCaseSensitive(health, "ok"))) {
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

static void print_row(struct cli *cli, const cJSON *service)
{
    char age[32], words[600];
    const char *state = json_text(service, "state");
    int64_t since = clock_utc_us() - (int64_t)json_number(service, "since");
    duration_format(since > 0 ? since / 1000 : 0, age, sizeof age);
    describe(service, words, sizeof words);
    if (!cli->terminal) {
        printf("%s\t%s\t%s\t%s\t%d\t%d\t%s\n", json_text(service, "name"), state,
            json_text(service, "kind"), age, (int)json_number(service, "pid"),
            (int)json_number(service, "connections"), words);
        return;
    }
    const char *colour = !cli->colour                ? ""
                         : !strcmp(state, "ready")   ? "\033[32m"
                         : !strcmp(state, "failed")  ? "\033[31m"
                         : !strcmp(state, "stopped") ? ""
                                                     : "\033[33m";
    printf("%-16s %s%-9s%s %-8s %8s %8d %5d  %s\n", json_text(service, "name"), colour, state,
        *colour ? "\033[0m" : "", json_text(service, "kind"), age,
        (int)json_number(service, "pid"), (int)json_number(service, "connections"), words);
}

static int print_table(struct cli *cli, const cJSON *status, void *context)
{
    bool *header = context;
    const cJSON *service;
    watch_output_begin();
    if (cli->terminal && *header) {
        printf(
            "%-16s %-9s %-8s %8s %8s %5s\n", "NAME", "STATE", "KIND", "SINCE", "PID", "CONNS");
    }
    *header = false;
    cJSON_ArrayForEach(service, cJSON_GetObjectItemCaseSensitive(status, "services"))
    {
        print_row(cli, service);
    }
    int code = cli_flush();
    watch_output_end();
    return code;
}

static int print_delta(struct cli *cli, const cJSON *status, void *context)
{
    const cJSON *service;
    int code = 0;
    if (!cli->json) {
        return print_table(cli, status, context);
    }
    cJSON_ArrayForEach(service, cJSON_GetObjectItemCaseSensitive(status, "services"))
    {
        cJSON *out = json_service(service);
        cJSON_AddNumberToObject(out, "schema", 1);
        code = code ? code : cli_print_json(out, true);
        cJSON_Delete(out);
    }
    return code;
}

int cmd_status(struct cli *cli, int argc, char **argv)
{
    const char *name = NULL;
    bool watch = false, usage = false, header = true;
    for (int i = 1; i < argc; i++) {
        if (!strcmp(argv[i], "--watch")) {
            watch = true;
        } else if (!strcmp(argv[i], "--usage")) {
            usage = true;
        } else if (argv[i][0] == '-') {
            return command_unknown_option(argv[0], argv[i]);
        } else if (name) {
            return command_misuse(argv[0], "one NAME at most");
        } else {
            name = argv[i];
        }
    }
    int code = name ? cli_check_name(name) : 0;
    if (code) {
        return code;
    }
    cJSON *parameters = name ? cli_name(name) : cJSON_CreateObject();
    cJSON *reply, *hello = NULL;
    if (usage) {
        cJSON_AddBoolToObject(parameters, "usage", true);
    }
    if (watch) {
        return cli_stream(cli, "Status", parameters, -1, print_delta, &header);
    }
    struct elsewhere *elsewhere = elsewhere_begin(&cli->home, name);
    code = cli_call(cli, "Status", parameters, &reply);
    if (!code && !(code = cli_call(cli, "Hello", NULL, &hello))) {
        code =
            cli->json ? print_json(reply, hello, elsewhere) : print_table(cli, reply, &header);
        cli_hint_builds(hello);
    }
    if (!hello) {
        elsewhere_drop(elsewhere);
    } else if (!cli->json) {
        elsewhere_finish(elsewhere, NULL);
    }
    cJSON_Delete(hello);
    if (!code && name) {
        const cJSON *first =
            cJSON_GetArrayItem(cJSON_GetObjectItemCaseSensitive(reply, "services"), 0);
        const char *state = json_text(first, "state");
        code = !strcmp(state, "stopped") || !strcmp(state, "failed") ? EXIT_NOT_RUNNING : 0;
    }
    cJSON_Delete(reply);
    return code;
}
