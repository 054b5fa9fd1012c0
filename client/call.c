/* Calls, streams, and the words and exit codes of their errors. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "client/client.h"

enum { CALL_TIMEOUT_MS = 30000, RETRY = -1, TRIES = 5 };

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

static int say_error(const char *method, const char *error, const cJSON *parameters)
{
    const char *last = strrchr(error, '.');
    const char *name = json_text(parameters, "name"),
               *message = json_text(parameters, "message");
    const char *hint = json_text(parameters, "hint");
    last = last ? last + 1 : error;
    if (!strcmp(last, "NoSuchService")) {
        cli_say("there is no service \"%s\"%s%s%s", name, *hint ? "; did you mean " : "", hint,
            *hint ? "?" : "; see: gearsctl status");
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
        !strcmp(last, "InvalidParameter")) {
        cli_say("gearsd does not know %s as this gearsctl says it (%s %s); "
                "run: gearsctl daemon upgrade",
            method, last, json_text(parameters, "parameter"));
        return EXIT_INCOMPATIBLE;
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
        return code == -ETIMEDOUT ? EXIT_TIMED_OUT : EXIT_UNREACHABLE;
    }
    cli->answered = true;
    if (error) {
        int exit_code = say_error(method, error, *reply);
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
    if (varlink_client_send(cli->client, full, parameters, more, &err)) {
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
