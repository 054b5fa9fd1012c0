/* gearsctl's entry: global options, the table of commands, help. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "client/client.h"

const struct command commands[] = {
    {"start", "start NAME [--workspace DIR] [--env NAME] [--no-wait] [--timeout D]",
        "start a service and wait until it is ready", "gearsctl start lab", cmd_service},
    {"stop", "stop NAME…", "stop services and everything they started", "gearsctl stop lab",
        cmd_service},
    {"restart", "restart NAME… [--no-wait] [--timeout D]", "stop and start again",
        "gearsctl restart lab", cmd_service},
    {"enable", "enable NAME…", "start whenever gearsd starts", "gearsctl enable lab",
        cmd_service},
    {"disable", "disable NAME…", "no longer start with gearsd", "gearsctl disable lab",
        cmd_service},
    {"reset-failed", "reset-failed NAME…", "forget that a service failed",
        "gearsctl reset-failed lab", cmd_service},
    {"remove", "remove NAME…", "forget a stopped service made by run", "gearsctl remove tb",
        cmd_service},
    {"status", "status [NAME] [--watch] [--usage] [--json]", "what is wanted and what is",
        "gearsctl status lab", cmd_status},
    {"logs", "logs NAME|gearsd|relay [-f] [-n N] [--since D] [--timestamps]",
        "output of a service", "gearsctl logs lab -f", cmd_logs},
    {"events", "events [-f] [--json]", "what happened", "gearsctl events -f", cmd_events},
    {"url", "url NAME [--open] [--json]", "the address to open, with its token",
        "gearsctl url lab --open", cmd_url},
    {"wait", "wait NAME [--for ready|stopped] [--timeout D]", "wait for a state",
        "gearsctl wait lab --for stopped", cmd_wait},
    {"run", "run NAME [--kind command] [--no-wait] [--timeout D] -- CMD…",
        "a supervised command; {socket} and {port} are filled in",
        "gearsctl run tb -- tensorboard --logdir runs --port {port}", cmd_run},
    {"signal", "signal NAME SIGNAL", "send a signal to the main process",
        "gearsctl signal lab USR1", cmd_signal},
    {"forward", "forward NAME [PORT] [--remove] [--yes] [--json]",
        "a loopback port, for your uid only", "gearsctl forward lab 38888", cmd_forward},
    {"init", "init", "folders, configuration, Python environment", "gearsctl init", cmd_init},
    {"password", "password [--stdin]", "set the password of Jupyter", "gearsctl password",
        cmd_password},
    {"ssh-config", "ssh-config", "an entry for the laptop's ssh_config", "gearsctl ssh-config",
        cmd_ssh_config},
    {"daemon", "daemon start|stop [--services] [--yes]|restart|upgrade|status", "gearsd itself",
        "gearsctl daemon status", cmd_daemon},
    {"config", "config check|show", "gears.conf, checked or as it counts",
        "gearsctl config check", cmd_config},
    {"call", "call METHOD [--more]", "any method of the protocol, parameters on stdin",
        "echo '{}' | gearsctl call Hello", cmd_call},
    {"version", "version", "the versions of client and daemon", "gearsctl version",
        cmd_version},
    {0}};

const struct command *command_find(const char *name)
{
    for (const struct command *c = commands; c->name; c++) {
        if (!strcmp(c->name, name)) {
            return c;
        }
    }
    return NULL;
}

int command_misuse(const char *name, const char *why)
{
    const struct command *command = command_find(name);
    cli_say("%s: %s; usage: gearsctl %s", name, why, command->usage);
    return EXIT_USAGE;
}

static void help(FILE *out)
{
    fputs("usage: gearsctl [--json] [--no-autostart] [--color=auto|always|never] COMMAND …\n\n",
        out);
    for (const struct command *c = commands; c->name; c++) {
        fprintf(out, "  %-13s %s\n", c->name, c->summary);
    }
    fputs("\ngearsctl COMMAND --help tells more. Example: gearsctl start lab\n", out);
}

static int command_help(const struct command *command)
{
    printf("usage: gearsctl %s\n\n%s\n\nExample: %s\n", command->usage, command->summary,
        command->example);
    return EXIT_DONE;
}

static int unknown(const char *name)
{
    const char *names[64];
    size_t count = 0;
    for (const struct command *c = commands; c->name && count < 63; c++) {
        names[count++] = c->name;
    }
    names[count] = NULL;
    const char *closest = closest_find(name, names);
    cli_say("there is no command \"%s\"%s%s%s", name, closest ? "; did you mean " : "",
        closest ? closest : "; see: gearsctl --help", closest ? "?" : "");
    return EXIT_USAGE;
}

/* Options that every command takes, wherever they stand before "--"; the rest is kept in place.
 */
static int take_globals(struct cli *cli, int argc, char **argv)
{
    int kept = 1;
    bool raw = false;
    const char *colour = "auto";
    for (int i = 1; i < argc; i++) {
        raw = raw || !strcmp(argv[i], "--");
        if (!raw && !strcmp(argv[i], "--json")) {
            cli->json = true;
        } else if (!raw && !strcmp(argv[i], "--no-autostart")) {
            cli->autostart = false;
        } else if (!raw && !strncmp(argv[i], "--color=", 8)) {
            colour = argv[i] + 8;
        } else {
            argv[kept++] = argv[i];
        }
    }
    argv[kept] = NULL;
    const char *none = getenv("NO_COLOR"), *term = getenv("TERM");
    cli->terminal = isatty(1);
    cli->colour =
        !strcmp(colour, "always") || (strcmp(colour, "never") != 0 && cli->terminal &&
                                         !(none && *none) && term && strcmp(term, "dumb") != 0);
    return kept;
}

int main(int argc, char **argv)
{
    struct cli cli = {.autostart = true};
    struct error err;
    umask(077);
    argc = take_globals(&cli, argc, argv);
    if (argc < 2 || !strcmp(argv[1], "--help") || !strcmp(argv[1], "help")) {
        help(argc < 2 ? stderr : stdout);
        return argc < 2 ? EXIT_USAGE : EXIT_DONE;
    }
    const struct command *command =
        command_find(!strcmp(argv[1], "--version") ? "version" : argv[1]);
    if (!command) {
        return unknown(argv[1]);
    }
    for (int i = 2; i < argc && strcmp(argv[i], "--") != 0; i++) {
        if (!strcmp(argv[i], "--help") || !strcmp(argv[i], "-h")) {
            return command_help(command);
        }
    }
    watch_start();
    if (home_init(&cli.home, &err)) {
        cli_say("%s", err.text);
        return EXIT_FAILED;
    }
    int code = command->run(&cli, argc - 1, argv + 1);
    varlink_client_close(cli.client);
    return code ? code : cli_flush();
}
