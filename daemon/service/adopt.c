/* What a new gearsd finds: keepers that answer on their sockets, and incarnations that are
 * dead. The sockets are the truth; records assist. */
#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "common/clock.h"
#include "common/unixsock.h"
#include "daemon/core/log.h"
#include "daemon/service/manager_private.h"

/* Somebody's keeper without a record: its service is known until it ends. */
static struct service *add_orphan(struct manager *manager, const char *name)
{
    struct service_config *config = service_config_create(name, "command");
    struct service *service = config ? manager_add(manager, config) : NULL;
    if (service) {
        service->orphaned = true;
    }
    return service;
}

/* The wish is older than its fulfilment: a stop or restart that a dead gearsd was asked for. */
static void go_on(struct service *service)
{
    if (!service->wish.wanted) {
        service_apply(service, EVENT_STOP);
    } else if (service->wish.again) {
        service_apply(service, EVENT_RESTART);
    }
}

bool adopt_keeper(struct manager *manager, const char *name, const char *path)
{
    int fd = unix_connect(path, SOCK_SEQPACKET, true, NULL);
    struct ucred peer;
    if (fd < 0) {
        return false;
    }
    struct service *service = manager_find(manager, name);
    if (unix_peer(fd, &peer) || peer.uid != geteuid() ||
        (!service && !(service = add_orphan(manager, name)))) {
        close(fd);
        return false;
    }
    if (!service->recorded) { /* its record is lost: what runs is wanted */
        service->machine.wanted = service->wish.wanted = true;
    }
    service_apply(service, EVENT_ADOPTED);
    service->adopted = true;
    service->keeper_pid = peer.pid;
    health_set(service, "process", false, "found running; its keeper has not answered yet");
    if (link_send_empty(fd, LINK_HELLO, 1)) {
        log_line("keeper takes no message service=%s", name);
    }
    if (!instance_attach(service, fd)) {
        return false;
    }
    go_on(service);
    return true;
}

void adopt_launch(struct service *service)
{
    int restarts = service->machine.restarts;
    service->machine.state = SERVICE_STOPPED;
    service_apply(service, EVENT_START);
    service->machine.restarts = restarts;
}

/* Nobody answers for it: it ended, died with its keeper, or was never launched. */
static void settle(struct service *service)
{
    struct service_exit end;
    if (!service->wish.wanted || service->settled) {
        bool gone =
            exit_load(&service->manager->home, service->config->name, service->nonce, &end);
        service->exit = end.how == EXIT_NONE ? service->exit : end;
        if (gone || service->settled || !service->nonce[0]) {
            return;
        }
        service->machine.state = SERVICE_STOPPING;
    } else {
        service->machine.state = service->wish.again ? SERVICE_STOPPING : SERVICE_STARTING;
        service->machine.again = service->wish.again;
        service->machine.started_ms = clock_monotonic_ms();
    }
    bury(service, BURY_ADOPT);
}

void adopt_all(struct manager *manager)
{
    char folder[PATH_MAX], path[PATH_MAX + 260], name[256];
    DIR *dir = home_path(&manager->home, folder, "run", "link") ? NULL : opendir(folder);
    for (struct dirent *entry; dir && (entry = readdir(dir));) {
        size_t length = strlen(entry->d_name);
        if (strncmp(entry->d_name, "k-", 2) || length < 7 ||
            strcmp(entry->d_name + length - 4, ".sck") != 0) {
            continue;
        }
        snprintf(name, sizeof name, "%.*s", (int)(length - 6), entry->d_name + 2);
        snprintf(path, sizeof path, "%s/%s", folder, entry->d_name);
        if (!name_check(name, NULL)) {
            adopt_keeper(manager, name, path);
        }
    }
    if (dir) {
        closedir(dir);
    }
    for (struct service *service = manager->services; service; service = service->next) {
        if (!service->keeper && !service->wish.fresh) {
            settle(service);
        }
    }
}
