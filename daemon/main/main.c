/* gearsd: puts the parts together and answers signals. */
#include <errno.h>
#include <libgen.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "build_id.h"
#include "daemon/core/log.h"
#include "daemon/core/session_limits.h"
#include "daemon/main/daemon.h"
#include "daemon/service/spawn.h"

static void on_signal(evutil_socket_t number, short what, void *argument)
{
    (void)what;
    struct daemon *daemon = argument;
    if (number == SIGCHLD) {
        spawn_reap();
    } else if (number == SIGHUP) {
        daemon_reload(daemon, NULL, NULL);
    } else {
        log_audit("signal %s: gearsd ends, services go on", signal_name((int)number));
        daemon_end(daemon);
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
    daemon->later = evtimer_new(daemon->base, daemon_on_later, daemon);
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
    daemon->watcher = (struct manager_watcher){daemon_on_service_change, daemon, NULL};
    manager_watch(daemon->manager, &daemon->watcher);
    struct control_calls calls = {
        daemon_reload, daemon_upgrade, daemon_shutdown, daemon_holds_lease, daemon};
    daemon->control =
        control_create(daemon->manager, daemon->remote, daemon->listener, &calls, err);
    if (!daemon->control) {
        return -ENOMEM;
    }
    startup_say(options, "ready\n");
    startup_notify("READY=1");
    event_base_dispatch(daemon->base);
    startup_notify("STOPPING=1");
    return 0;
}

/* What shows others that this gearsd serves the host; then its clients, who may wait for just
   that. */
static void leave_host(struct daemon *daemon, const struct home *home)
{
    char path[PATH_MAX];
    if (lease_is_held(&daemon->lease) == 1 && !home_path(home, path, "run", "gearsd.sck")) {
        unlink(path);
    }
    if (lease_is_held(&daemon->lease) == 1 && daemon->manager && daemon->manager->ending &&
        daemon_all_stopped(daemon)) {
        home_drop_sockets(home);
        home_drop_short(home);
    }
    lease_release(&daemon->lease);
    if (daemon->control) {
        control_destroy(daemon->control);
    }
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
    session_limits_change();
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
        leave_host(&daemon, &home);
        log_line("gearsd ended");
        log_stop();
    }
    if (code) {
        snprintf(words, sizeof words, "error: %s\n", err.text);
        startup_say(&options, words);
    }
    return code ? 1 : 0;
}
