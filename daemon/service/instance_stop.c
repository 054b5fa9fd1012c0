/* The end of an incarnation that somebody asked for: the kind's own way, then its keeper's. */
#include <signal.h>

#include "common/proc.h"
#include "daemon/service/manager_private.h"

enum { STOP_KINDLY_MS = 5000, KEEPER_ANSWER_MS = 1000 };

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
        manager_note(service->manager, service, "keeper-killed",
            "the keeper of %s takes no orders; it is killed with all it started",
            service->config->name);
        bury(service, BURY_KILL);
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
