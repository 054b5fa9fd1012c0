/* Readiness and health of one service: process, then socket, then HTTP. Nothing polls: the
 * socket appearing is an inotify event, later probes are asked for; only a program that listens
 * on a bare port, or one that accepts but does not answer yet, is asked again by a timer while
 * it starts. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "common/clock.h"
#include "common/proc.h"
#include "daemon/core/log.h"
#include "daemon/core/timer.h"
#include "daemon/service/manager_private.h"
#include "daemon/service/port_owner.h"

enum {
    PROBE_DEADLINE_MS = 30000,
    RETRY_FIRST_MS = 20,
    RETRY_MOST_MS = 1000,
    FRESH_MS = 2000,
    PORT_TRIES = 5
};

static void start_probe(struct service *service);

void health_set(struct service *service, const char *layer, bool ok, const char *message)
{
    struct service_health *health = &service->health;
    bool changed = health->ok != ok || !string_equal(health->layer, layer) ||
                   strcmp(health->message, message ? message : "") != 0;
    if (!changed) {
        return;
    }
    health->layer = layer;
    health->ok = ok;
    health->since_us = clock_utc_us();
    snprintf(health->message, sizeof health->message, "%s", message ? message : "");
    manager_tell_watchers(service->manager, service);
}

void service_timer(struct service *service, int64_t ms, event_callback_fn call)
{
    timer_start(&service->timer, service->manager->base, ms, call, service);
}

static void become_ready(struct service *service, const char *layer)
{
    health_set(service, layer, true, NULL);
    service->tries = 0;
    if (service->machine.state == SERVICE_STARTING) {
        service_apply(service, EVENT_READY);
        if (service->machine.state == SERVICE_READY && service->launch.activity_path) {
            start_probe(service);
        }
    }
}

static void on_retry(evutil_socket_t fd, short what, void *argument)
{
    (void)fd;
    (void)what;
    start_probe(argument);
}

static void retry_later(struct service *service)
{
    int64_t delay = RETRY_FIRST_MS;
    for (int i = 0; i < service->tries && delay < RETRY_MOST_MS; i++) {
        delay *= 2;
    }
    service->tries++;
    service_timer(service, delay < RETRY_MOST_MS ? delay : RETRY_MOST_MS, on_retry);
}

/* Somebody else listens there: end ours and take a fresh port next time, or give up. */
static void leave_port(struct service *service)
{
    service->stop_sent = false;
    service->health.ok = false;
    if (++service->port_tries < PORT_TRIES) {
        service_apply(service, EVENT_RESTART);
    } else {
        service->port_tries = 0;
        service_apply(service, EVENT_GAVE_UP);
    }
}

static bool check_port_owner(struct service *service)
{
    if (service->launch.socket || service->port_checked) {
        return true;
    }
    char words[200];
    if (!port_owner_is_tree(service->launch.port, service->keeper_pid, words, sizeof words)) {
        snprintf(service->cause, sizeof service->cause, "%s", words);
        manager_note(service->manager, service, "port-taken", "%s", words);
        leave_port(service);
        return false;
    }
    service->port_checked = true;
    service->port_tries = 0;
    return true;
}

static void on_probed(void *context, const struct probe_result *result)
{
    struct service *service = context;
    service->probe = NULL;
    service->probed_ms = clock_monotonic_ms();
    if (service->machine.state != SERVICE_STARTING && service->machine.state != SERVICE_READY) {
        return;
    }
    if (result->ok) {
        int64_t at_us = result->status == 200 ? activity_parse(result->body) : 0;
        service->last_activity_us = at_us ? at_us : service->last_activity_us;
        if (check_port_owner(service)) {
            become_ready(service, result->layer);
        }
    } else {
        health_set(service, result->layer, false, result->message);
        if (service->machine.state == SERVICE_STARTING) {
            retry_later(service);
        }
    }
    /* Who asked waits for the end of the probe. */
    manager_tell_watchers(service->manager, service);
}

static void start_probe(struct service *service)
{
    const struct launch *launch = &service->launch;
    if (service->probe || (!launch->socket && !launch->port)) {
        return;
    }
    struct probe_target target = {launch->socket, launch->port,
        launch->http_path ? "GET" : NULL, launch->http_path, NULL};
    if (service->machine.state == SERVICE_READY && launch->activity_path && launch->token) {
        target.path = launch->activity_path;
        target.token = launch->token;
    }
    service->probe =
        probe_start(service->manager->base, &target, PROBE_DEADLINE_MS, on_probed, service);
}

void health_watch_start(struct service *service)
{
    const struct launch *launch = &service->launch;
    struct stat st;
    bool by_socket = launch->ready == READY_SOCKET || launch->ready == READY_HTTP;
    if (service->paused) {
        return; /* begins when it is continued */
    }
    if (launch->ready == READY_STARTED ||
        (service->program_ready &&
            (launch->ready == READY_LOG || launch->ready == READY_NOTIFY))) {
        become_ready(service, "process");
        return;
    }
    health_set(service, by_socket ? "socket" : "process", false,
        launch->ready == READY_LOG      ? "runs; its output has not matched yet"
        : launch->ready == READY_NOTIFY ? "runs; has not said READY=1 yet"
        : launch->socket                ? "runs; has not made its socket yet"
                                        : "runs; does not listen on its port yet");
    if (by_socket && (!launch->socket || !stat(launch->socket, &st))) {
        start_probe(service);
    }
}

void health_socket_changed(struct service *service)
{
    if (service->machine.state == SERVICE_STARTING && service->keeper && !service->launching &&
        (service->launch.ready == READY_SOCKET || service->launch.ready == READY_HTTP)) {
        service->tries = 0;
        start_probe(service);
    }
}

void health_program_ready(struct service *service)
{
    service->program_ready = true;
    if (service->machine.state == SERVICE_STARTING &&
        (service->launch.ready == READY_LOG || service->launch.ready == READY_NOTIFY)) {
        become_ready(service, "process");
    }
}

/* A keeper that a signal stopped answers nothing and ends nothing: only /proc can tell. */
static bool check_keeper(struct service *service)
{
    struct proc_stat st;
    char words[120];
    bool stopped = service->keeper && service->keeper_pid &&
                   !proc_stat_read(service->keeper_pid, &st) && st.state == 'T';
    if (stopped) {
        snprintf(words, sizeof words, "its keeper is stopped by a signal; run: kill -CONT %d",
            (int)service->keeper_pid);
        health_set(service, "keeper", false, words);
    } else if (string_equal(service->health.layer, "keeper") && service->keeper) {
        health_set(service, "process", service->machine.state == SERVICE_READY, NULL);
        service->probed_ms = 0;
    }
    return !stopped;
}

void health_probe(struct service *service)
{
    int64_t now = clock_monotonic_ms();
    if (service->keeper && now - service->keeper_checked_ms >= FRESH_MS) {
        service->keeper_checked_ms = now;
        if (!check_keeper(service)) {
            return;
        }
    }

    if (service->machine.state == SERVICE_READY && !service->paused &&
        (service->launch.socket || service->launch.port) && !service->stop_sent &&
        now - service->probed_ms >= FRESH_MS) {
        start_probe(service);
    }
}
