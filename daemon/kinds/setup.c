/* A service's `modules` and `setup` lines: run once before a start by a login bash in a session
 * of its own, which then tells its environment through a pipe. Called by prepare.c. */
#include "daemon/kinds/setup.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "common/clock.h"
#include "daemon/core/session_limits.h"

enum {
    RESULT_FD = 197, /* in the shell; a number that start-up files do not use */
    /* Of the environment: it travels in one LINK_FRAME_LIMIT frame. */
    RESULT_LIMIT = 100 * 1024,
    OUTPUT_KEPT = 4096,
    WAIT_STEP_MS = 20, /* without pidfd (Linux < 5.3) the shell's end is asked for this often */
};

/* $1 is the folder, the others are modules. The last line of `setup` decides whether it worked:
 * to start a service with half an environment would only fail later and less clearly. */
static const char BEFORE[] = "cd -- \"$1\" || exit\n"
                             "shift\n"
                             "for gears_module do\n"
                             "    module load \"$gears_module\" || {\n"
                             "        printf 'failed=%s\\0' \"$gears_module\" >&197\n"
                             "        exit 1\n"
                             "    }\n"
                             "done\n"
                             "unset gears_module\n"
                             "set --\n";
static const char AFTER[] = "\ngears_status=$?\n"
                            "[ \"$gears_status\" = 0 ] || exit \"$gears_status\"\n"
                            "command -p env -0 >&197\n";

struct run {
    pid_t pid;
    int output, result, pidfd; /* our ends; -1 when closed */
    struct text words, environment;
    bool too_long;
};

static void close_fd(int *fd)
{
    if (*fd >= 0) {
        close(*fd);
        *fd = -1;
    }
}

static int spawn(struct run *run, char **argv, char **env, const int output[2],
    const int result[2], struct error *err)
{
    posix_spawn_file_actions_t actions;
    posix_spawnattr_t attributes;
    sigset_t none, all;
    posix_spawn_file_actions_init(&actions);
    posix_spawn_file_actions_addopen(&actions, 0, "/dev/null", O_RDONLY, 0);
    posix_spawn_file_actions_adddup2(&actions, output[1], 1);
    posix_spawn_file_actions_adddup2(&actions, output[1], 2);
    posix_spawn_file_actions_adddup2(&actions, result[1], RESULT_FD);
    posix_spawnattr_init(&attributes);
    sigemptyset(&none);
    sigfillset(&all);
    posix_spawnattr_setsigmask(&attributes, &none);
    posix_spawnattr_setsigdefault(&attributes, &all);
    posix_spawnattr_setflags(
        &attributes, POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF | POSIX_SPAWN_SETSID);
    int code = -posix_spawn(&run->pid, "/bin/bash", &actions, &attributes, argv, env);
    posix_spawn_file_actions_destroy(&actions);
    posix_spawnattr_destroy(&attributes);
    if (!code) {
        session_limits_restore(run->pid);
    }
    return code ? error_errno(err, code, "cannot run /bin/bash for modules and setup") : 0;
}

static int start(struct run *run, char **argv, char **env, struct error *err)
{
    int output[2] = {-1, -1}, result[2] = {-1, -1};
    int code = pipe2(output, O_CLOEXEC) || pipe2(result, O_CLOEXEC) ? -errno : 0;
    code = code ? error_errno(err, code, "cannot make a pipe")
                : spawn(run, argv, env, output, result, err);
    close_fd(&output[1]);
    close_fd(&result[1]);
    if (code) {
        close_fd(&output[0]);
        close_fd(&result[0]);
        return code;
    }
    run->output = output[0];
    run->result = result[0];
    run->pidfd = (int)syscall(SYS_pidfd_open, run->pid, 0);
    fcntl(run->output, F_SETFL, O_NONBLOCK);
    fcntl(run->result, F_SETFL, O_NONBLOCK);
    return 0;
}

/* Read what is there; closes at the end of the pipe. */
static void drain(int *fd, struct text *text)
{
    char buffer[4096];
    for (ssize_t n = 1; n > 0;) {
        n = *fd < 0 ? 0 : read(*fd, buffer, sizeof buffer);
        if (n > 0) {
            text_append(text, buffer, (size_t)n);
        } else if (n == 0 || (errno != EAGAIN && errno != EINTR)) {
            close_fd(fd);
        }
        if (text->length > 2 * RESULT_LIMIT) {
            return;
        }
    }
}

static void collect(struct run *run)
{
    drain(&run->output, &run->words);
    drain(&run->result, &run->environment);
    if (run->words.length > 2 * OUTPUT_KEPT) { /* only the end is ever shown */
        memmove(run->words.data, run->words.data + run->words.length - OUTPUT_KEPT,
            OUTPUT_KEPT + 1);
        run->words.length = OUTPUT_KEPT;
    }
    if (run->environment.length > RESULT_LIMIT) {
        run->too_long = true;
        close_fd(&run->result);
    }
}

static bool has_ended(const struct run *run)
{
    siginfo_t info = {0};
    return !waitid(P_PID, (id_t)run->pid, &info, WEXITED | WNOHANG | WNOWAIT) &&
           info.si_pid == run->pid;
}

/* Until the shell ends or time is up; the wait status, or -ETIMEDOUT. What it left in the
 * background goes with it: nobody would ever stop that. */
static int await(struct run *run, int64_t timeout_ms)
{
    int64_t deadline = clock_monotonic_ms() + timeout_ms, left = timeout_ms;
    int status = 0;
    bool ended = false;
    while (!ended && left > 0) {
        struct pollfd fds[] = {{.fd = run->output, .events = POLLIN},
            {.fd = run->result, .events = POLLIN}, {.fd = run->pidfd, .events = POLLIN}};
        poll(fds, 3, run->pidfd >= 0 || left < WAIT_STEP_MS ? (int)left : WAIT_STEP_MS);
        ended = has_ended(run);
        collect(run);
        left = deadline - clock_monotonic_ms();
    }
    kill(-run->pid, SIGKILL);
    while (waitpid(run->pid, &status, 0) < 0 && errno == EINTR) {
        /* it was killed or has ended */
    }
    return ended ? status : -ETIMEDOUT;
}

/* What makes sense in the shell only, or leads back to the session gearsd was started from. */
static bool is_foreign(const char *assignment)
{
    static const char *const names[] = {"DISPLAY=", "XAUTHORITY=", "WAYLAND_DISPLAY=", "STY=",
        "DBUS_SESSION_BUS_ADDRESS=", "NOTIFY_SOCKET=", "JUPYTER_TOKEN=", "PWD=", "OLDPWD=",
        "SHLVL=", "_=", "SSH_", "TMUX", "XDG_SESSION_", "LISTEN_", "GEARS_"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        if (!strncmp(assignment, names[i], strlen(names[i]))) {
            return true;
        }
    }
    return false;
}

static void take_environment(const struct text *text, struct list *env)
{
    const char *data = text_string(text);
    for (size_t at = 0; at < text->length; at += strlen(data + at) + 1) {
        const char *equals = strchr(data + at, '=');
        if (equals && equals > data + at && !is_foreign(data + at)) {
            list_set(env, "%s", data + at);
        }
    }
}

static int judge(
    const struct service_config *service, const struct run *run, int status, struct error *err)
{
    const char *what = service->setup ? "setup" : "modules", *last = text_string(&run->words);
    char words[300];
    size_t length = run->words.length;
    while (length && strchr("\r\n ", last[length - 1])) {
        length--;
    }
    size_t skip = length > 200 ? length - 200 : 0;
    visible_format(last + skip, length - skip, words, sizeof words);
    if (status == -ETIMEDOUT) {
        return error_set(
            err, -ETIMEDOUT, "%s did not end in time; it said last: %s", what, words);
    }
    if (run->too_long) { /* before the status: the shell could not write the rest */
        return error_set(err, -E2BIG, "%s leaves more than %d KiB of environment", what,
            RESULT_LIMIT / 1024);
    }
    if (status && !strncmp(text_string(&run->environment), "failed=", 7)) {
        return error_set(err, -EINVAL, "module load %.100s failed: %s",
            text_string(&run->environment) + 7, words);
    }
    /* Environment Modules before 4 report a missing module, but no status. */
    if (service->modules && strstr(last, ":ERROR:")) {
        return error_set(
            err, -EINVAL, "module load %.100s failed: %s", service->modules, words);
    }
    if (status) {
        return error_set(err, -EINVAL, "%s ended with %s %d; it said last: %s", what,
            WIFSIGNALED(status) ? "signal" : "status",
            WIFSIGNALED(status) ? WTERMSIG(status) : WEXITSTATUS(status), words);
    }
    if (!run->environment.length || run->environment.failed) {
        return error_set(
            err, -EINVAL, "%s ends the shell itself; remove its exit or exec", what);
    }
    return 0;
}

int setup_run(const struct service_config *service, const char *cwd, int64_t timeout_ms,
    struct list *env, struct error *err)
{
    struct run run = {.output = -1, .result = -1, .pidfd = -1};
    struct list argv = {0}, fresh = {0};
    char *modules = strdup(service->modules ? service->modules : ""), *save = NULL;
    list_add(&argv, "bash");
    list_add(&argv, "-lc");
    list_add(&argv, "%s%s%s", BEFORE, service->setup ? service->setup : "", AFTER);
    list_add(&argv, "bash");
    list_add(&argv, "%s", cwd);
    for (char *word = modules ? strtok_r(modules, " \t\n,", &save) : NULL; word;
         word = strtok_r(NULL, " \t\n,", &save)) {
        list_add(&argv, "%s", word);
    }
    int code = argv.failed || env->failed || !modules
                   ? error_set(err, -ENOMEM, "out of memory")
                   : start(&run, argv.items, env->items, err);
    if (!code) {
        int status = await(&run, timeout_ms);
        collect(&run);
        code = judge(service, &run, status, err);
    }
    if (!code) {
        take_environment(&run.environment, &fresh);
        list_free(env);
        *env = fresh;
    }
    close_fd(&run.output);
    close_fd(&run.result);
    close_fd(&run.pidfd);
    text_finish(&run.words);
    text_finish(&run.environment);
    list_free(&argv);
    free(modules);
    return code;
}
