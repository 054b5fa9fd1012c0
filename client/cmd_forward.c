/* forward: a loopback port in front of a service's socket, explained where others share the
 * host. */
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "client/client.h"
#include "client/neighbours.h"
#include "client/program.h"
#include "client/target.h"

struct wish {
    const char *name;
    long long port; /* 0: any */
    bool drop, yes;
};

static int take_options(int argc, char **argv, struct wish *wish)
{
    struct error err;
    *wish = (struct wish){0};
    for (int i = 1; i < argc; i++) {
        if (!strcmp(argv[i], "--remove")) {
            wish->drop = true;
        } else if (!strcmp(argv[i], "--yes")) {
            wish->yes = true;
        } else if (argv[i][0] == '-') {
            return command_unknown_option(argv[0], argv[i]);
        } else if (!wish->name) {
            wish->name = argv[i];
        } else if (wish->port) {
            return command_misuse(argv[0], "one NAME and one PORT only");
        } else if (integer_parse(argv[i], 1024, 65535, &wish->port, &err)) {
            error_prefix(&err, "PORT");
            return command_misuse(argv[0], err.text);
        }
    }
    return wish->name ? 0 : command_misuse(argv[0], "a NAME is missing");
}

/* A port of this host in front of a hop is for a laptop of its own; ours has the socket. */
static int refuse_remote(const struct cli *cli, const char *name)
{
    const char *cluster = target_cluster(cli);
    if (!strcmp(name, json_text(target_tunnel(cli), "service"))) {
        cli_say("%s: no loopback port leads over a hop; your laptop reaches it by "
                "%s/run/%s.sck, see: gearsctl ssh-config %s",
            cli->subject, cli->home.root, cluster, cluster);
    } else {
        cli_say("%s: no loopback port leads over a hop; with \"forward = %s\" in [cluster:%s], "
                "add to the laptop's entry: LocalForward PORT %s/run/%s+%s.sck",
            cli->subject, name, cluster, cli->home.root, cluster, name);
    }
    return EXIT_FAILED;
}

/* The port that is open already, 0 for none; a negative exit code when nobody can say. */
static int current_port(struct cli *cli, const char *name)
{
    cJSON *reply = NULL;
    int port = 0, code = cli_call(cli, "Url", cli_name(name), &reply);
    const char *colon = strrchr(json_text(reply, "forward"), ':');
    if (colon) {
        (void)sscanf(colon, ":%d", &port);
    }
    cJSON_Delete(reply);
    return code ? -code : port;
}

/* 0, or the exit code of a refusal. */
static int explain(struct cli *cli, const struct wish *wish)
{
    char why[160], command[120];
    if (wish->yes || !neighbours_find(cli, why, sizeof why)) {
        return 0;
    }
    cli_say("%s is shared with other people (%s). A loopback port can be found and tried by\n"
            "  every program of every user here. Gears looks up who connects and lets in only\n"
            "  your uid; behind that, only %s's own token or password stands.\n"
            "  Your laptop needs no such port: \"gearsctl ssh-config\" leads to the private "
            "socket.\n"
            "  To close it again: gearsctl forward %s --remove",
        cli->home.host, why, wish->name, wish->name);
    snprintf(command, sizeof command, "gearsctl forward %s --yes", wish->name);
    if (wish->port) {
        snprintf(
            command, sizeof command, "gearsctl forward %s %lld --yes", wish->name, wish->port);
    }
    return program_confirm("Open the port?", command);
}

static int print_port(struct cli *cli, const char *name, int port)
{
    if (!cli->json) {
        printf("%d\n", port);
        return cli_flush();
    }
    cJSON *out = cJSON_CreateObject();
    cJSON_AddNumberToObject(out, "schema", 1);
    cJSON_AddStringToObject(out, "name", name);
    cJSON_AddItemToObject(out, "port", port ? cJSON_CreateNumber(port) : cJSON_CreateNull());
    int code = cli_print_json(out, false);
    cJSON_Delete(out);
    return code;
}

int cmd_forward(struct cli *cli, int argc, char **argv)
{
    struct wish wish;
    char name[NAME_MOST];
    cJSON *reply = NULL;
    int code = take_options(argc, argv, &wish);
    if (code) {
        return code;
    }
    code = target_take_service(cli, wish.name, TARGET_LOOK, name);
    if (code || cli->remote) {
        return cli->remote ? refuse_remote(cli, name) : code;
    }
    int port = current_port(cli, wish.name);
    if (port < 0) {
        return -port;
    }
    if (!wish.drop && port && (!wish.port || wish.port == port)) {
        return print_port(cli, wish.name, port);
    }
    if (!wish.drop && (code = explain(cli, &wish))) {
        return code;
    }
    cJSON *parameters = cli_name(wish.name);
    if (wish.port) {
        cJSON_AddNumberToObject(parameters, "port", (double)wish.port);
    }
    if (wish.drop) {
        cJSON_AddBoolToObject(parameters, "remove", true);
    }
    code = cli_call(cli, "Forward", parameters, &reply);
    port = (int)json_number(reply, "port");
    cJSON_Delete(reply);
    if (code || (wish.drop && !cli->json)) {
        return code;
    }
    return print_port(cli, wish.name, port);
}
