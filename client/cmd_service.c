/* start, stop, restart, enable, disable, reset-failed, remove, wait, run, signal. */
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "client/client.h"
#include "client/elsewhere.h"
#include "client/target.h"

static int show_progress(struct cli *cli, const cJSON *reply, void *context)
{
    const cJSON *service = cJSON_GetObjectItemCaseSensitive(reply, "service");
    cJSON **last = context; /* what --json prints in the end */
    if (cli->json) {
        cJSON_Delete(*last);
        *last = cJSON_Duplicate(service, true);
    }
    const cJSON *health = cJSON_GetObjectItemCaseSensitive(service, "health");
    if (isatty(2)) {
        const char *message = json_text(health, "message");
        char name[FULL_NAME_MOST];
        fprintf(stderr, "%s: %s", cli_full_name(service, name), json_text(service, "state"));
        if (*message) {
            fprintf(stderr, " (%s: %s)", json_text(health, "layer"), message);
        }
        fputc('\n', stderr);
    }
    return 0;
}

enum { WAIT_MS = 90000, PATIENCE_MS = 5000 };

struct flags {
    bool wait, alone;   /* alone: nobody may be there to log in */
    int64_t timeout_ms; /* −1: not given */
    const char *workspace, *env, *kind, *goal;
};

/* Take the options out of argv; names stay in argv[1..*count]. 0 or an exit code. */
static int take_flags(int argc, char **argv, struct flags *flags, int *count)
{
    struct error err;
    *flags = (struct flags){.wait = true, .timeout_ms = -1};
    *count = 0;
    for (int i = 1; i < argc; i++) {
        const char *value = i + 1 < argc ? argv[i + 1] : NULL;
        const char **slot = !strcmp(argv[i], "--workspace") ? &flags->workspace
                            : !strcmp(argv[i], "--env")     ? &flags->env
                            : !strcmp(argv[i], "--kind")    ? &flags->kind
                            : !strcmp(argv[i], "--for")     ? &flags->goal
                                                            : NULL;
        bool takes = slot || !strcmp(argv[i], "--timeout");
        if (argv[i][0] == '-' && !strstr(command_find(argv[0])->usage, argv[i])) {
            return command_unknown_option(argv[0], argv[i]);
        } else if (takes && !value) {
            char why[40];
            snprintf(why, sizeof why, "%s needs a value", argv[i]);
            return command_misuse(argv[0], why);
        } else if (slot) {
            *slot = argv[++i];
        } else if (!strcmp(argv[i], "--no-wait")) {
            flags->wait = false;
        } else if (!strcmp(argv[i], "--timeout")) {
            if (duration_parse(argv[++i], &flags->timeout_ms, &err)) {
                return command_misuse(argv[0], err.text);
            }
        } else if (argv[i][0] == '-') {
            return command_unknown_option(argv[0], argv[i]);
        } else {
            argv[++*count] = argv[i];
        }
    }
    return *count ? 0 : command_misuse(argv[0], "a NAME is missing");
}

static void add_wait(cJSON *parameters, const struct flags *flags)
{
    cJSON_AddBoolToObject(parameters, "wait", flags->wait);
    if (flags->timeout_ms >= 0) { /* else the service's start_timeout counts */
        cJSON_AddNumberToObject(parameters, "timeout", (double)flags->timeout_ms);
    }
}

/* How long to listen for the reply that says how the waiting ended. */
static int64_t patience_of(const struct flags *flags)
{
    return flags->timeout_ms < 0 ? -1 : flags->timeout_ms + PATIENCE_MS;
}

/* A call that ends with a service: print it where JSON is wanted. */
static int stream_service(
    struct cli *cli, const char *method, cJSON *parameters, int64_t patience)
{
    cJSON *last = NULL;
    int code = cli_stream(cli, method, parameters, patience, show_progress, &last);
    if (!code && last) {
        cJSON *out = cJSON_CreateObject();
        cJSON_AddNumberToObject(out, "schema", 1);
        cJSON_AddItemToObject(out, "service", json_service(last));
        code = cli_print_json(out, true);
        cJSON_Delete(out);
    }
    cJSON_Delete(last);
    return code;
}

/* A call that goes on in gearsd when the one who waits for it leaves: the farewell says so. */
static int wait_for_service(
    struct cli *cli, const char *method, cJSON *parameters, const struct flags *flags)
{
    bool stop = !strcmp(method, "Stop");
    char words[300];
    snprintf(words, sizeof words, "%s goes on %s; see: gearsctl status %s", cli->subject,
        stop ? "stopping" : "starting", cli->subject);
    int code = cli_connect(cli);
    if (code) {
        cJSON_Delete(parameters);
        return code;
    }
    watch_set_farewell(flags->wait ? words : NULL);
    code = stream_service(cli, method, parameters, stop ? -1 : patience_of(flags));
    watch_set_farewell(NULL);
    return code;
}

/* The folder as an absolute path; over a hop it need not exist here. */
static int find_workspace(const struct cli *cli, const char *wish, char path[PATH_MAX])
{
    if (realpath(wish, path)) {
        return 0;
    }
    if (cli->remote && *wish == '/') {
        snprintf(path, PATH_MAX, "%s", wish);
        return 0;
    }
    cli_say("%s: %s", wish, strerror(errno));
    return EXIT_FAILED;
}

static int start_service(struct cli *cli, cJSON *parameters, const struct flags *flags)
{
    char path[PATH_MAX];
    if (flags->workspace && find_workspace(cli, flags->workspace, path)) {
        cJSON_Delete(parameters);
        return EXIT_FAILED;
    }
    if (flags->workspace) {
        cJSON_AddStringToObject(parameters, "workspace", path);
    }
    if (flags->env) {
        cJSON_AddStringToObject(parameters, "env", flags->env);
    }
    add_wait(parameters, flags);
    return wait_for_service(cli, "Start", parameters, flags);
}

static int one_service(
    struct cli *cli, const char *verb, const char *argument, struct flags *flags)
{
    char name[NAME_MOST];
    bool start = !strcmp(verb, "start");
    cJSON *reply;
    bool login = start && !flags->alone;
    int code = target_take_service(cli, argument, login ? TARGET_LOGIN : TARGET_OPEN, name);
    if (code) {
        return code;
    }
    cJSON *parameters = cli_name(name);
    if (start) {
        return start_service(cli, parameters, flags);
    }
    if (!strcmp(verb, "restart")) {
        add_wait(parameters, flags);
        return wait_for_service(cli, "Restart", parameters, flags);
    }
    if (!strcmp(verb, "stop")) {
        cJSON_AddBoolToObject(parameters, "wait", flags->wait);
        return wait_for_service(cli, "Stop", parameters, flags);
    }
    const char *method = !strcmp(verb, "enable")         ? "Enable"
                         : !strcmp(verb, "disable")      ? "Disable"
                         : !strcmp(verb, "reset-failed") ? "ResetFailed"
                                                         : "Remove";
    code = cli_call(cli, method, parameters, &reply);
    if (!code && cli->json) {
        cJSON *out = cli_name(name);
        cJSON_AddItemToObject(out, "cluster",
            cli->remote ? cJSON_CreateString(target_cluster(cli)) : cJSON_CreateNull());
        cJSON_AddNumberToObject(out, "schema", 1);
        code = cli_print_json(out, true);
        cJSON_Delete(out);
    }
    cJSON_Delete(reply);
    return code;
}

int service_start(struct cli *cli, const char *argument, bool may_login)
{
    struct flags flags = {.wait = true, .alone = !may_login, .timeout_ms = -1};
    return one_service(cli, "start", argument, &flags);
}

int cmd_service(struct cli *cli, int argc, char **argv)
{
    struct flags flags;
    int count, first = 0, code = take_flags(argc, argv, &flags, &count);
    if (code) {
        return code;
    }
    for (int i = 1; i <= count; i++) { /* each name, whatever became of the one before */
        code = one_service(cli, argv[0], argv[i], &flags);
        if (!code && !strcmp(argv[0], "start") && !cli->remote) {
            elsewhere_say(&cli->home, argv[i]);
        }
        first = first ? first : code;
        if (code == EXIT_INTERRUPTED || (code == EXIT_UNREACHABLE && !cli->remote)) {
            break; /* given up; or nobody is there to tell the rest */
        }
    }
    return first;
}

int cmd_wait(struct cli *cli, int argc, char **argv)
{
    struct flags flags;
    char name[NAME_MOST];
    int count, code = take_flags(argc, argv, &flags, &count);
    if (code || (code = target_take_service(cli, argv[1], TARGET_OPEN, name))) {
        return code;
    }
    cJSON *parameters = cli_name(name);
    cJSON_AddStringToObject(parameters, "for", flags.goal ? flags.goal : "ready");
    flags.timeout_ms = flags.timeout_ms < 0 ? WAIT_MS : flags.timeout_ms;
    cJSON_AddNumberToObject(parameters, "timeout", (double)flags.timeout_ms);
    return stream_service(cli, "Wait", parameters, patience_of(&flags));
}

int cmd_run(struct cli *cli, int argc, char **argv)
{
    struct flags flags;
    int split = 1, count;
    char cwd[PATH_MAX], name[NAME_MOST];
    while (split < argc && strcmp(argv[split], "--") != 0) {
        split++;
    }
    int code = take_flags(split, argv, &flags, &count);
    if (code) {
        return code;
    }
    if (split + 1 >= argc || count != 1) {
        return command_misuse(argv[0], "a NAME, then -- and a command are needed");
    }
    if ((code = target_take_service(cli, argv[1], TARGET_OPEN, name))) {
        return code;
    }
    cJSON *parameters = cli_name(name);
    cJSON *words = cJSON_AddArrayToObject(parameters, "argv");
    for (int i = split + 1; i < argc; i++) {
        cJSON_AddItemToArray(words, cJSON_CreateString(argv[i]));
    }
    if (flags.kind) {
        cJSON_AddStringToObject(parameters, "kind", flags.kind);
    }
    if (getcwd(cwd, sizeof cwd)) {
        cJSON_AddStringToObject(parameters, "cwd", cwd);
    }
    add_wait(parameters, &flags);
    return wait_for_service(cli, "Run", parameters, &flags);
}

int cmd_signal(struct cli *cli, int argc, char **argv)
{
    int number;
    char name[NAME_MOST];
    struct error err;
    cJSON *reply;
    if (argc != 3) {
        return command_misuse(argv[0], "NAME and SIGNAL are needed");
    }
    if (signal_parse(argv[2], &number, &err)) {
        return command_misuse(argv[0], err.text);
    }
    int code = target_take_service(cli, argv[1], TARGET_OPEN, name);
    if (code) {
        return code;
    }
    cJSON *parameters = cli_name(name);
    cJSON_AddStringToObject(parameters, "signal", argv[2]);
    code = cli_call(cli, "Signal", parameters, &reply);
    cJSON_Delete(reply);
    return code;
}
