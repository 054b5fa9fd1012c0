/* What a new gearsd finds: keepers that answer on their sockets, and incarnations that are
 * dead. The sockets are the truth; records assist. */
#include <dirent.h>
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <sys/socket.h>
#include <unistd.h>

#include "common/clock.h"
#include "common/proc.h"
#include "common/unixsock.h"
#include "daemon/core/log.h"
#include "daemon/service/manager.h"

enum { KILL_ROUNDS = 100, KILL_PAUSE_NS = 20000000 };

struct burial {
    struct manager *manager;
    char name[33], nonce[NONCE_TEXT_SIZE];
    struct service_exit exit;
};

/* KILL everything that carries the dead keeper's nonce, until nothing does or the bound is met.
 */
static int run_bury(void *context, struct error *err)
{
    (void)err;
    struct burial *burial = context;
    char assignment[64];
    snprintf(assignment, sizeof assignment, "GEARS_KEEPER=%s", burial->nonce);
    for (int round = 0; burial->nonce[0] && round < KILL_ROUNDS; round++) {
        struct proc_list list = {0};
        proc_list_by_environ(assignment, &list);
        size_t reached = proc_list_signal(&list, SIGKILL);
        if (round == KILL_ROUNDS - 1 && reached) {
            char names[128];
            proc_list_describe(&list, names, sizeof names);
            snprintf(
                burial->exit.note, sizeof burial->exit.note, "could not be killed: %s", names);
        }
        free(list.items);
        if (!reached) {
            break;
        }
        nanosleep(&(struct timespec){.tv_nsec = KILL_PAUSE_NS}, NULL);
    }
    char note[256];
    memcpy(note, burial->exit.note, sizeof note);
    exit_load(&burial->manager->home, burial->name, burial->nonce, &burial->exit);
    memcpy(burial->exit.note, note, sizeof note);
    return 0;
}

static void on_buried(void *context, int code, const struct error *err)
{
    (void)code;
    (void)err;
    struct burial *burial = context;
    struct service *service = manager_find(burial->manager, burial->name);
    if (service && string_equal(service->nonce, burial->nonce) && !service->keeper) {
        service->exit = burial->exit;
        bool clean = burial->exit.how == EXIT_CODE && burial->exit.value == 0;
        snprintf(service->cause, sizeof service->cause, "%s",
            burial->exit.how == EXIT_UNKNOWN ? "its keeper died; how it ended is not known"
                                             : "ended while gearsd was away");
        health_set(service, "process", false, service->cause);
        service_apply(service, clean ? EVENT_DIED_CLEAN : EVENT_DIED);
    }
    free(burial);
}

void instance_bury(struct service *service)
{
    instance_forget(service);
    struct burial *burial = calloc(1, sizeof *burial);
    if (burial) {
        burial->manager = service->manager;
        snprintf(burial->name, sizeof burial->name, "%s", service->config->name);
        memcpy(burial->nonce, service->nonce, sizeof burial->nonce);
    }
    if (!burial || worker_submit(service->manager->work, run_bury, on_buried, burial)) {
        free(burial);
        service->exit = (struct service_exit){.how = EXIT_UNKNOWN};
        service_apply(service, EVENT_DIED);
    }
}

static void adopt_keeper(struct manager *manager, const char *name, const char *path)
{
    int fd = unix_connect(path, SOCK_SEQPACKET, true, NULL);
    if (fd < 0) {
        if (fd == -ECONNREFUSED) {
            unlink(path); /* its keeper is dead; nobody else may hold this name on this host */
        }
        return;
    }
    struct ucred peer;
    struct service *service = manager_find(manager, name);
    if (unix_peer(fd, &peer) || peer.uid != geteuid()) {
        close(fd);
        return;
    }
    if (!service) {
        struct service_config *config = service_config_create(name, "command");
        service = config ? manager_add(manager, config) : NULL;
        if (!service) {
            close(fd);
            return;
        }
        service->orphaned = true;
    }
    service->machine.wanted = true;
    service_apply(service, EVENT_ADOPTED);
    health_set(service, "process", false, "found running; its keeper has not answered yet");
    if (link_send_empty(fd, LINK_HELLO, 1)) {
        log_line("keeper takes no message service=%s", name);
    }
    instance_attach(service, fd);
}

/* An incarnation is recorded and no keeper answers: it ended while nobody looked, or its keeper
 * was killed and has left a tree. */
static void adopt_dead(struct service *service)
{
    struct service_exit end;
    bool gone = exit_load(&service->manager->home, service->config->name, service->nonce, &end);
    if (service->failed || (!service->machine.wanted && gone)) {
        service->exit = end;
        service->machine.state = service->failed ? SERVICE_FAILED : SERVICE_STOPPED;
        return;
    }
    service->machine.state = service->machine.wanted ? SERVICE_STARTING : SERVICE_STOPPING;
    service->machine.started_ms = clock_monotonic_ms();
    instance_bury(service);
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
        if (!service->keeper && service->nonce[0]) {
            adopt_dead(service);
        }
    }
}
