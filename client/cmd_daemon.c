/* daemon, config, call, version: gearsd itself. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "build_id.h"
#include "client/client.h"
#include "client/program.h"
#include "client/report.h"

enum { VERSION_PATIENCE_MS = 2000, CHECK_LIMIT = 65536 };

/* gearsd has ended, or become another, when it closes our connection. */
static void wait_for_end(struct cli *cli)
{
    struct error err;
    char *error = NULL;
    bool continues;
    cJSON *reply;
    if (!varlink_client_receive(cli->client, 120000, &reply, &error, &continues, &err)) {
        cJSON_Delete(reply);
        free(error);
    }
    varlink_client_close(cli->client);
    cli->client = NULL;
    cli->answered = false;
}

static int daemon_stop(struct cli *cli, int argc, char **argv)
{
    bool services = false, yes = false;
    cJSON *reply, *parameters;
    for (int i = 2; i < argc; i++) {
        services = services || !strcmp(argv[i], "--services");
        yes = yes || !strcmp(argv[i], "--yes");
        if (strcmp(argv[i], "--services") != 0 && strcmp(argv[i], "--yes") != 0) {
            return command_unknown_option(argv[0], argv[i]);
        }
    }
    if (services && !yes) {
        int refused =
            program_confirm("Stop every service, kernels included, and close every hop?",
                "gearsctl daemon stop --services --yes");
        if (refused) {
            return refused;
        }
    }
    cli->autostart = services; /* a dead gearsd's services are stopped by its successor */
    parameters = cJSON_CreateObject();
    cJSON_AddBoolToObject(parameters, "services", services);
    int code = cli_call(cli, "Shutdown", parameters, &reply);
    cJSON_Delete(reply);
    if (!code) {
        wait_for_end(cli);
    }
    return code;
}

static int daemon_status(struct cli *cli)
{
    cJSON *hello;
    cli->autostart = false;
    int code = cli_call(cli, "Hello", NULL, &hello);
    if (!code && cli->json) {
        cJSON_AddNumberToObject(hello, "schema", 1);
        cJSON_ReplaceItemInObjectCaseSensitive(
            hello, "started_at", json_time(hello, "started_at"));
        code = cli_print_json(hello, false);
    } else if (!code) {
        printf("gearsd %s build %s pid %d on %s, relay build %s\n", json_text(hello, "version"),
            json_text(hello, "build"), (int)json_number(hello, "pid"), json_text(hello, "host"),
            json_text(hello, "relay_build"));
        cli_hint_builds(hello);
    }
    cJSON_Delete(hello);
    return code;
}

/* Ask this build's gearsd to read the configuration; `lines` says what is wrong. Without the
 * daemon: a bad file may be why it does not start. */
static int self_check(struct cli *cli, char lines[CHECK_LIMIT])
{
    char folder[PATH_MAX], path[PATH_MAX + 16];
    cli_program_dir(folder);
    snprintf(path, sizeof path, "%s/gearsd", folder);
    watch_home_begin(cli->home.root, "reading the configuration");
    int status =
        program_read_all((const char *[]){path, "--self-check", NULL}, lines, CHECK_LIMIT);
    watch_end();
    return status ? EXIT_FAILED : 0;
}

/* What serves is not ended for one that would not start. */
static int daemon_restart(struct cli *cli, char **argv)
{
    static char lines[CHECK_LIMIT];
    if (self_check(cli, lines)) {
        fputs(lines, stderr);
        cli_say("gearsd would not start again; nothing was changed");
        return EXIT_FAILED;
    }
    int code = daemon_stop(cli, 2, argv);
    cli->autostart = true;
    return code && code != EXIT_UNREACHABLE ? code : cli_connect(cli);
}

int cmd_daemon(struct cli *cli, int argc, char **argv)
{
    const char *verb = argc > 1 ? argv[1] : "";
    if (!strcmp(verb, "report")) {
        return report_run(cli, argc, argv);
    }
    if (argc > 2 && strcmp(verb, "stop") != 0) {
        return command_unknown_option(argv[0], argv[2]);
    }
    if (!strcmp(verb, "start")) {
        return cli_connect(cli);
    }
    if (!strcmp(verb, "status")) {
        return daemon_status(cli);
    }
    if (!strcmp(verb, "stop")) {
        return daemon_stop(cli, argc, argv);
    }
    if (!strcmp(verb, "restart")) {
        return daemon_restart(cli, argv);
    }
    if (!strcmp(verb, "upgrade")) {
        char folder[PATH_MAX], path[PATH_MAX + 16];
        cJSON *parameters = cJSON_CreateObject(), *reply;
        cli_program_dir(folder);
        snprintf(path, sizeof path, "%s/gearsd", folder);
        cJSON_AddStringToObject(parameters, "path", path);
        int code = cli_call(cli, "Upgrade", parameters, &reply);
        cJSON_Delete(reply);
        if (!code) { /* done when the new one answers */
            wait_for_end(cli);
            code = cli_call(cli, "Hello", NULL, &reply);
            cJSON_Delete(reply);
        }
        return code;
    }
    return command_misuse(argv[0], "say start, stop, restart, upgrade or status");
}

static int config_show(struct cli *cli)
{
    cJSON *reply;
    int code = cli_call(cli, "ConfigShow", NULL, &reply);
    if (!code && cli->json) {
        cJSON_AddNumberToObject(reply, "schema", 1);
        code = cli_print_json(reply, false);
    } else if (!code) {
        printf("%s", json_text(reply, "text"));
    }
    cJSON_Delete(reply);
    return code;
}

static int config_check(struct cli *cli)
{
    static char lines[CHECK_LIMIT];
    char *save = NULL;
    int code = self_check(cli, lines);
    if (!cli->json) {
        fputs(code ? lines : "ok\n", code ? stderr : stdout);
        return code;
    }
    cJSON *out = cJSON_CreateObject();
    cJSON_AddNumberToObject(out, "schema", 1);
    cJSON_AddBoolToObject(out, "ok", !code);
    cJSON *errors = cJSON_AddArrayToObject(out, "errors");
    for (char *line = code ? strtok_r(lines, "\n", &save) : NULL; line;
         line = strtok_r(NULL, "\n", &save)) {
        cJSON_AddItemToArray(errors, cJSON_CreateString(line));
    }
    int printed = cli_print_json(out, false);
    cJSON_Delete(out);
    return code ? code : printed;
}

int cmd_config(struct cli *cli, int argc, char **argv)
{
    const char *verb = argc == 2 ? argv[1] : "";
    if (!strcmp(verb, "show")) {
        return config_show(cli);
    }
    return !strcmp(verb, "check") ? config_check(cli)
                                  : command_misuse(argv[0], "say check or show");
}

static int print_reply(struct cli *cli, const cJSON *reply, void *context)
{
    (void)cli;
    (void)context;
    return cli_print_json(reply, true);
}

int cmd_call(struct cli *cli, int argc, char **argv)
{
    struct text input = {0};
    char buffer[4096];
    size_t n;
    bool more = argc == 3 && !strcmp(argv[2], "--more");
    if (argc < 2 || (argc > 2 && !more)) {
        return command_misuse(argv[0], "a METHOD is needed");
    }
    if (strstr(argv[1], "AnswerPrompt")) {
        cli_say("AnswerPrompt carries secrets and is not for scripts; run: gearsctl login");
        return EXIT_USAGE;
    }
    while ((n = fread(buffer, 1, sizeof buffer, stdin)) > 0 && input.length < 1 << 20) {
        text_append(&input, buffer, n);
    }
    cJSON *parameters = input.length ? cJSON_Parse(text_string(&input)) : cJSON_CreateObject();
    text_finish(&input);
    if (!cJSON_IsObject(parameters)) {
        cJSON_Delete(parameters);
        return command_misuse(argv[0], "stdin must hold one JSON object");
    }
    cli->raw = true;
    if (more) {
        return cli_stream(cli, argv[1], parameters, -1, print_reply, NULL);
    }
    cJSON *reply;
    int code = cli_call(cli, argv[1], parameters, &reply);
    if (!code) {
        code = print_reply(cli, reply, NULL);
    }
    cJSON_Delete(reply);
    return code;
}

int cmd_version(struct cli *cli, int argc, char **argv)
{
    struct error err;
    char path[PATH_MAX], *error = NULL;
    bool continues;
    cJSON *hello = NULL;
    if (argc > 1) {
        return command_misuse(argv[0], "it takes no arguments");
    }
    /* Only what runs can be asked, and that nothing runs is no fault here. */
    if (!home_path(&cli->home, path, "run", "gearsd.sck")) {
        watch_home_begin(cli->home.root, "connecting to gearsd");
        cli->client = varlink_client_open(path, VERSION_PATIENCE_MS, &err, NULL);
        watch_end();
    }
    if (cli->client &&
        (varlink_client_send(cli->client, "org.gears.Manager.Hello", NULL, false, &err) ||
            varlink_client_receive(
                cli->client, VERSION_PATIENCE_MS, &hello, &error, &continues, &err))) {
        hello = NULL;
    }
    free(error);
    if (cli->json) {
        cJSON *out = cJSON_CreateObject();
        cJSON_AddNumberToObject(out, "schema", 1);
        cJSON_AddStringToObject(out, "version", GEARS_VERSION);
        cJSON_AddStringToObject(out, "build", GEARS_BUILD_ID);
        cJSON_AddItemToObject(out, "daemon", hello ? hello : cJSON_CreateNull());
        int code = cli_print_json(out, false);
        cJSON_Delete(out);
        return code;
    }
    printf("gearsctl %s (%s)\n", GEARS_VERSION, GEARS_BUILD_ID);
    if (hello) {
        printf("gearsd %s (%s)\n", json_text(hello, "version"), json_text(hello, "build"));
        cli_hint_builds(hello);
    }
    cJSON_Delete(hello);
    return 0;
}
