/* The orders and the program: parsed from the START frame, executed in a session of its own. */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/clock.h"
#include "common/proc.h"
#include "common/text.h"
#include "daemon/keeper/keeper.h"

static char **copy_list(const struct link_message *message, enum link_tag tag, size_t extra)
{
    size_t count = 0, length;
    while (link_find(message, tag, count, &length)) {
        count++;
    }
    char **list = calloc(count + extra + 1, sizeof *list);
    for (size_t i = 0; list && i < count; i++) {
        list[i] = link_copy_string(message, tag, i);
    }
    return list;
}

int orders_parse(const struct link_message *message, struct orders *orders, struct error *err)
{
    char assignment[80], *notify = NULL;
    orders->service = link_copy_string(message, LINK_TAG_SERVICE, 0);
    orders->nonce = link_copy_string(message, LINK_TAG_NONCE, 0);
    orders->link_path = link_copy_string(message, LINK_TAG_LINK_PATH, 0);
    orders->log_dir = link_copy_string(message, LINK_TAG_LOG_DIR, 0);
    orders->exit_record = link_copy_string(message, LINK_TAG_EXIT_RECORD, 0);
    orders->cwd = link_copy_string(message, LINK_TAG_CWD, 0);
    orders->ready_log = link_copy_string(message, LINK_TAG_READY_LOG, 0);
    orders->notify_path = link_copy_string(message, LINK_TAG_NOTIFY_PATH, 0);
    orders->kernels_path = link_copy_string(message, LINK_TAG_KERNELS_PATH, 0);
    orders->log_budget = link_u64(message, LINK_TAG_LOG_BUDGET, 64 << 20);
    orders->log_segment = link_u64(message, LINK_TAG_LOG_SEGMENT, 8 << 20);
    orders->log_total = link_u64(message, LINK_TAG_LOG_TOTAL, 0);
    orders->argv = copy_list(message, LINK_TAG_ARG, 0);
    orders->env = copy_list(message, LINK_TAG_ENV, 2);
    orders->limits = copy_list(message, LINK_TAG_RLIMIT, 0);
    if (!orders->service || !orders->nonce || !orders->link_path || !orders->log_dir ||
        !orders->exit_record || !orders->argv || !orders->argv[0] || !orders->env) {
        return error_set(err, -EINVAL, "the keeper's orders lack a field");
    }
    size_t count = 0;
    while (orders->env[count]) {
        count++;
    }
    snprintf(assignment, sizeof assignment, "GEARS_KEEPER=%s", orders->nonce);
    orders->env[count++] = strdup(assignment);
    if (orders->notify_path && asprintf(&notify, "NOTIFY_SOCKET=%s", orders->notify_path) > 0) {
        orders->env[count] = notify;
    }
    return 0;
}

static void apply_limits(char **limits)
{
    for (; limits && *limits; limits++) {
        uint64_t numbers[3]; /* of the resource, soft, hard */
        if (numbers_parse(*limits, numbers, 3) == 3) {
            struct rlimit limit = {numbers[1], numbers[2]};
            setrlimit((__rlimit_resource_t)numbers[0], &limit);
        }
    }
}

static const char *path_of(char **env)
{
    for (; *env; env++) {
        if (!strncmp(*env, "PATH=", 5)) {
            return *env + 5;
        }
    }
    return "/usr/local/bin:/usr/bin:/bin";
}

/* execve along the PATH of the new environment; returns the negative errno. */
static int exec_program(const struct orders *orders)
{
    const char *name = orders->argv[0];
    if (strchr(name, '/')) {
        execve(name, orders->argv, orders->env);
        return -errno;
    }
    int code = -ENOENT;
    for (const char *at = path_of(orders->env); at; at = strchr(at, ':')) {
        char path[PATH_MAX];
        at += *at == ':';
        int n = (int)strcspn(at, ":");
        if (snprintf(path, sizeof path, "%.*s/%s", n, at, name) < (int)sizeof path) {
            execve(path, orders->argv, orders->env);
            code = errno == ENOENT || errno == ENOTDIR ? code : -errno;
        }
    }
    return code;
}

/* In the child; never returns. Trouble goes up the pipe as { stage, errno }. */
static void become_program(const struct orders *orders, int out, int err_fd, int trouble)
{
    int report[2] = {0, 0};
    sigset_t none;
    sigemptyset(&none);
    for (int number = 1; number < 65; number++) {
        signal(number, SIG_DFL);
    }
    sigprocmask(SIG_SETMASK, &none, NULL);
    setsid();
    umask(077);
    int null = open("/dev/null", O_RDONLY | O_CLOEXEC);
    dup2(null, 0);
    dup2(out, 1);
    dup2(err_fd, 2);
    apply_limits(orders->limits);
    if (orders->cwd && chdir(orders->cwd)) {
        report[0] = 1;
        report[1] = errno;
    } else {
        report[1] = -exec_program(orders);
    }
    (void)!write(trouble, report, sizeof report);
    _exit(127);
}

static int set_up_pipes(int out[2], int err_pipe[2], int trouble[2])
{
    if (pipe2(out, O_CLOEXEC)) {
        return -errno;
    }
    if (pipe2(err_pipe, O_CLOEXEC)) {
        return -errno;
    }
    return pipe2(trouble, O_CLOEXEC) ? -errno : 0;
}

int keeper_spawn(struct keeper *keeper, struct error *err)
{
    int out[2], err_pipe[2], trouble[2], report[2];
    int code = set_up_pipes(out, err_pipe, trouble);
    if (code) {
        return error_errno(err, code, "cannot make pipes");
    }
    keeper->started_at_us = clock_utc_us();
    keeper->pid = fork();
    if (keeper->pid < 0) {
        return error_errno(err, -errno, "cannot fork");
    }
    if (keeper->pid == 0) {
        become_program(&keeper->orders, out[1], err_pipe[1], trouble[1]);
    }
    close(out[1]);
    close(err_pipe[1]);
    close(trouble[1]);
    struct proc_stat st;
    keeper->start_time = proc_stat_read(keeper->pid, &st) ? 0 : st.start_time;
    ssize_t n = read(trouble[0], report, sizeof report);
    close(trouble[0]);
    if (n == (ssize_t)sizeof report) {
        return report[0]
                   ? error_errno(
                         err, -report[1], "cannot change to the folder %s", keeper->orders.cwd)
                   : error_errno(err, -report[1], "cannot run %s", keeper->orders.argv[0]);
    }
    const int fds[2] = {out[0], err_pipe[0]};
    for (int i = 0; i < 2; i++) {
        fcntl(fds[i], F_SETFL, O_NONBLOCK);
        keeper->streams[i].fd = fds[i];
        keeper->streams[i].name = i ? 'e' : 'o';
    }
    return 0;
}
