/* What gearsd is asked that takes a worker's time: to read its files again, to become another
 * gearsd. Called through struct control_calls, and by main.c for SIGHUP. */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "common/clock.h"
#include "daemon/core/config_job.h"
#include "daemon/core/log.h"
#include "daemon/core/session_limits.h"
#include "daemon/main/daemon.h"

enum {
    SELF_CHECK_MS = 30000,
    KILLED_MS = 1000,
    WAIT_STEP_MS = 20, /* without pidfd (Linux < 5.3) the child's end is asked for this often */
};

/* Who waits for a reload or an upgrade; kept while a worker reads files. */
struct request {
    struct daemon *daemon;
    char path[PATH_MAX]; /* of the new gearsd */
    manager_done *done;  /* NULL: nobody */
    void *context;
};

static void finish_request(struct request *request, int code, const struct error *err)
{
    if (request->done) {
        request->done(request->context, code, err);
    }
    free(request);
}

static void on_config(void *context, struct config *config, const char *errors)
{
    struct request *request = context;
    struct manager *manager = request->daemon->manager;
    struct error err = {0};
    int code = 0;
    if (config) {
        manager_reconfigure(manager, config);
        remote_reconfigure(request->daemon->remote);
    } else {
        code = error_set(&err, -EINVAL, "the old configuration stays: %.*s",
            (int)strcspn(errors, "\n"), errors);
        manager_note(manager, NULL, "reload-failed", "%s", err.text);
    }
    finish_request(request, code, &err);
}

static struct request *make_request(
    struct daemon *daemon, manager_done *done, void *done_context)
{
    struct request *request = calloc(1, sizeof *request);
    if (request) {
        *request = (struct request){.daemon = daemon, .done = done, .context = done_context};
    } else if (done) {
        struct error err = {"gearsd is out of memory"};
        done(done_context, -ENOMEM, &err);
    }
    return request;
}

void daemon_reload(void *context, manager_done *done, void *done_context)
{
    struct daemon *daemon = context;
    struct manager *manager = daemon->manager;
    struct error err;
    struct request *request = make_request(daemon, done, done_context);
    if (request && config_load_start(
                       manager->work, &manager->home, manager->share_dir, on_config, request)) {
        error_set(&err, -EAGAIN, "the files cannot be read now (the home hangs?); try again");
        finish_request(request, -EAGAIN, &err);
    }
}

static int64_t left_ms(int64_t deadline_ms)
{
    int64_t left = deadline_ms - clock_monotonic_ms();
    return left > 0 ? left : 0;
}

/* Until the child has ended, for `ms` at most: 0 or -ETIMEDOUT. */
static int await_child(pid_t pid, int64_t ms, int *status)
{
    int64_t deadline_ms = clock_monotonic_ms() + ms;
    struct pollfd end = {.fd = (int)syscall(SYS_pidfd_open, pid, 0), .events = POLLIN};
    pid_t found = 0;
    while (!(found = waitpid(pid, status, WNOHANG)) && left_ms(deadline_ms)) {
        int64_t left = left_ms(deadline_ms);
        poll(&end, 1, (int)(end.fd >= 0 || left < WAIT_STEP_MS ? left : WAIT_STEP_MS));
    }
    if (end.fd >= 0) {
        close(end.fd);
    }
    return found ? 0 : -ETIMEDOUT;
}

/* Ask the other gearsd to check itself: it must run here and read the configuration. */
static int run_self_check(void *context, struct error *err)
{
    const char *path = ((struct request *)context)->path;
    int status = -1;
    pid_t pid = fork();
    if (pid == 0) {
        execl(path, path, "--self-check", (char *)NULL);
        _exit(127);
    }
    if (pid < 0) {
        return error_errno(err, -errno, "cannot run %s; nothing was changed", path);
    }
    if (await_child(pid, SELF_CHECK_MS, &status)) {
        kill(pid, SIGKILL);
        await_child(pid, KILLED_MS, &status); /* one that a hung home holds is left */
        return error_set(err, -ETIMEDOUT,
            "%s has not checked itself within %d s; nothing was changed", path,
            SELF_CHECK_MS / 1000);
    }
    return WIFEXITED(status) && WEXITSTATUS(status) == 0
               ? 0
               : error_set(err, -EINVAL, "%s does not pass its self-check; nothing was changed",
                     path);
}

static void on_self_checked(void *context, int code, const struct error *err)
{
    struct request *request = context;
    struct daemon *daemon = request->daemon;
    if (!code && !daemon->ending) {
        snprintf(daemon->upgrade_to, sizeof daemon->upgrade_to, "%s", request->path);
        daemon_schedule(daemon);
    }
    finish_request(request, code, err);
}

void daemon_upgrade(void *context, const char *path, manager_done *done, void *done_context)
{
    struct daemon *daemon = context;
    struct error err;
    struct request *request = make_request(daemon, done, done_context);
    if (!request) {
        return;
    }
    ssize_t n = path ? snprintf(request->path, sizeof request->path, "%s", path)
                     : readlink("/proc/self/exe", request->path, sizeof request->path - 1);
    int code =
        n <= 0 || n >= (ssize_t)sizeof request->path || request->path[0] != '/'
            ? error_set(&err, -EINVAL, "the path of the new gearsd must be absolute")
            : worker_submit(daemon->manager->work, run_self_check, on_self_checked, request);
    if (code) {
        if (code == -EAGAIN) {
            error_set(&err, code, "the new gearsd cannot be checked now (the home hangs?)");
        }
        finish_request(request, code, &err);
    }
}

void daemon_exec(struct daemon *daemon)
{
    char fd[16];
    log_audit("upgrade to=%s", daemon->upgrade_to);
    worker_drain(daemon->manager->io, 5000);
    relay_client_drain(daemon->manager->relay, false);
    snprintf(fd, sizeof fd, "%d", daemon->listener);
    fcntl(daemon->listener, F_SETFD, 0);
    session_limits_restore(0);
    execl(daemon->upgrade_to, daemon->upgrade_to, "--listener", fd, "--lease",
        daemon->lease.nonce, (char *)NULL);
    session_limits_change();
    fcntl(daemon->listener, F_SETFD, FD_CLOEXEC);
    log_line("upgrade failed cause=\"%s\"", strerror(errno));
    relay_client_drain(daemon->manager->relay, true);
}
