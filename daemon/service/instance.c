/* A running incarnation: what its keeper says, and what is known when it says nothing more. */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "common/clock.h"
#include "common/unixsock.h"
#include "daemon/core/log.h"
#include "daemon/core/timer.h"
#include "daemon/service/manager_private.h"

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
    char trouble[300];
    read_exit(service, message);
    if (link_find_string(message, LINK_TAG_TEXT, 0, trouble, sizeof trouble)) {
        manager_note(service->manager, service, "exit-unrecorded", "%s", trouble);
    }
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
        instance_fail(service, -(int)link_u64(message, LINK_TAG_ERRNO, 0), words);
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

bool instance_reconnect(struct service *service, const char *path)
{
    int fd = unix_connect(path, SOCK_SEQPACKET, true, NULL);
    struct ucred peer;
    if (fd < 0 || unix_peer(fd, &peer) || peer.uid != geteuid() ||
        link_send_empty(fd, LINK_HELLO, 1)) {
        if (fd >= 0) {
            close(fd);
        }
        return false;
    }
    return instance_attach(service, fd);
}

/* A keeper also closes a connection that takes no more messages, as a gearsd that was stopped
 * for long does. */
static void on_closed(void *context)
{
    struct service *service = context;
    link_peer_destroy(service->keeper);
    service->keeper = NULL;
    bury(service, BURY_LOST);
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

bool instance_attach(struct service *service, int fd)
{
    static const struct link_peer_calls calls = {on_message, on_closed};
    service->heard = false;
    service->keeper = link_peer_create(service->manager->base, fd, &calls, service);
    if (!service->keeper) {
        log_line("out of memory service=%s", service->config->name);
    }
    return service->keeper != NULL;
}

void instance_forget(struct service *service)
{
    link_peer_destroy(service->keeper);
    service->keeper = NULL;
    probe_cancel(service->probe);
    service->probe = NULL;
    service->pid = service->keeper_pid = 0;
    service->launching = false;
    timer_stop(&service->timer);
}
