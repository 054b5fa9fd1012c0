/* What a user may ask of a service. Each act is first made durable, then done, then answered.
 */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/file.h"
#include "daemon/core/log.h"
#include "daemon/service/manager.h"

enum { SLOW_MS = 1000 };

struct act {
    struct manager *manager;
    char name[33];
    enum service_event event;
    bool has_event, is_run, applied;
    struct event *slow; /* fires when the record takes long */
    manager_done *done;
    void *context;
};

static void answer(manager_done *done, void *context, int code, const struct error *err)
{
    if (done) {
        done(context, code, err);
    }
}

static void drop(struct service *service)
{
    relay_client_forget(service->manager->relay, service);
    manager_drop(service->manager, service);
}

/* The record could not be written. A stop is carried out all the same: who is out of quota must
 * be able to end things; anything else changes nothing. */
static void refuse(struct act *act, struct service *service, int code, const struct error *err)
{
    struct error words = *err;
    if (act->has_event && act->event == EVENT_STOP) {
        service_apply(service, EVENT_STOP);
        error_set(&words, code,
            "it is being stopped, but that cannot be recorded, so a new gearsd may start it "
            "again: %s",
            err->text);
    } else if (act->has_event) {
        service->wish.wanted = service->machine.wanted;
        service->wish.fresh = service->wish.again = false;
        manager_note(
            service->manager, service, "refused", "not recorded, so not done: %s", err->text);
    }
    answer(act->done, act->context, code, &words);
    if (act->is_run) {
        drop(service);
    }
}

/* The state's filesystem hangs. Nothing may begin before it is recorded; an end may, and is
 * only answered when it is. */
static void on_slow(evutil_socket_t fd, short what, void *argument)
{
    (void)fd;
    (void)what;
    struct act *act = argument;
    struct service *service = manager_find(act->manager, act->name);
    if (service) {
        manager_note(act->manager, service, "storage",
            "the filesystem of the state has not answered for %d s; what was asked waits",
            SLOW_MS / 1000);
    }
    if (service && act->has_event && act->event == EVENT_STOP) {
        act->applied = true;
        service_apply(service, EVENT_STOP);
    }
}

static void on_durable(void *context, int code, const struct error *err)
{
    struct act *act = context;
    struct service *service = manager_find(act->manager, act->name);
    if (act->slow) {
        event_free(act->slow);
    }
    if (service && code) {
        refuse(act, service, code, err);
    } else {
        if (service && act->has_event && !act->applied) {
            service_apply(service, act->event);
        }
        answer(act->done, act->context, code, err);
    }
    free(act);
}

static bool is_idle(const struct service *service)
{
    enum service_state state = service->machine.state;
    return state == SERVICE_STOPPED || state == SERVICE_FAILED;
}

static void set_wish(struct service *service, enum service_event event)
{
    bool runs = !is_idle(service) && service->machine.state != SERVICE_BACKOFF;
    service->wish.wanted = event == EVENT_START || event == EVENT_RESTART;
    service->wish.fresh = service->wish.wanted && !runs;
    service->wish.again =
        service->wish.wanted && runs &&
        (event == EVENT_RESTART || service->machine.state == SERVICE_STOPPING);
}

/* Record the wish `event` (when has_event) and go on in on_durable. */
static void submit(struct service *service, bool has_event, enum service_event event,
    manager_done *done, void *context)
{
    struct act *act = calloc(1, sizeof *act);
    struct error err = {"out of memory"};
    if (!act || service->removing) {
        int code = act ? error_set(&err, -EBUSY, "it is being removed") : -ENOMEM;
        free(act);
        answer(done, context, code, &err);
        return;
    }
    *act = (struct act){.manager = service->manager,
        .event = event,
        .has_event = has_event,
        .is_run = has_event && service->adhoc && !service->recorded,
        .done = done,
        .context = context};
    snprintf(act->name, sizeof act->name, "%s", service->config->name);
    if (has_event) {
        set_wish(service, event);
    }
    service->recorded = true;
    act->slow = evtimer_new(service->manager->base, on_slow, act);
    if (act->slow) {
        event_add(act->slow, &(struct timeval){.tv_sec = SLOW_MS / 1000});
    }
    store_submit(service, on_durable, act);
}

static void replace_string(char **slot, const char *value)
{
    char *copy = strdup(value);
    if (copy) {
        free(*slot);
        *slot = copy;
    }
}

/* At a start from rest the newest configuration counts. */
static void refresh_config(struct service *service)
{
    const struct service_config *fresh =
        config_find(service->manager->config, service->config->name);
    struct service_config *copy = fresh && !service->adhoc ? service_config_copy(fresh) : NULL;
    if (copy) {
        service_config_destroy(service->config);
        service->config = copy;
        service->machine.policy = copy->restart;
    }
}

void manager_start(struct manager *manager, struct service *service, const char *workspace,
    const char *env, manager_done *done, void *context)
{
    if (manager->ending) {
        struct error err = {"gearsd is shutting down"};
        answer(done, context, -ESHUTDOWN, &err);
        return;
    }
    if (is_idle(service)) {
        refresh_config(service);
    }
    if (workspace) {
        replace_string(&service->config->workspace, workspace);
    }
    if (env) {
        replace_string(&service->config->env, env);
    }
    log_audit("start service=%s", service->config->name);
    submit(service, true, EVENT_START, done, context);
}

void manager_stop(
    struct manager *manager, struct service *service, manager_done *done, void *context)
{
    (void)manager;
    log_audit("stop service=%s", service->config->name);
    submit(service, true, EVENT_STOP, done, context);
}

void manager_restart(
    struct manager *manager, struct service *service, manager_done *done, void *context)
{
    (void)manager;
    log_audit("restart service=%s", service->config->name);
    submit(service, true, EVENT_RESTART, done, context);
}

void manager_enable(struct manager *manager, struct service *service, bool enabled,
    manager_done *done, void *context)
{
    (void)manager;
    service->enabled = enabled;
    log_audit("%s service=%s", enabled ? "enable" : "disable", service->config->name);
    submit(service, false, EVENT_START, done, context);
}

void manager_forward(struct manager *manager, struct service *service, int port,
    manager_done *done, void *context)
{
    if (service->forward_port && service->forward_port != port) {
        relay_client_unlisten_port(manager->relay, service, service->forward_port);
    }
    service->forward_port = (uint16_t)port;
    log_audit("forward service=%s port=%d", service->config->name, port);
    relay_client_put(manager->relay, service);
    submit(service, false, EVENT_START, done, context);
}

struct service *manager_run(struct manager *manager, struct service_config *config,
    manager_done *done, void *context, struct error *err)
{
    struct service *old = manager_find(manager, config->name);
    if (old && (!old->adhoc || !is_idle(old))) {
        error_set(err, -EEXIST, "%s exists already and is %s; choose another name%s",
            config->name, service_state_name(old->machine.state),
            old->adhoc ? " or run: gearsctl stop, then gearsctl remove" : "");
        service_config_destroy(config);
        return NULL;
    }
    if (old) {
        drop(old);
    }
    struct service *service = manager_add(manager, config);
    if (!service) {
        error_set(err, -ENOSPC, "there are %d services already; remove one", SERVICES_LIMIT);
        return NULL;
    }
    service->adhoc = true;
    log_audit("run service=%s", service->config->name);
    submit(service, true, EVENT_START, done, context);
    return service;
}

struct removal {
    struct manager *manager;
    char name[33];
    manager_done *done;
    void *context;
};

static int run_removal(void *context, struct error *err)
{
    struct removal *removal = context;
    const struct home *home = &removal->manager->home;
    char record[PATH_MAX], end[PATH_MAX];
    if (home_path(home, record, "state", "service/%s.rec", removal->name) ||
        home_path(home, end, "state", "exit/%s.rec", removal->name)) {
        return error_set(err, -ENAMETOOLONG, "%s: path too long", home->root);
    }
    if (unlink(record) && errno != ENOENT) {
        return error_errno(err, -errno, "cannot remove %s", record);
    }
    int code = file_sync_parent(record, err);
    unlink(end); /* means nothing without the other */
    return code;
}

static void on_removed(void *context, int code, const struct error *err)
{
    struct removal *removal = context;
    struct manager *manager = removal->manager;
    struct service *service = manager_find(manager, removal->name);
    if (service) {
        service->removing = false;
    }
    if (service && !code) {
        manager_note(manager, NULL, "removed", "%s was removed", removal->name);
        drop(service);
    }
    answer(removal->done, removal->context, code, err);
    free(removal);
}

void manager_remove(
    struct manager *manager, struct service *service, manager_done *done, void *context)
{
    struct error err;
    const char *name = service->config->name;
    int code = 0;
    if (!service->adhoc && !service->orphaned) {
        code = error_set(&err, -EPERM, "%s is defined in gears.conf; remove it there", name);
    } else if (!is_idle(service) || service->removing) {
        code = error_set(&err, -EBUSY, "%s is %s; stop it first", name,
            service_state_name(service->machine.state));
    }
    struct removal *removal = code ? NULL : calloc(1, sizeof *removal);
    if (removal) {
        *removal = (struct removal){.manager = manager, .done = done, .context = context};
        snprintf(removal->name, sizeof removal->name, "%s", name);
        log_audit("remove service=%s", name);
        service->removing = true;
        code = worker_submit(manager->io, run_removal, on_removed, removal);
    }
    if (!code && removal) {
        return;
    }
    if (!code || removal) {
        code = error_set(&err, -EAGAIN, "the record cannot be removed now; try again");
    }
    service->removing = false;
    free(removal);
    answer(done, context, code, &err);
}

int manager_signal(struct service *service, int signal, struct error *err)
{
    struct link_frame frame;
    if (!service->keeper || !service->pid) {
        return error_set(err, -ESRCH, "%s is not running", service->config->name);
    }
    link_frame_start(&frame, LINK_KEEPER_SIGNAL, 0);
    link_frame_u64(&frame, LINK_TAG_SIGNAL, (uint64_t)signal);
    log_audit("signal service=%s signal=%s", service->config->name, signal_name(signal));
    int code = link_peer_send(service->keeper, &frame);
    return code ? error_errno(err, code, "the keeper of %s", service->config->name) : 0;
}

void manager_reset_failed(struct service *service, manager_done *done, void *context)
{
    if (service->machine.state == SERVICE_FAILED) {
        submit(service, true, EVENT_RESET_FAILED, done, context);
    } else {
        answer(done, context, 0, NULL);
    }
}

void manager_reconfigure(struct manager *manager, struct config *config)
{
    for (struct service *s = manager->services, *next; s; s = next) {
        next = s->next;
        if (s->adhoc || config_find(config, s->config->name)) {
            s->orphaned = false;
        } else if (is_idle(s)) {
            drop(s);
        } else {
            s->orphaned = true;
        }
    }
    for (size_t i = 0; i < config->service_count; i++) {
        if (!manager_find(manager, config->services[i]->name)) {
            struct service_config *copy = service_config_copy(config->services[i]);
            struct service *service = copy ? manager_add(manager, copy) : NULL;
            if (service) {
                relay_client_put(manager->relay, service);
            }
        }
    }
    config_destroy(manager->config);
    manager->config = config;
    manager_note(manager, NULL, "reloaded", "gears.conf was read again");
}
