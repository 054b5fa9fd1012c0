/* Calls, streams, and the words and exit codes of their errors. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "build_id.h"
#include "client/client.h"
#include "client/elsewhere.h"

enum { CALL_TIMEOUT_MS = 30000, HELLO_TIMEOUT_MS = 2000, RETRY = -1, TRIES = 5 };

int cli_check_name(const char *name)
{
    const char *at = strchr(name, '@');
    if (at) {
        cli_say("%s: no cluster \"%s\" is configured; hops are not part of this version", name,
            at + 1);
        return EXIT_NO_SUCH;
    }
    return 0;
}

void cli_hint_builds(const cJSON *hello)
{
    if (strcmp(json_text(hello, "build"), GEARS_BUILD_ID) != 0) {
        cli_say("gearsd is build %s and this is %s; run: gearsctl daemon upgrade",
            json_text(hello, "build"), GEARS_BUILD_ID);
    }
}

/* What gearsd does not understand: another build's fault, or that of who typed `call`. */
static int say_incompatible(
    struct cli *cli, const char *method, const char *last, const cJSON *parameters)
{
    const char *parameter = json_text(parameters, "parameter");
    char *error = NULL, build[64] = "another";
    bool continues;
    cJSON *hello = NULL;
    if (!varlink_client_send(cli->client, "org.gears.Manager.Hello", NULL, false, NULL) &&
        !varlink_client_receive(
            cli->client, HELLO_TIMEOUT_MS, &hello, &error, &continues, NULL)) {
        snprintf(build, sizeof build, "%s",
            *json_text(hello, "build") ? json_text(hello, "build") : build);
    }
    cJSON_Delete(hello);
    free(error);
    if (!strcmp(build, GEARS_BUILD_ID) || cli->raw) {
        cli_say("%s: gearsd refuses the call: %s%s%s", method, last, *parameter ? " " : "",
            parameter);
        return EXIT_USAGE;
    }
    cli_say("gearsd (build %s) does not know %s%s%s as this gearsctl (build %s) says it; "
            "run: gearsctl daemon upgrade",
        build, method, *parameter ? " with " : "", parameter, GEARS_BUILD_ID);
    return EXIT_INCOMPATIBLE;
}

static int say_error(
    struct cli *cli, const char *method, const char *error, const cJSON *parameters)
{
    const char *last = strrchr(error, '.');
    const char *name = json_text(parameters, "name"),
               *message = json_text(parameters, "message");
    const char *hint = json_text(parameters, "hint");
    last = last ? last + 1 : error;
    if (!strcmp(last, "NoSuchService")) {
        cli_say("there is no service \"%s\"%s%s%s", name, *hint ? "; did you mean " : "", hint,
            *hint ? "?" : "; see: gearsctl status");
        elsewhere_say(&cli->home, name);
        return EXIT_NO_SUCH;
    }
    if (!strcmp(last, "NotRunning")) {
        cli_say("%s is %s; run: gearsctl start %s", name, json_text(parameters, "state"), name);
        return EXIT_NOT_RUNNING;
    }
    if (!strcmp(last, "TimedOut")) {
        cli_say("%s: timed out: %s", name, message);
        return EXIT_TIMED_OUT;
    }
    if (!strcmp(last, "InterfaceNotFound") || !strcmp(last, "MethodNotFound") ||
        !strcmp(last, "MethodNotImplemented") || !strcmp(last, "InvalidParameter")) {
        return say_incompatible(cli, method, last, parameters);
    }
    bool named = !*name || !strncmp(message, name, strlen(name));
    cli_say("%s%s%s", named ? "" : name, named ? "" : ": ", *message ? message : error);
    return EXIT_FAILED;
}

/* Whether asking twice does no more than asking once. */
static bool is_idempotent(const char *method)
{
    static const char *const others[] = {"Run", "Restart", "Signal", "Remove", "Upgrade"};
    for (size_t i = 0; i < sizeof others / sizeof *others; i++) {
        if (!strcmp(method, others[i])) {
            return false;
        }
    }
    return true;
}

static int receive(
    struct cli *cli, const char *method, int64_t timeout_ms, cJSON **reply, bool *continues)
{
    static const char silent[] = "gearsd has not answered for 2 s; waiting, ^C gives up";
    struct error err;
    char *error = NULL;
    watch_daemon_begin(cli->home.root, timeout_ms == CALL_TIMEOUT_MS ? silent : NULL);
    int code = varlink_client_receive(cli->client, timeout_ms, reply, &error, continues, &err);
    watch_end();
    if (code == -ECONNRESET && !cli->answered && cli->autostart && is_idempotent(method)) {
        *reply = NULL;
        return RETRY; /* it was dying as we connected: its successor can tell */
    }
    if (code) {
        *reply = NULL;
        cli_say("%s", err.text);
        return code == -ETIMEDOUT ? EXIT_TIMED_OUT
               : code == -EBADMSG ? EXIT_INCOMPATIBLE
                                  : EXIT_UNREACHABLE;
    }
    cli->answered = true;
    if (error) {
        int exit_code = say_error(cli, method, error, *reply);
        cJSON_Delete(*reply);
        *reply = NULL;
        free(error);
        return exit_code;
    }
    return 0;
}

static int send_call(struct cli *cli, const char *method, cJSON *parameters, bool more)
{
    struct error err;
    char full[128];
    snprintf(
        full, sizeof full, "%s%s", strchr(method, '.') ? "" : "org.gears.Manager.", method);
    int code = cli_connect(cli);
    if (code) {
        cJSON_Delete(parameters);
        return code;
    }
    code = varlink_client_send(cli->client, full, parameters, more, &err);
    if ((code == -EPIPE || code == -ECONNRESET) && !cli->answered && cli->autostart) {
        return RETRY; /* it died as we connected and heard nothing */
    }
    if (code) {
        cli_say("%s", err.text);
        return EXIT_UNREACHABLE;
    }
    return 0;
}

/* Send, and hear the first reply; a gearsd that was just dying is followed to its successor. */
static int begin(struct cli *cli, const char *method, cJSON *parameters, bool more,
    int64_t timeout_ms, cJSON **reply, bool *continues)
{
    int code = RETRY;
    *reply = NULL;
    for (int i = 0; i < TRIES && code == RETRY; i++) {
        cJSON *copy = parameters ? cJSON_Duplicate(parameters, true) : NULL;
        if (i) {
            varlink_client_close(cli->client);
            cli->client = NULL;
        }
        code = send_call(cli, method, copy, more);
        code = code ? code : receive(cli, method, timeout_ms, reply, continues);
    }
    cJSON_Delete(parameters);
    if (code == RETRY) {
        cli_say("gearsd closed the connection; see: gearsctl logs gearsd");
        code = EXIT_UNREACHABLE;
    }
    return code;
}

int cli_call(struct cli *cli, const char *method, cJSON *parameters, cJSON **reply)
{
    bool continues;
    return begin(cli, method, parameters, false, CALL_TIMEOUT_MS, reply, &continues);
}

int cli_stream(struct cli *cli, const char *method, cJSON *parameters, int64_t timeout_ms,
    int (*each)(struct cli *cli, const cJSON *reply, void *context), void *context)
{
    bool continues = true;
    cJSON *reply;
    int code = begin(cli, method, parameters, true, timeout_ms, &reply, &continues);
    while (!code) {
        code = each(cli, reply, context);
        cJSON_Delete(reply);
        reply = NULL;
        if (code || !continues) {
            break;
        }
        code = receive(cli, method, timeout_ms, &reply, &continues);
    }
    cJSON_Delete(reply);
    return code;
}
