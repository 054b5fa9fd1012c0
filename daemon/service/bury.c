/* An incarnation whose keeper does not answer: while the keeper lives it is sought and reached
 * again; when it is dead, or takes no orders, what it left is cleared (whatever carries its
 * nonce, and the descendants of that) and how it ended is learnt. A pid that was recorded is
 * never signalled. */
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
#include "daemon/core/timer.h"
#include "daemon/service/manager_private.h"

enum {
    PAUSE_NS = 20000000, /* of each round */
    KILL_ROUNDS = 100,
    BIND_ROUNDS = 25,
    REBIND_ROUNDS = 100,
    AGAIN_ROUNDS = 10, /* who seeks again waits no longer: the worker has others to serve */
    AGAIN_MS = 2000,
    STOP_SEEKS = 3 /* in vain, then who is to end is killed */
};

struct burial {
    struct manager *manager;
    char name[NAME_TEXT_SIZE], nonce[NONCE_TEXT_SIZE], socket[PATH_MAX];
    enum bury_how how;
    int seeks, stop_seeks; /* in vain so far; of them while it was to stop */
    enum { KEEPER_ANSWERS, KEEPER_SILENT, NEVER_RAN, ENDED } outcome;
    struct service_exit exit;
};

static void pause_a_moment(void)
{
    nanosleep(&(struct timespec){.tv_nsec = PAUSE_NS}, NULL);
}

static int list_keepers(const struct burial *burial, struct proc_list *list)
{
    char mark[80];
    snprintf(mark, sizeof mark, KEEPER_MARK "%s", burial->nonce);
    return proc_list_by_environ(mark, list);
}

/* Whether it lives, as far as can be told; `outcome` then tells whether it answers. A keeper
 * that was just started binds its socket in a moment; one whose file a cleaner deleted binds
 * again when told. */
static bool seek_keeper(struct burial *burial)
{
    int bind_rounds = burial->seeks ? 0 : BIND_ROUNDS;
    int rounds = burial->seeks ? AGAIN_ROUNDS : REBIND_ROUNDS;
    burial->outcome = KEEPER_SILENT;
    for (int round = 0; round < rounds; round++) {
        struct proc_list list = {0};
        bool dead = !list_keepers(burial, &list) && !list.count;
        proc_list_signal(&list, round == bind_rounds ? SIGUSR1 : 0);
        free(list.items);
        if (dead) {
            return false;
        }
        int fd = unix_connect(burial->socket, SOCK_SEQPACKET, true, NULL);
        if (fd >= 0) {
            close(fd);
            burial->outcome = KEEPER_ANSWERS;
            return true;
        }
        pause_a_moment();
    }
    return true;
}

/* Name whom this found alive, and kill them. True when there was nobody left. */
static bool kill_marked(const struct burial *burial, char *names, size_t size)
{
    char mark[80];
    struct proc_list list = {0};
    snprintf(mark, sizeof mark, "GEARS_KEEPER=%s", burial->nonce);
    int code = list_keepers(burial, &list);
    code = code ? code : proc_list_by_environ(mark, &list);
    size_t marked = list.count, alive = 0;
    for (size_t i = 0; !code && i < marked; i++) {
        code = proc_list_descendants(list.items[i].pid, &list);
        code = code == -E2BIG ? 0 : code; /* too many to look through: those marked must do */
    }
    for (size_t i = 0; i < list.count; i++) {
        alive += list.items[i].state != 'Z' && list.items[i].state != 'X';
    }
    proc_list_signal(&list, SIGKILL);
    proc_list_describe(&list, names, size);
    free(list.items);
    return !code && !alive;
}

static int run_bury(void *context, struct error *err)
{
    (void)err;
    struct burial *burial = context;
    char names[200] = "";
    bool cleared = !burial->nonce[0];
    if (burial->how != BURY_KILL && burial->nonce[0] && seek_keeper(burial)) {
        return 0;
    }
    for (int round = 0; !cleared && round < KILL_ROUNDS; round++) {
        cleared = kill_marked(burial, names, sizeof names);
        if (!cleared) {
            pause_a_moment();
        }
    }
    if (!cleared && !names[0]) { /* it cannot be told who is left */
        burial->outcome = KEEPER_SILENT;
        return 0;
    }
    exit_load(&burial->manager->home, burial->name, burial->nonce, &burial->exit);
    /* A keeper makes its socket before it runs anything, and removes it after its record. */
    bool trace = !access(burial->socket, F_OK);
    unlink(burial->socket);
    bool never_ran = burial->exit.how == EXIT_NONE && burial->how == BURY_ADOPT && !trace;
    burial->outcome = never_ran ? NEVER_RAN : ENDED;
    if (burial->exit.how == EXIT_NONE) {
        burial->exit.how = EXIT_UNKNOWN;
    }
    if (!cleared) {
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

static void on_buried(void *context, int code, const struct error *err);
static void seek_later(struct burial *burial);

static void submit(struct burial *burial)
{
    if (worker_submit(burial->manager->work, run_bury, on_buried, burial)) {
        seek_later(burial);
    }
}

static void on_seek(evutil_socket_t fd, short what, void *argument)
{
    (void)fd;
    (void)what;
    submit(argument);
}

static void seek_later(struct burial *burial)
{
    struct timeval left = timer_after(AGAIN_MS);
    if (event_base_once(burial->manager->base, -1, EV_TIMEOUT, on_seek, burial, &left)) {
        log_line("out of memory: a keeper is not sought any more service=%s", burial->name);
        free(burial);
    }
}

/* One that closed a connection without a word would do so again and again. */
static bool may_reach(const struct service *service, const struct burial *burial)
{
    return burial->outcome == KEEPER_ANSWERS &&
           (service->heard || burial->seeks || burial->how == BURY_ADOPT);
}

static bool reach(struct service *service, const struct burial *burial)
{
    bool reached = burial->how == BURY_ADOPT
                       ? adopt_keeper(burial->manager, burial->name, burial->socket)
                       : instance_reconnect(service, burial->socket);
    if (reached) {
        log_line("keeper found by its mark service=%s", burial->name);
    }
    return reached;
}

/* It lives, and only its death would end the service: it is sought until it answers, or until
 * the service is to end and that cannot be told to it. */
static void seek_again(struct service *service, struct burial *burial)
{
    if (!burial->seeks++) {
        health_set(service, "keeper", false, "its keeper lives but cannot be reached");
        manager_note(service->manager, service, "keeper-silent",
            "the keeper of %s lives but cannot be reached; it is tried again", burial->name);
    }
    burial->stop_seeks += service->machine.state == SERVICE_STOPPING;
    if (burial->how != BURY_KILL && burial->stop_seeks >= STOP_SEEKS) {
        burial->how = BURY_KILL;
        submit(burial);
    } else {
        seek_later(burial);
    }
}

static void bury_dead(struct service *service, const struct burial *burial)
{
    if (burial->how == BURY_LOST) {
        manager_note(service->manager, service, "keeper-died",
            "the keeper of %s died; what it left was cleared", burial->name);
    }
    instance_forget(service);
    if (burial->outcome == NEVER_RAN && service->machine.state == SERVICE_STARTING) {
        adopt_launch(service);
    } else if (burial->outcome == NEVER_RAN) {
        service_apply(service, EVENT_DIED_CLEAN); /* stopped, or told to, before it ran */
    } else {
        end_incarnation(service, &burial->exit);
    }
}

static void on_buried(void *context, int code, const struct error *err)
{
    (void)code;
    (void)err;
    struct burial *burial = context;
    struct service *service = manager_find(burial->manager, burial->name);
    if (!service || !string_equal(service->nonce, burial->nonce) || service->keeper) {
        free(burial);
    } else if (burial->outcome == NEVER_RAN || burial->outcome == ENDED) {
        bury_dead(service, burial);
        free(burial);
    } else if (may_reach(service, burial) && reach(service, burial)) {
        free(burial);
    } else {
        seek_again(service, burial);
    }
}

void bury(struct service *service, enum bury_how how)
{
    struct manager *manager = service->manager;
    struct service_exit end;
    if (how != BURY_LOST) { /* a keeper that is lost may be found, and all goes on as it was */
        instance_forget(service);
    }
    if (how == BURY_ADOPT &&
        exit_load(&manager->home, service->config->name, service->nonce, &end)) {
        end_incarnation(service, &end); /* the usual case costs no search */
        return;
    }
    struct burial *burial = calloc(1, sizeof *burial);
    if (!burial) {
        log_line("out of memory: a keeper is not sought service=%s", service->config->name);
        return;
    }
    burial->manager = manager;
    burial->how = how;
    snprintf(burial->name, sizeof burial->name, "%s", service->config->name);
    memcpy(burial->nonce, service->nonce, sizeof burial->nonce);
    home_path(&manager->home, burial->socket, "run", "link/k-%s.sck", burial->name);
    submit(burial);
}
