/* url, init, password, ssh-config, daemon, config, call, version. */
#include <errno.h>
#include <pwd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <termios.h>
#include <unistd.h>

#include "build_id.h"
#include "client/client.h"

int cmd_url(struct cli *cli, int argc, char **argv)
{
    cJSON *reply;
    if (argc != 2) {
        return command_misuse(argv[0], "one NAME is needed");
    }
    int code = cli_check_name(argv[1]);
    code = code ? code : cli_call(cli, "Url", cli_name(argv[1]), &reply);
    if (code) {
        return code;
    }
    const char *base = json_text(reply, "forward");
    base = *base ? base : json_text(reply, "laptop");
    if (cli->json) {
        cJSON_AddNumberToObject(reply, "schema", 1);
        char *text = cJSON_Print(reply);
        puts(text ? text : "");
        free(text);
    } else if (!*base) {
        cli_say("%s has no socket, so no address", argv[1]);
        code = EXIT_FAILED;
    } else {
        const char *token = json_text(reply, "token");
        printf("%s%s%s%s\n", base, json_text(reply, "path"), *token ? "?token=" : "", token);
    }
    cJSON_Delete(reply);
    return code;
}

static void share_path(char out[PATH_MAX + 64], const char *rest)
{
    char folder[PATH_MAX];
    cli_program_dir(folder);
    snprintf(out, PATH_MAX + 64, "%s/../share/%s", folder, rest);
}

int cmd_init(struct cli *cli, int argc, char **argv)
{
    char path[PATH_MAX + 64];
    if (argc != 1) {
        return command_misuse(argv[0], "it takes no arguments");
    }
    share_path(path, "libexec/init.sh");
    setenv("GEARS_HOME", cli->home.root, 1);
    execl("/bin/sh", "sh", path, (char *)NULL);
    cli_say("cannot run %s: %s", path, strerror(errno));
    return EXIT_FAILED;
}

/* One line from the terminal without echo. 0 or an exit code. */
static int ask(const char *prompt, char *out, size_t size)
{
    struct termios old, quiet;
    FILE *tty = fopen("/dev/tty", "r+e");
    if (!tty || tcgetattr(fileno(tty), &old)) {
        cli_say("no terminal; run: gearsctl password --stdin");
        return EXIT_HUMAN;
    }
    quiet = old;
    quiet.c_lflag &= ~(tcflag_t)ECHO;
    fputs(prompt, tty);
    fflush(tty);
    tcsetattr(fileno(tty), TCSAFLUSH, &quiet);
    char *line = fgets(out, (int)size, tty);
    tcsetattr(fileno(tty), TCSAFLUSH, &old);
    fputs("\n", tty);
    fclose(tty);
    out[line ? strcspn(out, "\n") : 0] = 0;
    return line ? 0 : EXIT_INTERRUPTED;
}

int cmd_password(struct cli *cli, int argc, char **argv)
{
    char path[PATH_MAX + 64], first[256] = "", second[256] = "";
    bool from_stdin = argc == 2 && !strcmp(argv[1], "--stdin");
    if (argc > 1 && !from_stdin) {
        return command_misuse(argv[0], "unknown option");
    }
    int code = 0;
    if (from_stdin) {
        code = fgets(first, sizeof first, stdin) ? 0 : EXIT_FAILED;
        first[strcspn(first, "\n")] = 0;
        memcpy(second, first, sizeof second);
    } else {
        code = ask("New password for JupyterLab: ", first, sizeof first);
        code = code ? code : ask("The same again: ", second, sizeof second);
    }
    if (!code && (strcmp(first, second) != 0 || !*first)) {
        cli_say("the two differ or are empty; nothing was changed");
        code = EXIT_FAILED;
    }
    share_path(path, "libexec/set-password");
    setenv("GEARS_HOME", cli->home.root, 1);
    char command[PATH_MAX + 80];
    snprintf(command, sizeof command, "exec /bin/sh '%s'", path);
    FILE *pipe = code ? NULL : popen(command, "we");
    if (pipe) {
        fprintf(pipe, "%s\n", first);
        int status = pclose(pipe);
        code = WIFEXITED(status) && WEXITSTATUS(status) == 0 ? 0 : EXIT_FAILED;
    }
    explicit_bzero(first, sizeof first);
    explicit_bzero(second, sizeof second);
    return code;
}

int cmd_ssh_config(struct cli *cli, int argc, char **argv)
{
    char host[256] = "", path[PATH_MAX];
    if (argc > 1) {
        cli_say("%s: no cluster \"%s\" is configured; hops are not part of this version",
            argv[0], argv[1]);
        return EXIT_NO_SUCH;
    }
    struct passwd *user = getpwuid(geteuid());
    gethostname(host, sizeof host - 1);
    home_path(&cli->home, path, "run", "lab.sck");
    printf("# Paste into ~/.ssh/config on your laptop; then: ssh %s-jupyter\n"
           "# and open http://localhost:38888 (the token: gearsctl url lab).\n"
           "Host %s-jupyter\n"
           "    HostName %s\n"
           "    User %s\n"
           "    LocalForward 38888 %s\n"
           "    ServerAliveInterval 15\n"
           "    ServerAliveCountMax 3\n"
           "    # A second window of this entry ends at once: the port is taken by the first.\n"
           "    ExitOnForwardFailure yes\n"
           "    ControlMaster no\n"
           "    ForwardAgent no\n",
        cli->home.host, cli->home.host, host, user ? user->pw_name : "YOU", path);
    return 0;
}

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
        if (!isatty(0)) {
            cli_say("this stops every service and its kernels; add --yes");
            return EXIT_HUMAN;
        }
        char answer[8] = "";
        fputs("Stop every service, kernels included? [y/N] ", stderr);
        if (!fgets(answer, sizeof answer, stdin) || (*answer != 'y' && *answer != 'Y')) {
            return EXIT_FAILED;
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
    char folder[PATH_MAX], command[PATH_MAX + 80];
    cli_program_dir(folder); /* without the daemon: a bad file may be why it does not start */
    snprintf(command, sizeof command, "exec '%s/gearsd' --self-check", folder);
    int status = system(command);
    int code = WIFEXITED(status) && WEXITSTATUS(status) == 0 ? 0 : EXIT_FAILED;
    if (!code) {
        puts("ok");
    }
    return code;
}

static int print_reply(struct cli *cli, const cJSON *reply, void *context)
{
    (void)cli;
    (void)context;
    char *text = cJSON_PrintUnformatted(reply);
    puts(text ? text : "");
    fflush(stdout);
    free(text);
    return 0;
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
        print_reply(cli, reply, NULL);
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
