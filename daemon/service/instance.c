/* One incarnation of a service: prepare, record the intent, spawn its keeper, hear how it ends.
 */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "common/clock.h"
#include "common/proc.h"
#include "common/unixsock.h"
#include "daemon/core/descriptors.h"
#include "daemon/core/log.h"
#include "daemon/service/manager.h"
#include "daemon/service/spawn.h"

enum {
    SEGMENTS_PER_BUDGET = 8,
    SEGMENT_MOST = 8 << 20,
    STOP_KINDLY_MS = 5000,
    KEEPER_ANSWER_MS = 1000
};

struct launch_job {
    struct manager *manager;
    char name[33];
    char nonce[NONCE_TEXT_SIZE];
    struct service_config *config;
    struct launch launch;
};

static void finish_job(struct launch_job *job)
{
    launch_finish(&job->launch);
    service_config_destroy(job->config);
    free(job);
}

/* What the host lacks for a moment: descriptors, memory, disk. */
static bool is_passing(int code)
{
    return code == -EMFILE || code == -ENFILE || code == -ENOMEM || code == -EAGAIN ||
           code == -ENOSPC || code == -EDQUOT;
}

/* Who asks for a start hears at once that it failed; a restart after a death is tried again, as
 * the policy has it. */
static void fail_launch(struct service *service, int code, const char *words)
{
    bool retry = service->machine.deaths > 0 && is_passing(code);
    service->launching = false;
    snprintf(service->cause, sizeof service->cause, "%s", words);
    health_set(service, "process", false, words);
    service_apply(service, retry ? EVENT_DIED : EVENT_LAUNCH_FAILED);
}

static void add_paths(struct service *service, struct link_frame *frame)
{
    const struct home *home = &service->manager->home;
    const char *name = service->config->name;
    char path[PATH_MAX];
    home_path(home, path, "run", "link/k-%s.sck", name);
    link_frame_string(frame, LINK_TAG_LINK_PATH, path);
    home_path(home, path, "log", "%s", name);
    link_frame_string(frame, LINK_TAG_LOG_DIR, path);
    home_path(home, path, "state", "exit/%s.rec", name);
    link_frame_string(frame, LINK_TAG_EXIT_RECORD, path);
    if (service->launch.ready == READY_NOTIFY) {
        home_path(home, path, "run", "link/n-%s.sck", name);
        link_frame_string(frame, LINK_TAG_NOTIFY_PATH, path);
    }
}

/* Limits later in the frame win over earlier ones. */
static void add_limits(const struct service_config *config, struct link_frame *frame)
{
    char limit[80];
    struct rlimit session = descriptors_limit();
    snprintf(limit, sizeof limit, "%d %llu %llu", (int)RLIMIT_NOFILE,
        (unsigned long long)session.rlim_cur, (unsigned long long)session.rlim_max);
    link_frame_string(frame, LINK_TAG_RLIMIT, limit);
    for (size_t i = 0; i < config->limit_count; i++) {
        unsigned long long value = config->limits[i].value;
        snprintf(limit, sizeof limit, "%d %llu %llu", config->limits[i].resource, value, value);
        link_frame_string(frame, LINK_TAG_RLIMIT, limit);
    }
}

static void make_start(struct service *service, struct link_frame *frame)
{
    const struct launch *launch = &service->launch;
    const struct service_config *config = service->config;
    uint64_t segment = config->log_budget / SEGMENTS_PER_BUDGET;
    link_frame_start(frame, LINK_KEEPER_START, 1);
    link_frame_string(frame, LINK_TAG_SERVICE, config->name);
    link_frame_string(frame, LINK_TAG_NONCE, service->nonce);
    add_paths(service, frame);
    link_frame_u64(frame, LINK_TAG_LOG_BUDGET, config->log_budget);
    link_frame_u64(
        frame, LINK_TAG_LOG_SEGMENT, segment < SEGMENT_MOST ? segment : SEGMENT_MOST);
    link_frame_u64(frame, LINK_TAG_LOG_TOTAL, service->manager->config->log_total);
    for (char **word = launch->argv; *word; word++) {
        link_frame_string(frame, LINK_TAG_ARG, *word);
    }
    for (char **word = launch->env; word && *word; word++) {
        link_frame_string(frame, LINK_TAG_ENV, *word);
    }
    link_frame_string(frame, LINK_TAG_CWD, launch->cwd);
    link_frame_string(frame, LINK_TAG_READY_LOG, launch->ready_log);
    link_frame_string(frame, LINK_TAG_KERNELS_PATH, launch->kernels_path);
    add_limits(config, frame);
}

static void spawn_keeper(struct service *service)
{
    struct error err = {0};
    char path[PATH_MAX + 32], mark[80];
    snprintf(path, sizeof path, "%s/gears-keeper", service->manager->program_dir);
    snprintf(mark, sizeof mark, KEEPER_MARK "%s", service->nonce);
    int fd = spawn_helper(path, mark, &err);
    if (fd < 0) {
        fail_launch(service, fd, err.text);
        return;
    }
    struct link_frame frame;
    make_start(service, &frame);
    int code = link_send(fd, &frame);
    if (code) {
        error_errno(&err, code, "the keeper did not take its orders");
        close(fd);
        fail_launch(service, code, err.text);
        return;
    }
    instance_attach(service, fd);
}

/* The intent record is durable: only now may anything run. */
static void on_intent(void *context, int code, const struct error *err)
{
    struct service *service = manager_find(
        ((struct launch_job *)context)->manager, ((struct launch_job *)context)->name);
    finish_job(context);
    if (!service || !service->launching) {
        return;
    }
    if (code) {
        fail_launch(service, code, err->text);
    } else if (service->machine.state != SERVICE_STARTING) { /* stopped meanwhile */
        service->launching = false;
        service_apply(service, EVENT_DIED_CLEAN);
    } else {
        spawn_keeper(service);
    }
}

static int run_prepare(void *context, struct error *err)
{
    struct launch_job *job = context;
    const struct kind *kind = kind_find(job->config->kind);
    return kind ? kind->prepare(&job->manager->home, job->manager->share_dir, job->config,
                      &job->launch, err)
                : error_set(err, -EINVAL, "no kind \"%s\"", job->config->kind);
}

static void on_prepared(void *context, int code, const struct error *err)
{
    struct launch_job *job = context;
    struct service *service = manager_find(job->manager, job->name);
    if (!service || !service->launching || !string_equal(service->nonce, job->nonce)) {
        finish_job(job);
        return;
    }
    if (code) {
        fail_launch(service, code, err->text);
        finish_job(job);
        return;
    }
    launch_finish(&service->launch);
    service->launch = job->launch;
    job->launch = (struct launch){0};
    store_submit(service, on_intent, job);
}

void instance_launch(struct service *service)
{
    struct manager *manager = service->manager;
    struct launch_job *job = calloc(1, sizeof *job);
    nonce_make(service->nonce);
    service->launching = true;
    service->wish.fresh = service->wish.again = service->settled = false;
    service->stop_sent = service->program_ready = service->port_checked = false;
    service->ready_at_us = 0;
    service->paused = service->adopted = service->exit_told = false;
    service->cause[0] = 0;
    service->tries = 0;
    health_set(service, "process", false, "starting");
    if (job) {
        job->manager = manager;
        snprintf(job->name, sizeof job->name, "%s", service->config->name);
        memcpy(job->nonce, service->nonce, sizeof job->nonce);
        job->config = service_config_copy(service->config);
    }
    if (!job || !job->config || worker_submit(manager->work, run_prepare, on_prepared, job)) {
        free(job);
        fail_launch(service, -EAGAIN, "gearsd is out of memory or its disk does not answer");
    }
}

/* Stopped by a signal is ill health, said and never acted on. */
static void set_paused(struct service *service, bool paused)
{
    char words[160];
    if (service->paused == paused) {
        return;
    }
    service->paused = paused;
    if (paused) {
        snprintf(words, sizeof words,
            "stopped by a signal (SIGSTOP); run: gearsctl signal %s CONT",
            service->config->name);
        health_set(service, "process", false, words);
    } else {
        health_set(service, "process", service->machine.state == SERVICE_READY, NULL);
        service->probed_ms = 0;
        if (service->machine.state == SERVICE_STARTING) {
            health_watch_start(service);
        } else {
            health_probe(service);
        }
    }
    manager_note(service->manager, service, paused ? "paused" : "continued",
        "%s was %s by a signal", service->config->name, paused ? "stopped" : "continued");
}

static void read_status(struct service *service, const struct link_message *message)
{
    char nonce[NONCE_TEXT_SIZE];
    if (link_find_string(message, LINK_TAG_NONCE, 0, nonce, sizeof nonce)) {
        memcpy(service->nonce, nonce, sizeof nonce);
    }
    link_find_string(message, LINK_TAG_BUILD, 0, service->build, sizeof service->build);
    service->pid = (pid_t)link_u64(message, LINK_TAG_PID, 0);
    service->keeper_pid = (pid_t)link_u64(message, LINK_TAG_KEEPER_PID, 0);
    service->start_time = link_u64(message, LINK_TAG_START_TIME, 0);
    service->started_at_us = (int64_t)link_u64(message, LINK_TAG_STARTED_AT, 0);
    service->ready_at_us = (int64_t)link_u64(message, LINK_TAG_READY_AT, 0);
    service->log_dropped = link_u64(message, LINK_TAG_LOG_DROPPED, 0);
    service->log_stalled = link_u64(message, LINK_TAG_LOG_STALLED, 0) != 0;
    service->program_ready = link_u64(message, LINK_TAG_READY, 0) != 0;
    set_paused(service, link_u64(message, LINK_TAG_PAUSED, 0) != 0);
}

static void read_exit(struct service *service, const struct link_message *message)
{
    struct service_exit *end = &service->exit;
    uint64_t absent = UINT64_MAX;
    uint64_t code = link_u64(message, LINK_TAG_EXIT_CODE, absent);
    uint64_t number = link_u64(message, LINK_TAG_EXIT_SIGNAL, absent);
    *end = (struct service_exit){.how = code != absent     ? EXIT_CODE
                                        : number != absent ? EXIT_SIGNAL
                                                           : EXIT_UNKNOWN};
    end->value = (int)(code != absent ? code : number != absent ? number : 0);
    end->at_us = (int64_t)link_u64(message, LINK_TAG_EXIT_AT, 0);
    link_find_string(message, LINK_TAG_LOST, 0, end->lost, sizeof end->lost);
    char survivors[128];
    if (link_find_string(message, LINK_TAG_SURVIVORS, 0, survivors, sizeof survivors)) {
        snprintf(end->note, sizeof end->note, "could not be killed: %s", survivors);
    }
    service->log_dropped = link_u64(message, LINK_TAG_LOG_DROPPED, service->log_dropped);
}

static void on_gone(struct service *service, const struct link_message *message)
{
    struct link_frame release;
    read_exit(service, message);
    link_frame_start(&release, LINK_KEEPER_RELEASE, 0);
    link_peer_send(service->keeper, &release);
    instance_forget(service);
    bool clean = service->exit.how == EXIT_CODE && service->exit.value == 0;
    if (!clean && (service->machine.state == SERVICE_STARTING ||
                      service->machine.state == SERVICE_READY)) {
        if (service->exit.how == EXIT_SIGNAL) {
            snprintf(service->cause, sizeof service->cause, "killed by signal %s",
                signal_name(service->exit.value));
        } else {
            snprintf(service->cause, sizeof service->cause, "ended with exit code %d",
                service->exit.value);
        }
    }
    service_apply(service, clean ? EVENT_DIED_CLEAN : EVENT_DIED);
}

/* A run that a former gearsd began counts from then, by the clock that never jumps. */
static void adopt_times(struct service *service)
{
    int64_t ticks = sysconf(_SC_CLK_TCK);
    int64_t begun_ms = (int64_t)service->start_time * 1000 / (ticks > 0 ? ticks : 100);
    int64_t age_ms = clock_boot_ms() - begun_ms;
    service->machine.started_ms = clock_monotonic_ms() - (age_ms > 0 ? age_ms : 0);
}

static void on_status(struct service *service, const struct link_message *message)
{
    bool first = service->launching || !service->pid;
    read_status(service, message);
    service->launching = false;
    uint64_t state = link_u64(message, LINK_TAG_KEEPER_STATE, LINK_KEEPER_RUNNING);
    if (state == LINK_KEEPER_EMPTY) {
        on_gone(service, message);
        return;
    }
    if (service->machine.state == SERVICE_STOPPING) {
        if (first || state == LINK_KEEPER_RUNNING) { /* it has not heard of the stop */
            service->stop_sent = false;
            instance_kill(service);
        }
    } else if (first && state == LINK_KEEPER_RUNNING) {
        service->since_us = service->started_at_us;
        if (service->adopted) {
            adopt_times(service);
        }
        health_watch_start(service);
    }
}

/* Told when the writer stands, when it goes on, and in between how much is lost by then. */
static void on_log_stall(struct service *service, const struct link_message *message)
{
    bool stalled = link_u64(message, LINK_TAG_LOG_STALLED, 0) != 0;
    service->log_dropped = link_u64(message, LINK_TAG_LOG_DROPPED, service->log_dropped);
    if (stalled != service->log_stalled) {
        service->log_stalled = stalled;
        manager_note(service->manager, service, "log",
            stalled ? "the log's filesystem does not take writes; output is dropped and counted"
                    : "the log is written again; %llu bytes were dropped in all",
            (unsigned long long)service->log_dropped);
    }
}

static void on_message(void *context, struct link_message *message)
{
    struct service *service = context;
    char words[300];
    service->heard = true;
    switch (message->type) {
    case LINK_KEEPER_STARTED:
    case LINK_KEEPER_STATUS:
        on_status(service, message);
        break;
    case LINK_KEEPER_FAILED:
        if (!link_find_string(message, LINK_TAG_TEXT, 0, words, sizeof words)) {
            snprintf(words, sizeof words, "cannot start: %s",
                strerror((int)link_u64(message, LINK_TAG_ERRNO, 0)));
        }
        instance_forget(service);
        fail_launch(service, -(int)link_u64(message, LINK_TAG_ERRNO, 0), words);
        break;
    case LINK_KEEPER_EXITED:
        read_exit(service, message);
        service->exit_told = true;
        if (!link_find_string(message, LINK_TAG_TEXT, 0, words, sizeof words)) {
            snprintf(words, sizeof words, "ended; what it left is being cleared");
        }
        health_set(service, "process", false, words);
        break;
    case LINK_KEEPER_GONE:
        on_gone(service, message);
        break;
    case LINK_KEEPER_READY:
        health_program_ready(service);
        break;
    case LINK_KEEPER_PAUSED:
        set_paused(service, link_u64(message, LINK_TAG_PAUSED, 0) != 0);
        break;
    case LINK_KEEPER_LOG_STALL:
        on_log_stall(service, message);
        break;
    default:
        break; /* a newer keeper may say more */
    }
}

/* The keeper closes a connection that takes no more messages, as a gearsd that was stopped for
 * long does: it lives, and tells everything again. */
static bool reconnect(struct service *service)
{
    char path[PATH_MAX];
    home_path(&service->manager->home, path, "run", "link/k-%s.sck", service->config->name);
    int fd = service->heard ? unix_connect(path, SOCK_SEQPACKET, true, NULL) : -ENOTCONN;
    struct ucred peer;
    if (fd < 0 || unix_peer(fd, &peer) || peer.uid != geteuid() ||
        link_send_empty(fd, LINK_HELLO, 1)) {
        if (fd >= 0) {
            close(fd);
        }
        return false;
    }
    instance_attach(service, fd);
    return true;
}

void instance_lost(struct service *service)
{
    manager_note(service->manager, service, "keeper-died",
        "the keeper of %s died; clearing what it left", service->config->name);
    bury(service, false);
}

static void on_closed(void *context)
{
    struct service *service = context;
    link_peer_destroy(service->keeper);
    service->keeper = NULL;
    if (!reconnect(service)) {
        instance_lost(service);
    }
}

void instance_ready(struct service *service)
{
    struct link_frame frame;
    if (!service->ready_at_us && service->keeper) {
        service->ready_at_us = service->since_us;
        link_frame_start(&frame, LINK_KEEPER_SINCE, 0);
        link_frame_u64(&frame, LINK_TAG_READY_AT, (uint64_t)service->ready_at_us);
        link_peer_send(service->keeper, &frame);
    } else if (service->ready_at_us) {
        service->since_us = service->ready_at_us;
    }
}

void instance_attach(struct service *service, int fd)
{
    static const struct link_peer_calls calls = {on_message, on_closed};
    service->heard = false;
    service->keeper = link_peer_create(service->manager->base, fd, &calls, service);
    if (!service->keeper) {
        log_line("out of memory service=%s", service->config->name);
        bury(service, false);
    }
}

void instance_forget(struct service *service)
{
    link_peer_destroy(service->keeper);
    service->keeper = NULL;
    probe_cancel(service->probe);
    service->probe = NULL;
    service->pid = service->keeper_pid = 0;
    service->launching = false;
    if (service->timer) {
        event_free(service->timer);
        service->timer = NULL;
    }
}

/* A stop was sent and nothing came back: a keeper that a signal stopped is continued, for it
 * must carry out what the user asks; any other is named. */
static void on_stop_unheard(evutil_socket_t fd, short what, void *argument)
{
    (void)fd;
    (void)what;
    struct service *service = argument;
    struct proc_stat st;
    if (service->heard || !service->keeper || !service->keeper_pid) {
        return;
    }
    /* It holds our connection open, so the pid is still its own. */
    if (!proc_stat_read(service->keeper_pid, &st) && st.state == 'T') {
        kill(service->keeper_pid, SIGCONT);
        manager_note(service->manager, service, "keeper-continued",
            "the keeper of %s was stopped by a signal; continued for the stop",
            service->config->name);
    } else {
        health_set(service, "keeper", false, "its keeper has not answered the stop yet");
    }
}

static void send_stop(struct service *service)
{
    struct link_frame frame, hello;
    link_frame_start(&frame, LINK_KEEPER_STOP, 0);
    link_frame_u64(&frame, LINK_TAG_SIGNAL, (uint64_t)service->config->stop_signal);
    link_frame_u64(&frame, LINK_TAG_TIMEOUT_MS, (uint64_t)service->config->stop_timeout_ms);
    if (!service->keeper) {
        link_frame_finish(&frame);
    } else if (link_peer_send(service->keeper, &frame)) {
        /* A stopped keeper takes no orders: its tree is killed without it. */
        link_peer_destroy(service->keeper);
        service->keeper = NULL;
        instance_lost(service);
    } else {
        service->heard = false;
        link_frame_start(&hello, LINK_HELLO, 1);
        link_peer_send(service->keeper, &hello);
        service_timer(service, KEEPER_ANSWER_MS, on_stop_unheard);
    }
}

static void on_kind_stop_over(evutil_socket_t fd, short what, void *argument)
{
    (void)fd;
    (void)what;
    send_stop(argument);
}

static void on_shutdown_answer(void *context, const struct probe_result *result)
{
    struct service *service = context;
    service->probe = NULL;
    if (!result->ok || result->status >= 400) {
        send_stop(service);
    }
}

void instance_kill(struct service *service)
{
    if (service->launching || !service->keeper || service->stop_sent) {
        return; /* the launch sees the state, or a burial is under way */
    }
    service->stop_sent = true;
    probe_cancel(service->probe);
    service->probe = NULL;
    const struct launch *launch = &service->launch;
    if (!launch->shutdown_path || !service->health.ok) {
        send_stop(service);
        return;
    }
    struct probe_target target = {
        launch->socket, launch->port, "POST", launch->shutdown_path, launch->token};
    service->probe = probe_start(
        service->manager->base, &target, STOP_KINDLY_MS, on_shutdown_answer, service);
    service_timer(service, STOP_KINDLY_MS, on_kind_stop_over);
}
