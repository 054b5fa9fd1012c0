/* gearsd: puts the parts together, answers signals, ends or execs its successor. */
#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "build_id.h"
#include "daemon/control/control.h"
#include "daemon/core/config_job.h"
#include "daemon/core/descriptors.h"
#include "daemon/core/log.h"
#include "daemon/main/startup.h"
#include "daemon/service/spawn.h"

struct daemon {
    struct event_base *base;
    struct manager *manager;
    struct remote *remote;
    struct control *control;
    struct lease lease;
    struct manager_watcher watcher;
    int listener;
    char program_dir[PATH_MAX], share_dir[PATH_MAX]; /* of this executable */
    char upgrade_to[PATH_MAX];
    struct event *later;
    bool ending; /* asked to: no upgrade any more */
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

static void reload(void *context, manager_done *done, void *done_context)
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

/* Ask the other gearsd to check itself: it must run here and read the configuration. */
static int run_self_check(void *context, struct error *err)
{
    const char *path = ((struct request *)context)->path;
    pid_t pid = fork();
    if (pid == 0) {
        execl(path, path, "--self-check", (char *)NULL);
        _exit(127);
    }
    int status = -1;
    while (pid > 0 && waitpid(pid, &status, 0) < 0 && errno == EINTR) {
    }
    return pid > 0 && WIFEXITED(status) && WEXITSTATUS(status) == 0
               ? 0
               : error_set(err, -EINVAL, "%s does not pass its self-check; nothing was changed",
                     path);
}

static void do_upgrade(struct daemon *daemon)
{
    char fd[16];
    log_audit("upgrade to=%s", daemon->upgrade_to);
    worker_drain(daemon->manager->io, 5000);
    relay_client_drain(daemon->manager->relay, false);
    snprintf(fd, sizeof fd, "%d", daemon->listener);
    fcntl(daemon->listener, F_SETFD, 0);
    descriptors_restore(0);
    execl(daemon->upgrade_to, daemon->upgrade_to, "--listener", fd, "--lease",
        daemon->lease.nonce, (char *)NULL);
    descriptors_raise();
    fcntl(daemon->listener, F_SETFD, FD_CLOEXEC);
    log_line("upgrade failed cause=\"%s\"", strerror(errno));
    relay_client_drain(daemon->manager->relay, true);
}

static void end(struct daemon *daemon)
{
    worker_drain(daemon->manager->io, 5000);
    worker_drain(daemon->manager->work, 2000); /* leases are given back there */
    event_base_loopbreak(daemon->base);
}

static bool all_stopped(const struct daemon *daemon)
{
    for (const struct service *s = daemon->manager->services; s; s = s->next) {
        if (s->machine.state != SERVICE_STOPPED && s->machine.state != SERVICE_FAILED) {
            return false;
        }
    }
    return remote_all_closed(daemon->remote);
}

/* Acts that must not happen inside a method: the reply is on its way first. */
static void on_later(evutil_socket_t fd, short what, void *argument)
{
    (void)fd;
    (void)what;
    struct daemon *daemon = argument;
    if (daemon->upgrade_to[0]) {
        do_upgrade(daemon);
        daemon->upgrade_to[0] = 0;
    } else if (!daemon->manager->ending) {
        end(daemon);
    } else if (all_stopped(daemon)) {
        relay_client_drain(daemon->manager->relay, false);
        end(daemon);
    }
}

static void schedule(struct daemon *daemon)
{
    struct timeval soon = {0, 20000};
    event_add(daemon->later, &soon);
}

static void on_service_change(void *context, struct service *service)
{
    (void)service;
    struct daemon *daemon = context;
    if (daemon->manager->ending && all_stopped(daemon)) {
        schedule(daemon);
    }
}

static void on_self_checked(void *context, int code, const struct error *err)
{
    struct request *request = context;
    struct daemon *daemon = request->daemon;
    if (!code && !daemon->ending) {
        snprintf(daemon->upgrade_to, sizeof daemon->upgrade_to, "%s", request->path);
        schedule(daemon);
    }
    finish_request(request, code, err);
}

static void upgrade(void *context, const char *path, manager_done *done, void *done_context)
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

/* A lease that a cleaner took is taken again, unless another gearsd was quicker. */
static bool holds_lease(void *context)
{
    struct daemon *daemon = context;
    return lease_keep(&daemon->manager->home, &daemon->lease, NULL, NULL) != 1;
}

static void shutdown_daemon(void *context, bool services)
{
    struct daemon *daemon = context;
    log_audit("shutdown services=%d", services);
    daemon->ending = true;
    daemon->manager->ending = services;
    daemon->upgrade_to[0] = 0; /* an end asked for after an upgrade wins */
    for (struct service *s = daemon->manager->services; services && s; s = s->next) {
        if (s->machine.state != SERVICE_STOPPED || s->machine.wanted || s->wish.wanted) {
            manager_stop(daemon->manager, s, NULL, NULL);
        }
    }
    if (services) {
        remote_close_all(daemon->remote);
    }
    schedule(daemon);
}

static void on_signal(evutil_socket_t number, short what, void *argument)
{
    (void)what;
    struct daemon *daemon = argument;
    if (number == SIGCHLD) {
        spawn_reap();
    } else if (number == SIGHUP) {
        reload(daemon, NULL, NULL);
    } else {
        log_audit("signal %s: gearsd ends, services go on", signal_name((int)number));
        end(daemon);
    }
}

static int load_config(
    const struct home *home, const char *share, struct config **config, struct error *err)
{
    struct text errors = {0};
    int code = config_load(home, share, config, &errors);
    if (code) {
        char words[400];
        snprintf(words, sizeof words, "%s", text_string(&errors));
        words[strcspn(words, "\n")] = 0;
        error_set(err, code, "%s; see: gearsctl config check", words);
    } else if ((*config)->disabled) {
        code =
            error_set(err, -EPERM, "Gears is disabled on this site: %s", (*config)->disabled);
    }
    text_finish(&errors);
    return code;
}

/* Every mistake of the configuration, or else what is wrong, on stderr; for --self-check. */
static int say_mistakes(const struct home *home, const char *share, const struct error *err)
{
    struct config *config = NULL;
    struct text errors = {0};
    bool mistaken = home->root[0] && config_load(home, share, &config, &errors);
    fprintf(stderr, "%s", mistaken ? text_string(&errors) : err->text);
    if (!mistaken) {
        fputc('\n', stderr);
    }
    text_finish(&errors);
    config_destroy(config);
    return 1;
}

static void find_programs(struct daemon *daemon)
{
    char self[PATH_MAX], copy[PATH_MAX];
    ssize_t n = readlink("/proc/self/exe", self, sizeof self - 1);
    self[n > 0 ? n : 0] = 0;
    snprintf(copy, sizeof copy, "%s", self);
    snprintf(daemon->program_dir, sizeof daemon->program_dir, "%s", dirname(copy));
    snprintf(daemon->share_dir, sizeof daemon->share_dir, "%.*s/../share",
        (int)(sizeof daemon->share_dir - 16), daemon->program_dir);
    char *real = realpath(daemon->share_dir, NULL);
    if (real) {
        snprintf(daemon->share_dir, sizeof daemon->share_dir, "%s", real);
        free(real);
    }
}

static struct event_base *make_loop(struct daemon *daemon)
{
    static const int numbers[] = {SIGHUP, SIGTERM, SIGINT, SIGCHLD};
    struct event_config *settings = event_config_new();
    event_config_set_flag(settings, EVENT_BASE_FLAG_EPOLL_USE_CHANGELIST);
    event_config_set_flag(settings, EVENT_BASE_FLAG_NOLOCK);
    struct event_base *base = event_base_new_with_config(settings);
    event_config_free(settings);
    for (size_t i = 0; base && i < sizeof numbers / sizeof *numbers; i++) {
        event_add(event_new(base, numbers[i], EV_SIGNAL | EV_PERSIST, on_signal, daemon), NULL);
    }
    return base;
}

static int serve(struct daemon *daemon, struct home *home, struct config *config,
    struct options *options, struct error *err)
{
    daemon->base = make_loop(daemon);
    daemon->manager = calloc(1, sizeof *daemon->manager);
    if (!daemon->base || !daemon->manager) {
        return error_set(err, -ENOMEM, "out of memory");
    }
    daemon->later = evtimer_new(daemon->base, on_later, daemon);
    log_start(home, daemon->base);
    log_audit(
        "gearsd started build=%s pid=%d host=%s", GEARS_BUILD_ID, (int)getpid(), home->host);
    memcpy(daemon->manager->program_dir, daemon->program_dir, PATH_MAX);
    memcpy(daemon->manager->share_dir, daemon->share_dir, PATH_MAX);
    int code = manager_init(daemon->manager, daemon->base, home, config, err);
    if (code) {
        return code;
    }
    daemon->remote = remote_create(daemon->manager, err);
    if (!daemon->remote) {
        return -ENOMEM;
    }
    daemon->watcher = (struct manager_watcher){on_service_change, daemon, NULL};
    manager_watch(daemon->manager, &daemon->watcher);
    struct control_calls calls = {reload, upgrade, shutdown_daemon, holds_lease, daemon};
    daemon->control =
        control_create(daemon->manager, daemon->remote, daemon->listener, &calls, err);
    if (!daemon->control) {
        return -ENOMEM;
    }
    startup_say(options, "ready\n");
    startup_notify("READY=1");
    event_base_dispatch(daemon->base);
    startup_notify("STOPPING=1");
    control_destroy(daemon->control);
    return 0;
}

int main(int argc, char **argv)
{
    static struct daemon daemon;
    struct options options;
    struct home home = {0};
    struct config *config = NULL;
    struct error err = {0};
    char words[600];
    startup_options(&options, argc, argv);
    umask(077);
    signal(SIGPIPE, SIG_IGN);
    startup_detach(&options);
    find_programs(&daemon);
    int code = home_init(&home, &err);
    code = code ? code : load_config(&home, daemon.share_dir, &config, &err);
    if (options.self_check) {
        config_destroy(config);
        return code ? say_mistakes(&home, daemon.share_dir, &err) : 0;
    }
    prctl(PR_SET_DUMPABLE, 0); /* it holds tokens */
    descriptors_raise();
    code = code ? code : home_prepare(&home, &err);
    code = code ? code : startup_prepare_log(&home, &err);
    code = code ? code : startup_claim(&home, &options, &daemon.lease, &daemon.listener, &err);
    if (code) {
        config_destroy(config); /* serve, which would keep it, is not reached */
    }
    if (code == 1) {
        startup_say(&options, "ready\n");
        return 0;
    }
    if (!code) {
        code = serve(&daemon, &home, config, &options, &err);
        char path[PATH_MAX];
        if (lease_is_held(&daemon.lease) == 1 && !home_path(&home, path, "run", "gearsd.sck")) {
            unlink(path);
        }
        if (lease_is_held(&daemon.lease) == 1 && daemon.manager && daemon.manager->ending &&
            all_stopped(&daemon)) {
            home_drop_sockets(&home);
            home_drop_short(&home);
        }
        lease_release(&daemon.lease);
        log_line("gearsd ended");
        log_stop();
    }
    if (code) {
        snprintf(words, sizeof words, "error: %s\n", err.text);
        startup_say(&options, words);
    }
    return code ? 1 : 0;
}
