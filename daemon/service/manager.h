/* All services of this host: what the user wants, what is, and the acts that lead from one to
 * the other. One object, on the loop. */
#ifndef SERVICE_MANAGER_H
#define SERVICE_MANAGER_H

#include <event2/event.h>

#include "common/home.h"
#include "common/nonce.h"
#include "common/text.h"
#include "daemon/core/config.h"
#include "daemon/core/worker.h"
#include "daemon/service/relay_client.h"
#include "daemon/service/service.h"

enum { EVENT_RING = 512 };

struct manager_event {
    uint64_t seq;
    int64_t at_us;
    char service[NAME_TEXT_SIZE]; /* "" for the daemon's own */
    char event[24];
    char message[256];
};

/* Told of every change; `service` NULL: only the event ring grew. Called from the loop, may not
 * change services. */
struct manager_watcher {
    void (*changed)(void *context, struct service *service);
    void *context;
    struct manager_watcher *next;
};

/* Answers when the wish is durable and done (code 0), or why not: then nothing has changed, but
 * for a stop, which is carried out all the same. Called once, now or later. */
typedef void manager_done(void *context, int code, const struct error *err);

struct manager {
    struct event_base *base;
    struct home home;
    char program_dir[PATH_MAX]; /* of this executable */
    char share_dir[PATH_MAX];
    struct config *config;
    struct worker *io;     /* records: order matters */
    struct worker *work;   /* prepare, adoption, configuration: may take long */
    struct worker *reader; /* logs: their filesystem may hang alone */
    struct service *services;
    size_t service_count;
    struct relay_client *relay;
    char epoch[NONCE_TEXT_SIZE];
    uint64_t seq;
    struct manager_event events[EVENT_RING]; /* seq % EVENT_RING */
    struct manager_watcher *watchers;
    struct event *own_event; /* inotify on run/<host>/own */
    int own_fd;
    int64_t started_at_us;
    bool ending; /* shutting down: start nothing */
};

/* Load records, adopt keepers and relay, start what is enabled. Blocking (start-up only). Takes
 * `config`. 0 or a negative errno with words. */
int manager_init(struct manager *manager, struct event_base *base, const struct home *home,
    struct config *config, struct error *err);

/* The service by name, the manager's own; NULL: there is none. */
struct service *manager_find(struct manager *manager, const char *name);
/* The name closest to `name`, valid as long as its service; NULL: none is close. */
const char *manager_closest(struct manager *manager, const char *name);

/* What a user asks. `done` may be NULL. Each is refused with -EBUSY while the service is being
 * removed. `workspace`, `env`: NULL leaves what it has; the next launch goes by them.
 * Idempotent. */
void manager_start(struct manager *manager, struct service *service, const char *workspace,
    const char *env, manager_done *done, void *context);
void manager_stop(
    struct manager *manager, struct service *service, manager_done *done, void *context);
void manager_restart(
    struct manager *manager, struct service *service, manager_done *done, void *context);
/* Whether gearsd starts it by itself, whatever gears.conf says. */
void manager_enable(struct manager *manager, struct service *service, bool enabled,
    manager_done *done, void *context);
/* Serve it at the loopback `port` instead of the one it had; 0 takes that back. -EADDRINUSE
 * when another service has the port; that another program has it shows later, as an event. */
void manager_forward(struct manager *manager, struct service *service, int port,
    manager_done *done, void *context);
/* Takes `config`. The new service, or NULL with words (-EEXIST name taken, -EBUSY one of that
 * name is being removed, -ENOSPC limit); `done` is then not called. */
struct service *manager_run(struct manager *manager, struct service_config *config,
    manager_done *done, void *context, struct error *err);
/* Forgets an idle service that is not in gears.conf; answers when its record is gone. */
void manager_remove(
    struct manager *manager, struct service *service, manager_done *done, void *context);
/* Have its keeper signal the main process. 0; -ESRCH: it does not run; another negative errno
 * with words: the keeper takes no orders. */
int manager_signal(struct service *service, int signal, struct error *err);
/* Nothing to do for a service that has not failed. */
void manager_reset_failed(struct service *service, manager_done *done, void *context);
/* Go by `config` from now on, which is taken; running services keep theirs until their next
 * start. */
void manager_reconfigure(struct manager *manager, struct config *config);

/* `watcher` is the caller's and stays valid until it is taken out, which it may do when it is
 * called. */
void manager_watch(struct manager *manager, struct manager_watcher *watcher);
void manager_unwatch(struct manager *manager, struct manager_watcher *watcher);
/* Tell them of a change; `service` may be NULL. */
void manager_tell_watchers(struct manager *manager, struct service *service);
/* Append to the event ring, log, tell the watchers. */
void manager_note(struct manager *manager, struct service *service, const char *event,
    const char *format, ...) __attribute__((format(printf, 4, 5)));

/* Probe it once now, unless a probe runs or the last is less than 2 s old. */
void health_probe(struct service *service);

#endif
