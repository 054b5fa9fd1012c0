/* Calls, streams, and the words and exit codes of their errors. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "build_id.h"
#include "client/client.h"
#include "client/elsewhere.h"
#include "client/rename.h"
#include "client/target.h"

enum { CALL_TIMEOUT_MS = 30000, HELLO_TIMEOUT_MS = 2000, RETRY = -1, TRIES = 5 };

void cli_hint_builds(const cJSON *hello)
{
    cli_hint_build(NULL, json_text(hello, "build"));
}

void cli_hint_build(const char *host, const char *build)
{
    if (strcmp(build, GEARS_BUILD_ID) != 0) {
        cli_say("gearsd%s%s is build %s and this is %s; run%s: gearsctl daemon upgrade",
            host ? " on " : "", host ? host : "", build, GEARS_BUILD_ID, host ? " there" : "");
    }
}

/* One call more on the same connection; NULL when it is refused. An answer that is late would
 * be taken for the next call's, so the connection goes too. */
static cJSON *ask_quietly(struct cli *cli, const char *method, cJSON *parameters)
{
    char *error = NULL;
    bool continues;
    cJSON *reply = NULL;
    if (varlink_client_send(cli->client, method, parameters, false, NULL) ||
        varlink_client_receive(
            cli->client, HELLO_TIMEOUT_MS, &reply, &error, &continues, NULL)) {
        reply = NULL;
        varlink_client_close(cli->client);
        cli->client = NULL;
    }
    if (error) {
        cJSON_Delete(reply);
        reply = NULL;
    }
    free(error);
    return reply;
}

bool cli_is_cluster(struct cli *cli, const char *name)
{
    cJSON *parameters = cJSON_CreateObject();
    cJSON_AddStringToObject(parameters, "cluster", name);
    cJSON *reply = ask_quietly(cli, "org.gears.Manager.Cluster", parameters);
    bool found = reply != NULL;
    cJSON_Delete(reply);
    return found;
}

/* What gearsd does not understand: another build's fault, or that of who typed `call`. */
static int say_incompatible(
    struct cli *cli, const char *method, const char *last, const cJSON *parameters)
{
    const char *parameter = json_text(parameters, "parameter");
    char build[64];
    cJSON *hello = ask_quietly(cli, "org.gears.Manager.Hello", NULL);
    snprintf(build, sizeof build, "%s",
        *json_text(hello, "build") ? json_text(hello, "build") : "another");
    cJSON_Delete(hello);
    if (!strcmp(build, GEARS_BUILD_ID) || cli->raw) {
        cli_say("%s: gearsd refuses the call: %s%s%s", method, last, *parameter ? " " : "",
            parameter);
        return EXIT_USAGE;
    }
    const char *there = json_text(target_tunnel(cli), "host");
    cli_say("gearsd%s%s (build %s) does not know %s%s%s as this gearsctl (build %s) says it; "
            "run%s: gearsctl daemon upgrade",
        cli->remote ? " on " : "", there, build, method, *parameter ? " with " : "", parameter,
        GEARS_BUILD_ID, cli->remote ? " there" : "");
    return EXIT_INCOMPATIBLE;
}

/* Which cluster there is not, and that only a human gets on. */
static int say_cluster_error(struct cli *cli, const char *last, const cJSON *parameters)
{
    const char *hint = json_text(parameters, "hint"), *name = json_text(parameters, "name");
    const char *message = json_text(parameters, "message");
    const char *cluster = json_text(parameters, "cluster");
    const char *subject = cli->subject ? cli->subject : *cluster ? cluster : name;
    if (!strcmp(last, "NoSuchCluster")) {
        const char *at = strchr(name, '@'); /* where a cluster alone is wanted */
        hint = !*hint && at ? at + 1 : hint;
        cli_say("%s: no cluster \"%s\" is configured%s%s%s", subject, name,
            *hint ? "; did you mean " : "", hint,
            *hint ? "?" : "; gears.conf may hold a [cluster:NAME]");
        return EXIT_NO_SUCH;
    }
    if (*message && strstr(message, "gearsctl ")) {
        cli_say("%s: %s", subject, message);
    } else if (*message) {
        cli_say("%s: %s; run: gearsctl login %s", subject, message, cluster);
    } else {
        cli_say("%s: hop to %s needs your PASSCODE; run: gearsctl login %s", subject, cluster,
            cluster);
    }
    return EXIT_HUMAN;
}

static bool begins_with(const char *text, const char *word)
{
    size_t length = strlen(word);
    return !strncmp(text, word, length) && (!text[length] || strchr(" :,", text[length]));
}

/* Of any other kind: the message stands for itself, but must name what was meant: the service
 * with its cluster, or what a hop was needed for. */
static int say_failure(struct cli *cli, const char *method, const char *error, const char *full,
    const cJSON *parameters)
{
    const char *name = json_text(parameters, "name");
    const char *message = json_text(parameters, "message");
    bool hop = !strcmp(method, "Login") || !strcmp(method, "Logout") ||
               !strcmp(method, "Takeover") || !strcmp(method, "Cluster");
    const char *subject =
        (hop || (cli->remote && !*name)) && cli->subject ? cli->subject : full;
    char *renamed = cli->remote ? rename_hints(message, name, target_cluster(cli)) : NULL;
    const char *words = renamed && *renamed ? renamed : *message ? message : error;
    if (!hop && *name && begins_with(words, name)) {
        cli_say("%s%s", full, words + strlen(name));
    } else if (!*subject || begins_with(words, subject)) {
        cli_say("%s", words);
    } else {
        cli_say("%s: %s", subject, words);
    }
    free(renamed);
    return EXIT_FAILED;
}

static int say_error(
    struct cli *cli, const char *method, const char *error, const cJSON *parameters)
{
    const char *last = strrchr(error, '.');
    const char *name = json_text(parameters, "name"),
               *message = json_text(parameters, "message");
    const char *hint = json_text(parameters, "hint"), *cluster = target_cluster(cli);
    const char *at = *cluster ? "@" : "";
    char full[FULL_NAME_MOST];
    snprintf(full, sizeof full, "%s%s%s", name, *name ? at : "", *name ? cluster : "");
    last = last ? last + 1 : error;
    if (!strcmp(last, "NoSuchService") && !cli->remote && cli_is_cluster(cli, name)) {
        cli_say("%s is a cluster, not a service; see: gearsctl status @%s, or run: gearsctl "
                "attach %s",
            name, name, name);
        return EXIT_NO_SUCH;
    }
    if (!strcmp(last, "NoSuchService")) {
        cli_say("there is no service \"%s\"%s%s%s%s%s", full, *hint ? "; did you mean " : "",
            hint, *hint ? at : "", *hint ? cluster : "",
            *hint ? "?" : "; see: gearsctl status");
        if (!cli->remote) {
            elsewhere_say(&cli->home, name);
        }
        return EXIT_NO_SUCH;
    }
    if (!strcmp(last, "NoSuchCluster") || !strcmp(last, "HumanNeeded")) {
        return say_cluster_error(cli, last, parameters);
    }
    if (!strcmp(last, "NotRunning")) {
        cli_say("%s is %s; run: gearsctl start %s", full, json_text(parameters, "state"), full);
        return EXIT_NOT_RUNNING;
    }
    if (!strcmp(last, "TimedOut")) {
        cli_say("%s: timed out: %s", full, message);
        return EXIT_TIMED_OUT;
    }
    if (!strcmp(last, "InterfaceNotFound") || !strcmp(last, "MethodNotFound") ||
        !strcmp(last, "MethodNotImplemented") || !strcmp(last, "InvalidParameter")) {
        return say_incompatible(cli, method, last, parameters);
    }
    return say_failure(cli, method, error, full, parameters);
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

/* The connection itself failed: whose it was is to be said where that is not this host's. */
static void say_broken(const struct cli *cli, const struct error *err)
{
    if (cli->remote) {
        cli_say("%s: on the way to %s: %s; see: gearsctl status", cli->subject,
            target_cluster(cli), err->text);
    } else {
        cli_say("%s", err->text);
    }
}

static int receive(
    struct cli *cli, const char *method, int64_t timeout_ms, cJSON **reply, bool *continues)
{
    struct error err;
    char *error = NULL, silent[200];
    snprintf(silent, sizeof silent, "gearsd%s%s has not answered for 2 s; waiting, ^C gives up",
        cli->remote ? " on " : "", target_cluster(cli));
    watch_daemon_begin(cli->home.root, timeout_ms == CALL_TIMEOUT_MS ? silent : NULL);
    int code = varlink_client_receive(cli->client, timeout_ms, reply, &error, continues, &err);
    watch_end();
    if (code == -ECONNRESET && !cli->answered && cli->autostart && is_idempotent(method)) {
        *reply = NULL;
        return RETRY; /* it was dying as we connected: its successor can tell */
    }
    if (code) {
        *reply = NULL;
        say_broken(cli, &err);
        return code == -ETIMEDOUT ? EXIT_TIMED_OUT
               : code == -EBADMSG ? EXIT_INCOMPATIBLE
                                  : EXIT_UNREACHABLE;
    }
    cli->answered = true;
    target_stamp(cli, *reply);
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
        say_broken(cli, &err);
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
            if (cli->remote && (i > 1 || (code = target_revive(cli)))) {
                cJSON_Delete(copy);
                break; /* this host's gearsd is the one that can start it there, once */
            }
        }
        code = send_call(cli, method, copy, more);
        code = code ? code : receive(cli, method, timeout_ms, reply, continues);
    }
    cJSON_Delete(parameters);
    if (code == RETRY) {
        cli_say("gearsd%s%s closed the connection; see: gearsctl logs gearsd%s%s",
            cli->remote ? " on " : "", target_cluster(cli), cli->remote ? "@" : "",
            target_cluster(cli));
        code = EXIT_UNREACHABLE;
    }
    return code;
}

int cli_call(struct cli *cli, const char *method, cJSON *parameters, cJSON **reply)
{
    bool continues;
    return begin(cli, method, parameters, false, CALL_TIMEOUT_MS, reply, &continues);
}

int cli_begin(struct cli *cli, const char *method, cJSON *parameters, int64_t timeout_ms,
    cJSON **reply, bool *continues)
{
    return begin(cli, method, parameters, true, timeout_ms, reply, continues);
}

int cli_next(
    struct cli *cli, const char *method, int64_t timeout_ms, cJSON **reply, bool *continues)
{
    return receive(cli, method, timeout_ms, reply, continues);
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
