/* init, password: what is done once. */
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "client/client.h"
#include "client/program.h"
#include "client/terminal.h"

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
    struct error err;
    int code = terminal_ask_secret(prompt, out, size, &err);
    if (code == -ENODATA) {
        return EXIT_INTERRUPTED;
    }
    if (code == -EMSGSIZE) {
        cli_say("a password has at most 256 bytes; nothing was changed");
        return EXIT_FAILED;
    }
    if (code) {
        cli_say("no terminal; run: gearsctl password --stdin");
        return EXIT_HUMAN;
    }
    return 0;
}

/* One line from standard input, past stdio, whose buffer would keep it. 0 or an exit code. */
static int read_stdin(char *out, size_t size)
{
    size_t used = 0;
    ssize_t n = 1;
    while (n > 0 && used < size && !memchr(out, '\n', used)) {
        n = read(0, out + used, size - used);
        used += n > 0 ? (size_t)n : 0;
    }
    char *end = memchr(out, '\n', used);
    if (n < 0) {
        cli_say("standard input cannot be read: %s; nothing was changed", strerror(errno));
        return EXIT_FAILED;
    }
    if (!end && used == size) {
        cli_say("a password has at most 256 bytes; nothing was changed");
        return EXIT_FAILED;
    }
    size_t length = end ? (size_t)(end - out) : used;
    if (length == 0 || memchr(out, 0, length)) {
        cli_say(length ? "a password has no NUL in it; nothing was changed"
                       : "no password stands on standard input; nothing was changed");
        return EXIT_FAILED;
    }
    explicit_bzero(out + length, size - length);
    return 0;
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
        code = read_stdin(first, sizeof first - 1);
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
