/* logs and events. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "client/client.h"
#include "client/target.h"
#include "common/clock.h"

enum { LINES = 100, LINES_MOST = 10000, LIST_MS = 30000 };

struct log_view {
    bool timestamps;
    const char *prefix; /* only lines that begin so; NULL: all */
    long long most;     /* of the first reply, with a prefix */
};

static bool is_shown(const struct log_view *view, const cJSON *line)
{
    return !view->prefix ||
           !strncmp(json_text(line, "text"), view->prefix, strlen(view->prefix));
}

/* How many lines to leave out so that the newest `most` remain; later replies are whole. */
static long long count_surplus(struct log_view *view, const cJSON *lines)
{
    const cJSON *line;
    long long count = 0;
    if (!view->prefix || view->most < 0) {
        return 0;
    }
    cJSON_ArrayForEach(line, lines)
    {
        count += is_shown(view, line);
    }
    count -= view->most;
    view->most = -1;
    return count > 0 ? count : 0;
}

/* One of a stream's objects on a line, its time also in words; flushed with its neighbours. */
static void print_object(const cJSON *item, const char *cluster)
{
    cJSON *object = cJSON_Duplicate(item, true);
    if (*cluster) {
        cJSON_AddStringToObject(object, "cluster", cluster);
    }
    cJSON_ReplaceItemInObjectCaseSensitive(object, "at", json_time(item, "at"));
    cJSON_AddNumberToObject(object, "at_us", json_number(item, "at"));
    cJSON_AddNumberToObject(object, "schema", 1);
    char *text = cJSON_PrintUnformatted(object);
    puts(text ? text : "");
    free(text);
    cJSON_Delete(object);
}

static int print_lines(struct cli *cli, const cJSON *reply, void *context)
{
    struct log_view *view = context;
    const cJSON *line, *lines = cJSON_GetObjectItemCaseSensitive(reply, "lines");
    long long surplus = count_surplus(view, lines);
    watch_output_begin();
    cJSON_ArrayForEach(line, lines)
    {
        if (!is_shown(view, line) || surplus-- > 0) {
            continue;
        }
        const char *stream = json_text(line, "stream"), *text = json_text(line, "text");
        char stamp[32] = "";
        if (cli->json) {
            print_object(line, target_cluster(cli));
            continue;
        }
        if (view->timestamps) {
            clock_format_utc((int64_t)json_number(line, "at"), stamp, sizeof stamp);
            printf("%s %s ", stamp, stream);
        }
        bool whole = *stream != 'O' && *stream != 'E';
        printf(*stream == 'g' ? "[gears: %s]" : "%s", text);
        if (whole || view->timestamps) {
            putchar('\n');
        }
    }
    int code = cli_flush();
    watch_output_end();
    return code;
}

struct log_order {
    const char *argument; /* NAME, or NAME@CLUSTER */
    bool follow, timestamps;
    long long lines;  /* −1: not said */
    int64_t since_ms; /* 0: not said */
};

/* 0, or EXIT_USAGE after a line. */
static int take_log_options(int argc, char **argv, struct log_order *order)
{
    struct error err;
    *order = (struct log_order){.lines = -1};
    for (int i = 1; i < argc; i++) {
        bool lines = !strcmp(argv[i], "-n"), since = !strcmp(argv[i], "--since");
        if ((lines || since) && i + 1 == argc) {
            char why[40];
            snprintf(why, sizeof why, "%s needs a value", argv[i]);
            return command_misuse(argv[0], why);
        }
        if (!strcmp(argv[i], "-f") || !strcmp(argv[i], "--follow")) {
            order->follow = true;
        } else if (!strcmp(argv[i], "--timestamps")) {
            order->timestamps = true;
        } else if (lines || since) {
            int code = lines ? integer_parse(argv[++i], 0, LINES_MOST, &order->lines, &err)
                             : duration_parse(argv[++i], &order->since_ms, &err);
            if (code) {
                return command_misuse(argv[0], err.text);
            }
        } else if (argv[i][0] == '-') {
            return command_unknown_option(argv[0], argv[i]);
        } else if (order->argument) {
            return command_misuse(argv[0], "one NAME only");
        } else {
            order->argument = argv[i];
        }
    }
    return order->argument ? 0 : command_misuse(argv[0], "a NAME is missing");
}

int cmd_logs(struct cli *cli, int argc, char **argv)
{
    struct log_order order;
    char bare[NAME_MOST];
    int code = take_log_options(argc, argv, &order);
    code = code ? code : target_take_service(cli, order.argument, TARGET_OPEN, bare);
    if (code) {
        return code;
    }
    struct log_view view = {.timestamps = order.timestamps};
    const char *name = bare;
    /* Who names a time wants all since then. */
    long long lines = order.lines >= 0 ? order.lines : order.since_ms ? LINES_MOST : LINES;
    if (!strcmp(name, "relay")) { /* it speaks in gearsd's log */
        view.prefix = "relay ";
        view.most = lines;
        name = "gearsd";
        lines = LINES_MOST;
    }
    cJSON *parameters = cli_name(name);
    cJSON_AddNumberToObject(parameters, "lines", (double)lines);
    if (order.since_ms) {
        cJSON_AddNumberToObject(
            parameters, "since", (double)(clock_utc_us() - order.since_ms * 1000));
    }
    cJSON_AddBoolToObject(parameters, "follow", order.follow);
    return cli_stream(cli, "Logs", parameters, order.follow ? -1 : LIST_MS, print_lines, &view);
}

/* With a name only what concerns it: of a service, of gearsd, whose own events have none, or of
 * a cluster's hop, whose events begin with its name. */
static bool is_of(const cJSON *event, const char *name)
{
    const char *service = json_text(event, "service"), *message = json_text(event, "message");
    size_t length = strlen(name);
    return !length || !strcmp(*service ? service : "gearsd", name) ||
           (!*service && !strncmp(message, name, length) && message[length] == ':');
}

static bool holds(const cJSON *list, const char *key, const char *name)
{
    const cJSON *item;
    cJSON_ArrayForEach(item, list)
    {
        if (!strcmp(json_text(item, key), name)) {
            return true;
        }
    }
    return false;
}

/* Whether anything is called so: nothing would ever come of a slip of the pen. 0 or an exit
 * code, the words said. */
static int check_name(struct cli *cli, const char *name)
{
    cJSON *reply = NULL;
    if (!*name || !strcmp(name, "gearsd")) {
        return 0;
    }
    int code = cli_call(cli, "Status", cJSON_CreateObject(), &reply);
    bool found =
        !code && (holds(cJSON_GetObjectItemCaseSensitive(reply, "services"), "name", name) ||
                     (!cli->remote && cli_is_cluster(cli, name)));
    cJSON_Delete(reply);
    if (code || found) {
        return code;
    }
    code = cli_call(cli, "Status", cli_name(name), &reply); /* which says what there is */
    cJSON_Delete(reply);
    return code;
}

struct event_view {
    char name[NAME_MOST]; /* "": of all */
    bool any;             /* there was one */
};

static int print_events(struct cli *cli, const cJSON *reply, void *context)
{
    struct event_view *view = context;
    const char *cluster = target_cluster(cli);
    const cJSON *event;
    watch_output_begin();
    cJSON_ArrayForEach(event, cJSON_GetObjectItemCaseSensitive(reply, "events"))
    {
        char stamp[32];
        if (!is_of(event, view->name)) {
            continue;
        }
        view->any = true;
        if (cli->json) {
            print_object(event, cluster);
            continue;
        }
        clock_format_local((int64_t)json_number(event, "at"), stamp, sizeof stamp);
        const char *service = json_text(event, "service");
        printf("%s\t%s%s%s\t%s\t%s\n", stamp, *service ? service : "gearsd",
            *cluster ? "@" : "", cluster, json_text(event, "event"),
            json_text(event, "message"));
    }
    int code = cli_flush();
    watch_output_end();
    return code;
}

int cmd_events(struct cli *cli, int argc, char **argv)
{
    const char *argument = NULL;
    struct event_view view = {.name = ""};
    bool follow = false;
    for (int i = 1; i < argc; i++) {
        if (!strcmp(argv[i], "-f") || !strcmp(argv[i], "--follow")) {
            follow = true;
        } else if (argv[i][0] == '-' || argument) {
            return command_unknown_option(argv[0], argv[i]);
        } else {
            argument = argv[i];
        }
    }
    int code = argument ? target_take(cli, argument, TARGET_OPEN, view.name) : 0;
    code = !code && follow ? check_name(cli, view.name) : code;
    if (code) {
        return code;
    }
    cJSON *parameters = cJSON_CreateObject();
    cJSON_AddBoolToObject(parameters, "follow", follow);
    code = cli_stream(cli, "Events", parameters, follow ? -1 : LIST_MS, print_events, &view);
    return code || view.any ? code : check_name(cli, view.name); /* one may be gone by now */
}
