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
#include "common/limits.h"
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

/* What went wrong in the child: sent up a pipe. */
struct trouble {
    enum { STAGE_LIMITS, STAGE_FOLDER, STAGE_PROGRAM } stage;
    int code;  /* negative errno */
    int limit; /* which of the orders' */
};

/* A limit as gearsd sends it: resource, soft, hard. */
static bool read_limit(const char *text, int *resource, struct rlimit *limit)
{
    uint64_t numbers[3];
    if (numbers_parse(text, numbers, 3) != 3) {
        return false;
    }
    *resource = (int)numbers[0];
    *limit = (struct rlimit){numbers[1], numbers[2]};
    return true;
}

/* Those that are as they should be are left alone: setting even them may be refused when the
 * system's own bound was lowered. */
static int apply_limits(char **limits, int *which)
{
    for (*which = 0; limits && limits[*which]; ++*which) {
        int resource;
        struct rlimit limit, now;
        if (!read_limit(limits[*which], &resource, &limit)) {
            continue;
        }
        bool same = !getrlimit((__rlimit_resource_t)resource, &now) &&
                    now.rlim_cur == limit.rlim_cur && now.rlim_max == limit.rlim_max;
        if (!same && setrlimit((__rlimit_resource_t)resource, &limit)) {
            return -errno;
        }
    }
    return 0;
}

static void format_limit(rlim_t value, char *out, size_t size)
{
    if (value == RLIM_INFINITY) {
        snprintf(out, size, "unlimited");
    } else {
        snprintf(out, size, "%llu", (unsigned long long)value);
    }
}

static int explain_limit(const char *text, int code, struct error *err)
{
    struct rlimit wanted = {0}, session = {0};
    char value[24], most[24];
    int resource = -1;
    const char *name = "a limit";
    read_limit(text, &resource, &wanted);
    for (size_t i = 0; i < LIMIT_NAMES; i++) {
        name = limit_names[i].resource == resource ? limit_names[i].name : name;
    }
    format_limit(wanted.rlim_max, value, sizeof value);
    if (code != -EPERM || getrlimit((__rlimit_resource_t)resource, &session)) {
        return error_errno(err, code, "cannot set %s to %s", name, value);
    }
    format_limit(session.rlim_max, most, sizeof most);
    return error_set(
        err, code, "cannot set %s to %s (the session's most is %s)", name, value, most);
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

/* In the child; never returns. */
static void become_program(const struct orders *orders, int out, int err_fd, int report)
{
    struct trouble trouble = {.stage = STAGE_LIMITS};
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
    trouble.code = apply_limits(orders->limits, &trouble.limit);
    if (!trouble.code && orders->cwd && chdir(orders->cwd)) {
        trouble.stage = STAGE_FOLDER;
        trouble.code = -errno;
    }
    if (!trouble.code) {
        trouble.stage = STAGE_PROGRAM;
        trouble.code = exec_program(orders);
    }
    (void)!write(report, &trouble, sizeof trouble);
    _exit(127);
}

static int explain(
    const struct orders *orders, const struct trouble *trouble, struct error *err)
{
    switch (trouble->stage) {
    case STAGE_LIMITS:
        return explain_limit(orders->limits[trouble->limit], trouble->code, err);
    case STAGE_FOLDER:
        return error_errno(err, trouble->code, "cannot change to the folder %s", orders->cwd);
    case STAGE_PROGRAM:
        break;
    }
    return error_errno(err, trouble->code, "cannot run %s", orders->argv[0]);
}

static int set_up_pipes(int out[2], int err_pipe[2], int report[2])
{
    if (pipe2(out, O_CLOEXEC)) {
        return -errno;
    }
    if (pipe2(err_pipe, O_CLOEXEC)) {
        return -errno;
    }
    return pipe2(report, O_CLOEXEC) ? -errno : 0;
}

int keeper_spawn(struct keeper *keeper, struct error *err)
{
    int out[2], err_pipe[2], report[2];
    struct trouble trouble;
    int code = set_up_pipes(out, err_pipe, report);
    if (code) {
        return error_errno(err, code, "cannot make pipes");
    }
    keeper->started_at_us = clock_utc_us();
    keeper->pid = fork();
    if (keeper->pid < 0) {
        return error_errno(err, -errno, "cannot fork");
    }
    if (keeper->pid == 0) {
        become_program(&keeper->orders, out[1], err_pipe[1], report[1]);
    }
    close(out[1]);
    close(err_pipe[1]);
    close(report[1]);
    struct proc_stat st;
    keeper->start_time = proc_stat_read(keeper->pid, &st) ? 0 : st.start_time;
    ssize_t n = read(report[0], &trouble, sizeof trouble);
    close(report[0]);
    if (n == (ssize_t)sizeof trouble) {
        return explain(&keeper->orders, &trouble, err);
    }
    const int fds[2] = {out[0], err_pipe[0]};
    for (int i = 0; i < 2; i++) {
        fcntl(fds[i], F_SETFL, O_NONBLOCK);
        keeper->streams[i].fd = fds[i];
        keeper->streams[i].name = i ? 'e' : 'o';
    }
    return 0;
}
