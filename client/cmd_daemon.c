/* daemon, config, call, version: gearsd itself. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "build_id.h"
#include "client/client.h"
#include "client/program.h"

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
    }
    if (services && !yes) {
        int refused = program_confirm(
            "Stop every service, kernels included?", "gearsctl daemon stop --services --yes");
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
    if (!code) {
        printf("gearsd %s build %s pid %d on %s, relay build %s\n", json_text(hello, "version"),
            json_text(hello, "build"), (int)json_number(hello, "pid"), json_text(hello, "host"),
            json_text(hello, "relay_build"));
    }
    cJSON_Delete(hello);
    return code;
}

int cmd_daemon(struct cli *cli, int argc, char **argv)
{
    const char *verb = argc > 1 ? argv[1] : "";
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
        int code = daemon_stop(cli, 2, argv);
        cli->autostart = true;
        return code && code != EXIT_UNREACHABLE ? code : cli_connect(cli);
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

int cmd_config(struct cli *cli, int argc, char **argv)
{
    const char *verb = argc > 1 ? argv[1] : "";
    cJSON *reply;
    if (!strcmp(verb, "show")) {
        int code = cli_call(cli, "ConfigShow", NULL, &reply);
        printf("%s", code ? "" : json_text(reply, "text"));
        cJSON_Delete(reply);
        return code;
    }
    if (strcmp(verb, "check") != 0) {
        return command_misuse(argv[0], "say check or show");
    }
    char folder[PATH_MAX], path[PATH_MAX + 16];
    cli_program_dir(folder); /* without the daemon: a bad file may be why it does not start */
    snprintf(path, sizeof path, "%s/gearsd", folder);
    watch_home_begin(cli->home.root, "reading the configuration");
    int code = program_run((const char *[]){path, "--self-check", NULL}, NULL);
    watch_end();
    code = code && code != EXIT_INTERRUPTED ? EXIT_FAILED : code;
    if (!code) {
        puts("ok");
    }
    return code;
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
    (void)argc;
    (void)argv;
    (void)cli;
    printf("gearsctl %s (%s)\n", GEARS_VERSION, GEARS_BUILD_ID);
    return 0;
}
