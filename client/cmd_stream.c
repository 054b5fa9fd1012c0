/* logs and events. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "client/client.h"
#include "client/target.h"
#include "common/clock.h"

enum { LINES_MOST = 10000 };

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

int cmd_logs(struct cli *cli, int argc, char **argv)
{
    const char *name = NULL;
    bool follow = false;
    struct log_view view = {0};
    struct error err;
    long long lines = 100;
    int64_t since = 0;
    for (int i = 1; i < argc; i++) {
        const char *value = i + 1 < argc ? argv[i + 1] : NULL;
        if (!strcmp(argv[i], "-f") || !strcmp(argv[i], "--follow")) {
            follow = true;
        } else if (!strcmp(argv[i], "--timestamps")) {
            view.timestamps = true;
        } else if (!strcmp(argv[i], "-n") && value) {
            if (integer_parse(argv[++i], 0, LINES_MOST, &lines, &err)) {
                return command_misuse(argv[0], err.text);
            }
        } else if (!strcmp(argv[i], "--since") && value) {
            if (duration_parse(argv[++i], &since, &err)) {
                return command_misuse(argv[0], err.text);
            }
        } else if (!strcmp(argv[i], "-n") || !strcmp(argv[i], "--since")) {
            char why[40];
            snprintf(why, sizeof why, "%s needs a value", argv[i]);
            return command_misuse(argv[0], why);
        } else if (argv[i][0] == '-') {
            return command_unknown_option(argv[0], argv[i]);
        } else if (name) {
            return command_misuse(argv[0], "one NAME only");
        } else {
            name = argv[i];
        }
    }
    char bare[NAME_MOST];
    int code = name ? target_take(cli, name, TARGET_OPEN, bare)
                    : command_misuse(argv[0], "a NAME is missing");
    if (code) {
        return code;
    }
    name = bare;
    if (!strcmp(name, "relay")) { /* it speaks in gearsd's log */
        view.prefix = "relay ";
        view.most = lines;
        name = "gearsd";
        lines = LINES_MOST;
    }
    cJSON *parameters = cli_name(name);
    cJSON_AddNumberToObject(parameters, "lines", (double)lines);
    if (since) {
        cJSON_AddNumberToObject(parameters, "since", (double)(clock_utc_us() - since * 1000));
    }
    cJSON_AddBoolToObject(parameters, "follow", follow);
    return cli_stream(cli, "Logs", parameters, follow ? -1 : 30000, print_lines, &view);
}

/* With a name only what concerns it; gearsd's own events have none. */
static bool is_of(const cJSON *event, const char *name)
{
    const char *service = json_text(event, "service");
    return !*name || !strcmp(*service ? service : "gearsd", name);
}

static int print_events(struct cli *cli, const cJSON *reply, void *context)
{
    const char *name = context, *cluster = target_cluster(cli);
    const cJSON *event;
    watch_output_begin();
    cJSON_ArrayForEach(event, cJSON_GetObjectItemCaseSensitive(reply, "events"))
    {
        char stamp[32];
        if (!is_of(event, name)) {
            continue;
        }
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
    char name[NAME_MOST] = "";
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
    int code = argument ? target_take(cli, argument, TARGET_OPEN, name) : 0;
    if (code) {
        return code;
    }
    cJSON *parameters = cJSON_CreateObject();
    cJSON_AddBoolToObject(parameters, "follow", follow);
    return cli_stream(cli, "Events", parameters, follow ? -1 : 30000, print_events, name);
}
