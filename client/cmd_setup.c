/* init, password, ssh-config: what is done once. */
#include <limits.h>
#include <pwd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <termios.h>
#include <unistd.h>

#include "client/client.h"
#include "client/program.h"

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
    return program_run((const char *[]){"/bin/sh", path, NULL}, NULL);
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
    watch_set_terminal(&old);
    tcsetattr(fileno(tty), TCSAFLUSH, &quiet);
    char *line = fgets(out, (int)size, tty);
    tcsetattr(fileno(tty), TCSAFLUSH, &old);
    watch_set_terminal(NULL);
    fputs("\n", tty);
    fclose(tty);
    out[line ? strcspn(out, "\n") : 0] = 0;
    return line ? 0 : EXIT_INTERRUPTED;
}

int cmd_password(struct cli *cli, int argc, char **argv)
{
    char path[PATH_MAX + 64], first[258] = "", second[258] = "";
    bool from_stdin = argc == 2 && !strcmp(argv[1], "--stdin");
    if (argc > 1 && !from_stdin) {
        return command_unknown_option(argv[0], argv[1]);
    }
    int code = 0;
    if (from_stdin) {
        (void)!fgets(first, sizeof first - 1, stdin);
        first[strcspn(first, "\n")] = 0;
        memcpy(second, first, sizeof second);
    } else {
        code = ask("New password for JupyterLab: ", first, sizeof first - 1);
        code = code ? code : ask("The same again: ", second, sizeof second - 1);
    }
    if (!code && (strcmp(first, second) != 0 || !*first)) {
        cli_say("the two differ or are empty; nothing was changed");
        code = EXIT_FAILED;
    }
    share_path(path, "libexec/set-password");
    setenv("GEARS_HOME", cli->home.root, 1);
    if (!code) {
        first[strlen(first)] = '\n'; /* its buffer has one byte more */
        code = program_run((const char *[]){"/bin/sh", path, NULL}, first);
    }
    explicit_bzero(first, sizeof first);
    explicit_bzero(second, sizeof second);
    return code;
}

int cmd_ssh_config(struct cli *cli, int argc, char **argv)
{
    char host[256] = "", path[PATH_MAX];
    for (int i = 1; i < argc; i++) {
        if (strcmp(argv[i], "--direct") != 0) {
            return *argv[i] == '-' ? command_unknown_option(argv[0], argv[i])
                                   : cmd_later(cli, argc, argv);
        }
    }
    struct passwd *user = getpwuid(geteuid());
    gethostname(host, sizeof host - 1);
    home_path(&cli->home, path, "run", "lab.sck");
    if (home_find_run(&cli->home) || cli->home.run[0]) {
        cli_say("%s is too long a path for a socket that ssh can reach (its present place in "
                "/tmp may change); set GEARS_HOME to a shorter one",
            cli->home.root);
        return EXIT_FAILED;
    }
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
