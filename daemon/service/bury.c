/* An incarnation whose keeper does not answer: find the keeper if it only has no socket, else
 * clear what it left (whatever carries its nonce, and the descendants of that) and learn how it
 * ended. A pid that was recorded is never signalled. */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "common/proc.h"
#include "common/record.h"
#include "common/unixsock.h"
#include "daemon/core/log.h"
#include "daemon/service/manager.h"

enum { KILL_ROUNDS = 100, PAUSE_NS = 20000000, BIND_ROUNDS = 25, REBIND_ROUNDS = 100 };

struct burial {
    struct manager *manager;
    char name[33], nonce[NONCE_TEXT_SIZE], socket[PATH_MAX];
    bool adopting;
    enum { KEEPER_FOUND, NEVER_RAN, ENDED } outcome;
    struct service_exit exit;
};

static void pause_a_moment(void)
{
    nanosleep(&(struct timespec){.tv_nsec = PAUSE_NS}, NULL);
}

static void list_keepers(const struct burial *burial, struct proc_list *list)
{
    char mark[80];
    snprintf(mark, sizeof mark, KEEPER_MARK "%s", burial->nonce);
    proc_list_by_environ(mark, list);
}

/* A keeper that was just started binds its socket in a moment; one whose file a cleaner deleted
 * binds again when it is told. */
static bool await_keeper(const struct burial *burial)
{
    for (int round = 0; round < REBIND_ROUNDS; round++) {
        struct proc_list list = {0};
        list_keepers(burial, &list);
        size_t alive = proc_list_signal(&list, round == BIND_ROUNDS ? SIGUSR1 : 0);
        free(list.items);
        if (!alive) {
            return false;
        }
        int fd = unix_connect(burial->socket, SOCK_SEQPACKET, true, NULL);
        if (fd >= 0) {
            close(fd);
            return true;
        }
        pause_a_moment();
    }
    return false;
}

static size_t kill_marked(const struct burial *burial, char *names, size_t size)
{
    char mark[80];
    struct proc_list list = {0};
    snprintf(mark, sizeof mark, "GEARS_KEEPER=%s", burial->nonce);
    list_keepers(burial, &list);
    proc_list_by_environ(mark, &list);
    size_t marked = list.count;
    for (size_t i = 0; i < marked; i++) {
        proc_list_descendants(list.items[i].pid, &list);
    }
    size_t reached = proc_list_signal(&list, SIGKILL);
    proc_list_describe(&list, names, size);
    free(list.items);
    return reached;
}

static int run_bury(void *context, struct error *err)
{
    (void)err;
    struct burial *burial = context;
    char names[200] = "";
    size_t reached = 0;
    if (burial->adopting && burial->nonce[0] && await_keeper(burial)) {
        burial->outcome = KEEPER_FOUND;
        return 0;
    }
    for (int round = 0; burial->nonce[0] && round < KILL_ROUNDS; round++) {
        reached = kill_marked(burial, names, sizeof names);
        if (!reached) {
            break;
        }
        pause_a_moment();
    }
    exit_load(&burial->manager->home, burial->name, burial->nonce, &burial->exit);
    /* A keeper makes its socket before it runs anything, and removes it after its record. */
    bool trace = !access(burial->socket, F_OK);
    unlink(burial->socket);
    burial->outcome =
        burial->exit.how == EXIT_NONE && burial->adopting && !trace ? NEVER_RAN : ENDED;
    if (burial->exit.how == EXIT_NONE) {
        burial->exit.how = EXIT_UNKNOWN;
    }
    if (reached) {
        snprintf(burial->exit.note, sizeof burial->exit.note, "could not be killed: %s", names);
    }
    return 0;
}

static void end_incarnation(struct service *service, const struct service_exit *end)
{
    bool told = service->exit_told; /* the keeper died after it told the end */
    if (end->how != EXIT_UNKNOWN || !told) {
        service->exit = *end;
    }
    bool clean = service->exit.how == EXIT_CODE && service->exit.value == 0;
    snprintf(service->cause, sizeof service->cause, "%s",
        service->exit.how == EXIT_UNKNOWN ? "its keeper died; how it ended is not known"
        : told                            ? "ended, then its keeper died"
                                          : "ended while gearsd was away");
    health_set(service, "process", false, service->cause);
    service_apply(service, clean ? EVENT_DIED_CLEAN : EVENT_DIED);
}

static void on_buried(void *context, int code, const struct error *err)
{
    (void)code;
    (void)err;
    struct burial *burial = context;
    struct service *service = manager_find(burial->manager, burial->name);
    if (!service || !string_equal(service->nonce, burial->nonce) || service->keeper) {
        free(burial);
        return;
    }
    if (burial->outcome == KEEPER_FOUND &&
        adopt_keeper(burial->manager, burial->name, burial->socket)) {
        log_line("keeper found by its mark service=%s", burial->name);
    } else if (burial->outcome == NEVER_RAN && service->machine.state == SERVICE_STARTING) {
        adopt_launch(service);
    } else if (burial->outcome == NEVER_RAN) {
        service_apply(service, EVENT_DIED_CLEAN); /* stopped, or told to, before it ran */
    } else {
        end_incarnation(service, &burial->exit);
    }
    free(burial);
}

void bury(struct service *service, bool adopting)
{
    struct manager *manager = service->manager;
    struct service_exit end;
    instance_forget(service);
    if (adopting && exit_load(&manager->home, service->config->name, service->nonce, &end)) {
        end_incarnation(service, &end); /* the usual case costs no search */
        return;
    }
    struct burial *burial = calloc(1, sizeof *burial);
    if (burial) {
        burial->manager = manager;
        burial->adopting = adopting;
        snprintf(burial->name, sizeof burial->name, "%s", service->config->name);
        memcpy(burial->nonce, service->nonce, sizeof burial->nonce);
        home_path(&manager->home, burial->socket, "run", "link/k-%s.sck", burial->name);
    }
    if (!burial || worker_submit(manager->work, run_bury, on_buried, burial)) {
        free(burial);
        end = (struct service_exit){.how = EXIT_UNKNOWN};
        end_incarnation(service, &end);
    }
}
