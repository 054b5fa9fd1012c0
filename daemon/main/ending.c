/* How gearsd ends: at once, or with its services, or as its successor. Acts that end it happen
 * a moment after they were asked for, when the answer is on its way. */
#include <stdio.h>
#include <unistd.h>

#include "daemon/core/log.h"
#include "daemon/core/timer.h"
#include "daemon/main/daemon.h"

void daemon_end(struct daemon *daemon)
{
    worker_drain(daemon->manager->io, 5000);
    worker_drain(daemon->manager->work, 2000); /* leases are given back there */
    event_base_loopbreak(daemon->base);
}

bool daemon_all_stopped(const struct daemon *daemon)
{
    for (const struct service *s = daemon->manager->services; s; s = s->next) {
        if (s->machine.state != SERVICE_STOPPED && s->machine.state != SERVICE_FAILED) {
            return false;
        }
    }
    return remote_all_closed(daemon->remote);
}

/* Acts that must not happen inside a method: the reply is on its way first. */
void daemon_on_later(evutil_socket_t fd, short what, void *argument)
{
    (void)fd;
    (void)what;
    struct daemon *daemon = argument;
    if (daemon->upgrade_to[0]) {
        daemon_exec(daemon);
        daemon->upgrade_to[0] = 0;
    } else if (!daemon->manager->ending) {
        daemon_end(daemon);
    } else if (daemon_all_stopped(daemon)) {
        relay_client_drain(daemon->manager->relay, false);
        daemon_end(daemon);
    }
}

void daemon_schedule(struct daemon *daemon)
{
    timer_arm(daemon->later, 20);
}

void daemon_on_service_change(void *context, struct service *service)
{
    (void)service;
    struct daemon *daemon = context;
    if (daemon->manager->ending && daemon_all_stopped(daemon)) {
        daemon_schedule(daemon);
    }
}

/* A lease that a cleaner took is taken again, unless another gearsd was quicker. */
bool daemon_holds_lease(void *context)
{
    struct daemon *daemon = context;
    return lease_keep(&daemon->manager->home, &daemon->lease, NULL, NULL) != 1;
}

void daemon_shutdown(void *context, bool services)
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
    daemon_schedule(daemon);
}
