/* The way to a cluster's gearsd: this host's gearsd knows the hop and its control socket, where
 * the remote one is spoken to exactly as the local one. Called by every command with a NAME. */
#include "client/target.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "client/login.h"
#include "client/rename.h"
#include "client/tunnels.h"

enum { CONNECT_MS = 5000 };

const cJSON *target_tunnel(const struct cli *cli)
{
    return cJSON_GetObjectItemCaseSensitive(cli->remote, "tunnel");
}

const char *target_cluster(const struct cli *cli)
{
    return json_text(cli->remote, "name");
}

void target_leave(struct cli *cli)
{
    if (cli->remote) {
        cJSON_Delete(cli->remote);
        varlink_client_close(cli->client);
        cli->remote = NULL;
        cli->client = NULL;
        cli->answered = false;
    }
}

static void replace_tunnel(struct cli *cli, cJSON *tunnel)
{
    if (tunnel) {
        cJSON_DeleteItemFromObjectCaseSensitive(cli->remote, "tunnel");
        cJSON_AddItemToObject(cli->remote, "tunnel", tunnel);
    }
}

static int refuse(const struct cli *cli, enum target_wish wish)
{
    const cJSON *tunnel = target_tunnel(cli);
    bool human = tunnel_needs_human(tunnel);
    char words[600];
    if (wish != TARGET_LOOK) {
        tunnel_explain(tunnel, target_cluster(cli), words, sizeof words);
        cli_say("%s: %s", cli->subject, words);
    }
    return human ? EXIT_HUMAN : EXIT_FAILED;
}

/* Ask this host's gearsd about the cluster, and leave its connection for the control socket. */
static int find_cluster(struct cli *cli, const char *cluster, enum target_wish wish)
{
    cJSON *reply = NULL, *tunnel = NULL;
    cJSON *parameters = cJSON_CreateObject();
    cJSON_AddStringToObject(parameters, "cluster", cluster);
    int code = cli_call(cli, "Cluster", parameters, &reply);
    varlink_client_close(cli->client);
    cli->client = NULL;
    cli->answered = false;
    if (code) {
        return code;
    }
    cli->remote = reply;
    if (!tunnel_is_open(target_tunnel(cli)) && wish == TARGET_LOGIN) {
        code = login_run(cli, &(struct login_wish){.cluster = cluster}, &tunnel);
        replace_tunnel(cli, tunnel);
        if (code) {
            return code;
        }
    }
    if (!tunnel_is_open(target_tunnel(cli))) {
        return refuse(cli, wish);
    }
    if (!strcmp(json_text(target_tunnel(cli), "state"), "degraded") && wish != TARGET_LOOK) {
        cli_say("%s: the hop to %s is silent (%s); waiting for it", cli->subject, cluster,
            json_text(target_tunnel(cli), "message"));
    }
    return 0;
}

int target_take(
    struct cli *cli, const char *argument, enum target_wish wish, char name[NAME_MOST])
{
    const char *at = strchr(argument, '@');
    size_t length = at ? (size_t)(at - argument) : strlen(argument);
    cli->subject = argument;
    if (length >= NAME_MOST || (at && !at[1])) {
        cli_say("\"%.60s\" is no name; say NAME or NAME@CLUSTER", argument);
        return EXIT_USAGE;
    }
    memcpy(name, argument, length);
    name[length] = 0;
    if (at && cli->remote && !strcmp(target_cluster(cli), at + 1) &&
        tunnel_is_open(target_tunnel(cli))) {
        return 0;
    }
    target_leave(cli);
    return at ? find_cluster(cli, at + 1, wish) : 0;
}

int target_take_service(
    struct cli *cli, const char *argument, enum target_wish wish, char name[NAME_MOST])
{
    if (!*argument || *argument == '@') {
        cli_say("\"%.60s\" names no service; say NAME or NAME@CLUSTER", argument);
        return EXIT_USAGE;
    }
    return target_take(cli, argument, wish, name);
}

int target_connect(struct cli *cli)
{
    struct error err;
    const char *path = json_text(target_tunnel(cli), "control");
    if (!*path) {
        cli_say(
            "%s: gearsd tells no way to its namesake on %s", cli->subject, target_cluster(cli));
        return EXIT_UNREACHABLE;
    }
    cli->client = varlink_client_open(path, CONNECT_MS, &err, NULL);
    if (!cli->client) {
        cli_say("%s: %s; see: gearsctl status", cli->subject, err.text);
        return EXIT_UNREACHABLE;
    }
    return 0;
}

int target_revive(struct cli *cli)
{
    cJSON *tunnel = NULL;
    const struct login_wish wish = {.cluster = target_cluster(cli), .alone = true};
    int code = login_run(cli, &wish, &tunnel);
    replace_tunnel(cli, tunnel);
    return code;
}

static void rename_in(cJSON *object, const char *key, const char *name, const char *cluster)
{
    cJSON *item = cJSON_GetObjectItemCaseSensitive(object, key);
    char *text = cJSON_IsString(item) ? rename_hints(item->valuestring, name, cluster) : NULL;
    if (text) {
        cJSON_SetValuestring(item, text);
    }
    free(text);
}

static void stamp_service(cJSON *service, const char *cluster)
{
    const char *name = json_text(service, "name");
    cJSON_DeleteItemFromObjectCaseSensitive(service, "cluster");
    cJSON_AddStringToObject(service, "cluster", cluster);
    rename_in(service, "cause", name, cluster);
    rename_in(cJSON_GetObjectItemCaseSensitive(service, "health"), "message", name, cluster);
    rename_in(cJSON_GetObjectItemCaseSensitive(service, "exit"), "note", name, cluster);
}

void target_stamp(const struct cli *cli, cJSON *reply)
{
    cJSON *service = cJSON_GetObjectItemCaseSensitive(reply, "service");
    if (!cli->remote) {
        return;
    }
    if (cJSON_IsObject(service)) {
        stamp_service(service, target_cluster(cli));
    }
    cJSON_ArrayForEach(service, cJSON_GetObjectItemCaseSensitive(reply, "services"))
    {
        stamp_service(service, target_cluster(cli));
    }
    /* Its own hops are not ours. */
    cJSON_DeleteItemFromObjectCaseSensitive(reply, "tunnels");
}
