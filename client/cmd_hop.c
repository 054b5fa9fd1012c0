/* login, logout, takeover: a hop's life as ordered by its user. */
#include <stdio.h>
#include <string.h>

#include "client/client.h"
#include "client/login.h"
#include "client/program.h"
#include "client/tunnels.h"

static int print_tunnel(struct cli *cli, const cJSON *tunnel)
{
    if (!cli->json) {
        return 0;
    }
    cJSON *out = cJSON_CreateObject();
    cJSON_AddNumberToObject(out, "schema", 1);
    cJSON_AddItemToObject(out, "tunnel", json_tunnel(tunnel));
    int code = cli_print_json(out, true);
    cJSON_Delete(out);
    return code;
}

static cJSON *cluster_parameters(const char *cluster)
{
    cJSON *parameters = cJSON_CreateObject();
    cJSON_AddStringToObject(parameters, "cluster", cluster);
    return parameters;
}

static void say_up(const cJSON *before, const cJSON *tunnel, bool force)
{
    const char *host = json_text(tunnel, "host"), *holder = json_text(tunnel, "held_by");
    const char *cluster = json_text(tunnel, "cluster");
    bool already = tunnel_is_open(before) && !force;
    cli_say("the hop to %s is %s%s%s%s", cluster, already ? "open already" : "open",
        *host ? ": " : "", host,
        strcmp(json_text(tunnel, "state"), "degraded") ? "" : ", but silent now");
    if (*holder) {
        cli_say("run/%s.sck is served on %s; run: gearsctl takeover %s to have it here",
            cluster, holder, cluster);
    }
}

int cmd_login(struct cli *cli, int argc, char **argv)
{
    struct login_wish wish = {0};
    cJSON *cluster = NULL, *tunnel = NULL;
    for (int i = 1; i < argc; i++) {
        if (!strcmp(argv[i], "--force")) {
            wish.force = true;
        } else if (!strcmp(argv[i], "--node") && i + 1 < argc) {
            wish.node = argv[++i];
        } else if (!strcmp(argv[i], "--node")) {
            return command_misuse(argv[0], "--node needs a value");
        } else if (argv[i][0] == '-') {
            return command_unknown_option(argv[0], argv[i]);
        } else if (wish.cluster) {
            return command_misuse(argv[0], "one CLUSTER only");
        } else {
            wish.cluster = argv[i];
        }
    }
    if (!wish.cluster) {
        return command_misuse(argv[0], "one CLUSTER is needed");
    }
    cli->subject = argv[0];
    int code = cli_call(cli, "Cluster", cluster_parameters(wish.cluster), &cluster);
    cli->subject = wish.cluster;
    code = code ? code : login_run(cli, &wish, &tunnel);
    if (!code) {
        say_up(cJSON_GetObjectItemCaseSensitive(cluster, "tunnel"), tunnel,
            wish.force || wish.node);
        code = print_tunnel(cli, tunnel);
    }
    cJSON_Delete(tunnel);
    cJSON_Delete(cluster);
    return code;
}

static int close_one(struct cli *cli, const char *cluster)
{
    cJSON *reply = NULL;
    int code = cli_call(cli, "Logout", cluster_parameters(cluster), &reply);
    if (!code) {
        cli_say("the hop to %s is closed; what runs there goes on", cluster);
        code = print_tunnel(cli, cJSON_GetObjectItemCaseSensitive(reply, "tunnel"));
    }
    cJSON_Delete(reply);
    return code;
}

static int close_all(struct cli *cli)
{
    cJSON *reply = NULL;
    const cJSON *tunnel;
    int count = 0, worst = cli_call(cli, "Status", cJSON_CreateObject(), &reply);
    cJSON_ArrayForEach(tunnel, cJSON_GetObjectItemCaseSensitive(reply, "tunnels"))
    {
        if (json_bool(tunnel, "wanted") || strcmp(json_text(tunnel, "state"), "down") != 0) {
            int code = close_one(cli, json_text(tunnel, "cluster"));
            worst = code ? code : worst;
            count++;
        }
    }
    if (!worst && !count) {
        cli_say("no hop is open");
    }
    cJSON_Delete(reply);
    return worst;
}

int cmd_logout(struct cli *cli, int argc, char **argv)
{
    cli->subject = argv[0];
    if (argc != 2) {
        return command_misuse(argv[0], "one CLUSTER or --all is needed");
    }
    if (!strcmp(argv[1], "--all")) {
        return close_all(cli);
    }
    return *argv[1] == '-' ? command_unknown_option(argv[0], argv[1]) : close_one(cli, argv[1]);
}

/* Another hub's users of the socket lose it: that is asked. */
static int confirm_takeover(const char *cluster, const char *holder)
{
    char question[300], command[120];
    snprintf(question, sizeof question,
        "%s serves run/%s.sck now; laptops connected through it lose it. Serve it here?",
        holder, cluster);
    snprintf(command, sizeof command, "gearsctl takeover %s --yes", cluster);
    return program_confirm(question, command);
}

int cmd_takeover(struct cli *cli, int argc, char **argv)
{
    const char *cluster = NULL;
    bool yes = false;
    for (int i = 1; i < argc; i++) {
        if (!strcmp(argv[i], "--yes")) {
            yes = true;
        } else if (argv[i][0] == '-') {
            return command_unknown_option(argv[0], argv[i]);
        } else if (cluster) {
            return command_misuse(argv[0], "one CLUSTER only");
        } else {
            cluster = argv[i];
        }
    }
    if (!cluster) {
        return command_misuse(argv[0], "one CLUSTER is needed");
    }
    cJSON *reply = NULL, *found = NULL;
    cli->subject = argv[0];
    int code = cli_call(cli, "Cluster", cluster_parameters(cluster), &found);
    const cJSON *before = cJSON_GetObjectItemCaseSensitive(found, "tunnel");
    const char *holder = json_text(before, "held_by");
    if (!code && *holder && !yes) {
        code = confirm_takeover(cluster, holder);
    }
    code = code ? code : cli_call(cli, "Takeover", cluster_parameters(cluster), &reply);
    if (!code) {
        const cJSON *tunnel = cJSON_GetObjectItemCaseSensitive(reply, "tunnel");
        char words[600];
        cli_say("run/%s.sck is served on %s%s%s", cluster, cli->home.host,
            *holder ? " now, no longer on " : "", holder);
        if (!tunnel_is_open(tunnel)) {
            tunnel_explain(tunnel, cluster, words, sizeof words);
            cli_say("%s: %s", cluster, words);
        }
        code = print_tunnel(cli, tunnel);
    }
    cJSON_Delete(found);
    cJSON_Delete(reply);
    return code;
}
