/* gearsctl's entry: global options, help. */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "client/client.h"
#include "client/options.h"

static const char globals[] =
    "--json                     one object with \"schema\": 1; streams: one object a line\n"
    "--no-autostart             do not start gearsd\n"
    "--color=auto|always|never  auto: on a terminal, unless NO_COLOR is set or TERM is dumb\n"
    "A value may also stand behind its option: --color never, --timeout=90s, -n50.\n";

static void help(FILE *out)
{
    fputs("usage: gearsctl [--json] [--no-autostart] [--color=auto|always|never] COMMAND …\n\n",
        out);
    for (const struct command *c = commands; c->name; c++) {
        if (c->summary) {
            fprintf(out, "  %-13s %s\n", c->name, c->summary);
        }
    }
    fprintf(out,
        "\nOptions of every command:\n%s"
        "\nGEARS_HOME (now ~/gears unless set) holds everything. Exit status: 0 done, 1 "
        "failed,\n"
        "2 usage, 3 not running, 4 no such service or cluster, 5 daemon unreachable, 6 "
        "versions\n"
        "incompatible, 7 a human must decide or authenticate, 124 timed out, 130 interrupted.\n"
        "\ngearsctl COMMAND --help tells more. Example: gearsctl start lab\n",
        globals);
}

static int command_help(const struct command *command)
{
    printf("usage: gearsctl %s\n\n%s\n%s%s\nExample: %s\n", command->usage,
        command->summary ? command->summary : "Not part of this version.",
        *command->details ? "\n" : "", command->details, command->example);
    return cli_flush();
}

static int unknown(const char *name)
{
    const char *names[64];
    size_t count = 0;
    if (*name == '-') {
        cli_say("unknown option %s; see: gearsctl --help", name);
        return EXIT_USAGE;
    }
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
 * The new count, or 0 after a line about a wrong one. */
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
        } else if (!raw && !strcmp(argv[i], "--color")) {
            colour = i + 1 < argc ? argv[++i] : "";
        } else {
            argv[kept++] = argv[i];
        }
    }
    argv[kept] = NULL;
    bool always = !strcmp(colour, "always"), automatic = !strcmp(colour, "auto");
    if (!always && !automatic && strcmp(colour, "never") != 0) {
        cli_say("--color=%.40s is unknown; say auto, always or never", colour);
        return 0;
    }
    const char *none = getenv("NO_COLOR"), *term = getenv("TERM");
    cli->terminal = isatty(1);
    cli->colour = always || (automatic && cli->terminal && !(none && *none) && term &&
                                strcmp(term, "dumb") != 0);
    return kept;
}

static bool wants_help(int argc, char **argv)
{
    for (int i = 2; i < argc && strcmp(argv[i], "--") != 0; i++) {
        if (!strcmp(argv[i], "--help") || !strcmp(argv[i], "-h")) {
            return true;
        }
    }
    return false;
}

static int run(struct cli *cli, const struct command *command, int argc, char **argv)
{
    struct error err;
    watch_start();
    if (home_init(&cli->home, &err)) {
        cli_say("%s", err.text);
        return EXIT_FAILED;
    }
    /* A short one; where there is none yet, cli_connect sees to it. */
    home_find_run(&cli->home);
    int code = command->run(cli, argc, argv);
    cJSON_Delete(cli->remote);
    varlink_client_close(cli->client);
    return code ? code : cli_flush();
}

/* A standard descriptor that our parent closed must not become one of our sockets. */
static void fill_descriptors(void)
{
    for (int fd = open("/dev/null", O_RDWR); fd >= 0; fd = open("/dev/null", O_RDWR)) {
        if (fd > 2) {
            close(fd);
            break;
        }
        if (fd == 1) { /* what is printed is lost, and that is an error */
            close(fd);
            fd = open("/dev/null", O_RDONLY);
        }
    }
}

int main(int argc, char **argv)
{
    fill_descriptors();
    static const struct command complete = {.name = "__complete", .run = cmd_complete};
    struct cli cli = {.autostart = true};
    umask(077);
    if (argc > 1 && !strcmp(argv[1], complete.name)) { /* its words are not ours */
        return run(&cli, &complete, argc - 1, argv + 1);
    }
    argc = take_globals(&cli, argc, argv);
    if (!argc) {
        return EXIT_USAGE;
    }
    const char *name = argc > 1 ? argv[1] : "";
    if (!strcmp(name, "help") && argc > 2) {
        const struct command *command = command_find(argv[2]);
        return command ? command_help(command) : unknown(argv[2]);
    }
    if (argc < 2 || !strcmp(name, "--help") || !strcmp(name, "-h") || !strcmp(name, "help")) {
        help(argc < 2 ? stderr : stdout);
        return argc < 2 ? EXIT_USAGE : cli_flush();
    }
    const struct command *command = command_find(!strcmp(name, "--version") ? "version" : name);
    if (!command) {
        return unknown(name);
    }
    if (wants_help(argc, argv)) {
        return command_help(command);
    }
    argv = options_split(command->name, command->usage, &argc, argv);
    int code = argv ? run(&cli, command, argc - 1, argv + 1) : EXIT_USAGE;
    free(argv);
    return code;
}
