/* Reaching gearsd, starting it when nobody serves: many clients at once start exactly one,
 * because gearsd itself settles the race and tells each of them when it is ready. */
#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "client/client.h"
#include "client/target.h"
#include "common/clock.h"

enum { START_MS = 15000, CONNECT_MS = 5000 };

void cli_program_dir(char out[PATH_MAX])
{
    char self[PATH_MAX];
    ssize_t n = readlink("/proc/self/exe", self, sizeof self - 1);
    self[n > 0 ? n : 0] = 0;
    snprintf(out, PATH_MAX, "%s", dirname(self));
}

static void exec_daemon(const char *path, int ready)
{
    char number[16];
    setsid();
    watch_undo_in_child();
    int fd = fcntl(ready, F_DUPFD, 10);
    snprintf(number, sizeof number, "%d", fd);
    execl(path, path, "--ready-fd", number, (char *)NULL);
    dprintf(fd, "error: cannot run %s: %s\n", path, strerror(errno));
    _exit(127);
}

/* The daemon's one line: "ready", or "error: words". */
static int read_answer(int fd, char *out, size_t size)
{
    size_t used = 0;
    int64_t until = clock_monotonic_ms() + START_MS;
    for (;;) {
        int64_t left = until - clock_monotonic_ms();
        struct pollfd item = {.fd = fd, .events = POLLIN};
        int n = poll(&item, 1, (int)(left > 0 ? left : 0));
        if (n == 0 && left <= 0) {
            return -ETIMEDOUT;
        }
        ssize_t got = n > 0 ? read(fd, out + used, size - 1 - used) : -1;
        if (got == 0 || (got > 0 && memchr(out + used, '\n', (size_t)got))) {
            out[used + (size_t)got] = 0;
            out[strcspn(out, "\n")] = 0;
            return 0;
        }
        used += got > 0 ? (size_t)got : 0;
    }
}

/* Start gearsd without asking it anything; 0 or an exit code. */
static int start_daemon(struct cli *cli)
{
    char path[PATH_MAX + 16], folder[PATH_MAX], answer[700] = "";
    int ready[2];
    cli_program_dir(folder);
    snprintf(path, sizeof path, "%s/gearsd", folder);
    if (pipe2(ready, O_CLOEXEC)) {
        cli_say("cannot make a pipe: %s", strerror(errno));
        return EXIT_UNREACHABLE;
    }
    fflush(NULL);
    pid_t pid = fork();
    if (pid == 0) {
        if (fork() == 0) {
            exec_daemon(path, ready[1]);
        }
        _exit(0);
    }
    close(ready[1]);
    while (pid > 0 && waitpid(pid, NULL, 0) < 0 && errno == EINTR) {
    }
    watch_daemon_begin(cli->home.root, "gearsd has not come up for 2 s; waiting, ^C gives up");
    int code = read_answer(ready[0], answer, sizeof answer);
    watch_end();
    close(ready[0]);
    if (!code && !strcmp(answer, "ready")) {
        return 0;
    }
    cli_say("gearsd did not start: %s", code                             ? "no answer in 15 s"
                                        : !strncmp(answer, "error: ", 7) ? answer + 7
                                        : *answer                        ? answer
                                                  : "it ended without a word");
    return EXIT_UNREACHABLE;
}

int cli_connect(struct cli *cli)
{
    char path[PATH_MAX];
    struct error err;
    int code = 0;
    if (cli->client || cli->remote) {
        return cli->client ? 0 : target_connect(cli);
    }
    bool made = !home_find_run(&cli->home); /* not there: nobody serves */
    if (home_path(&cli->home, path, "run", "gearsd.sck")) {
        cli_say("%s: path too long", cli->home.root);
        return EXIT_UNREACHABLE;
    }
    watch_home_begin(cli->home.root, "connecting to gearsd");
    cli->client = made ? varlink_client_open(path, CONNECT_MS, &err, &code) : NULL;
    code = made ? code : -ENOENT;
    watch_end();
    if (!cli->client && (code == -ENOENT || code == -ECONNREFUSED || code == -ENOTDIR)) {
        if (!cli->autostart) {
            cli_say("gearsd does not run on %s; run: gearsctl daemon start", cli->home.host);
            return EXIT_UNREACHABLE;
        }
        int exit_code = start_daemon(cli);
        if (exit_code) {
            return exit_code;
        }
        if (home_find_run(&cli->home) || home_path(&cli->home, path, "run", "gearsd.sck")) {
            cli_say("gearsd has left no folder for its sockets; see: gearsctl doctor");
            return EXIT_UNREACHABLE;
        }
        cli->client = varlink_client_open(path, CONNECT_MS, &err, &code);
    }
    if (!cli->client) {
        cli_say("%s", err.text);
        return EXIT_UNREACHABLE;
    }
    return 0;
}

struct cli cli_fork(const struct cli *cli, const char *subject)
{
    return (struct cli){.home = cli->home,
        .json = cli->json,
        .autostart = cli->autostart,
        .colour = cli->colour,
        .terminal = cli->terminal,
        .subject = subject};
}

void cli_fork_end(struct cli *fork)
{
    target_leave(fork);
    varlink_client_close(fork->client);
    fork->client = NULL;
}
