/* gearsd as a whole: what main.c puts together, and what requests.c and ending.c do with it. */
#ifndef MAIN_DAEMON_H
#define MAIN_DAEMON_H

#include <limits.h>
#include <stdbool.h>

#include <event2/event.h>

#include "daemon/control/control.h"
#include "daemon/main/startup.h"

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

/* requests.c; `context` is the daemon. `done` may be NULL; it is called once, now or later. */
/* Read the configuration again. A mistaken one changes nothing: -EINVAL with words. */
void daemon_reload(void *context, manager_done *done, void *done_context);
/* Become the gearsd at `path` (NULL: this one's) once it has checked itself, which it must do
 * within 30 s. Answered before it happens; -EINVAL or -ETIMEDOUT with words. */
void daemon_upgrade(void *context, const char *path, manager_done *done, void *done_context);
/* Exec `upgrade_to`; returns only when that fails, and all goes on. */
void daemon_exec(struct daemon *daemon);

/* ending.c */
/* Leave the loop; services go on. */
void daemon_end(struct daemon *daemon);
/* End soon, after the services when `services` is set. `context` is the daemon. */
void daemon_shutdown(void *context, bool services);
/* Have daemon_on_later called in a moment. */
void daemon_schedule(struct daemon *daemon);
void daemon_on_later(evutil_socket_t fd, short what, void *daemon);
void daemon_on_service_change(void *daemon, struct service *service);
bool daemon_all_stopped(const struct daemon *daemon);
/* Whether this gearsd still serves the host. `context` is the daemon. */
bool daemon_holds_lease(void *context);

#endif
