/* What a user may ask of a service. Each act is first made durable, then done, then answered.
 */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "daemon/core/log.h"
#include "daemon/service/manager.h"

struct act {
    struct manager *manager;
    char name[33];
    enum service_event event;
    bool has_event;
    bool wanted_before, failed_before;
    manager_done *done;
    void *context;
};

static void answer(manager_done *done, void *context, int code, const struct error *err)
{
    if (done) {
        done(context, code, err);
    }
}

static void on_durable(void *context, int code, const struct error *err)
{
    struct act *act = context;
    struct service *service = manager_find(act->manager, act->name);
    if (service && act->has_event && !code) {
        service_apply(service, act->event);
    } else if (service && act->has_event) {
        service->machine.wanted = act->wanted_before; /* refused: nothing changes */
        service->failed = act->failed_before;
    }
    answer(act->done, act->context, code, err);
    free(act);
}

/* Record the wish `event` (when has_event) and go on in on_durable. */
static void submit(struct service *service, bool has_event, enum service_event event,
    manager_done *done, void *context)
{
    struct act *act = calloc(1, sizeof *act);
    if (!act) {
        struct error err = {"out of memory"};
        answer(done, context, -ENOMEM, &err);
        return;
    }
    *act = (struct act){.manager = service->manager,
        .event = event,
        .has_event = has_event,
        .wanted_before = service->machine.wanted,
        .failed_before = service->failed,
        .done = done,
        .context = context};
    snprintf(act->name, sizeof act->name, "%s", service->config->name);
    if (has_event) {
        service->machine.wanted = event == EVENT_START || event == EVENT_RESTART;
        service->failed = false;
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

static bool is_idle(const struct service *service)
{
    enum service_state state = service->machine.state;
    return state == SERVICE_STOPPED || state == SERVICE_FAILED;
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
        relay_client_forget(manager->relay, old);
        manager_drop(manager, old);
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

static int run_unlink(void *context, struct error *err)
{
    (void)err;
    char *path = context;
    if (unlink(path) && errno != ENOENT) {
        log_line("record not removed path=%s cause=\"%s\"", path, strerror(errno));
    }
    free(path);
    return 0;
}

int manager_remove(struct manager *manager, struct service *service, struct error *err)
{
    const char *name = service->config->name;
    if (!service->adhoc && !service->orphaned) {
        return error_set(err, -EPERM, "%s is defined in gears.conf; remove it there", name);
    }
    if (!is_idle(service)) {
        return error_set(err, -EBUSY, "%s is %s; stop it first", name,
            service_state_name(service->machine.state));
    }
    char path[PATH_MAX];
    home_path(&manager->home, path, "state", "service/%s.rec", name);
    char *copy = strdup(path);
    if (!copy || worker_submit(manager->io, run_unlink, NULL, copy)) {
        free(copy);
        return error_set(
            err, -EAGAIN, "the record of %s cannot be removed now; try again", name);
    }
    log_audit("remove service=%s", name);
    manager_note(manager, NULL, "removed", "%s was removed", name);
    relay_client_forget(manager->relay, service);
    manager_drop(manager, service);
    return 0;
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
            relay_client_forget(manager->relay, s);
            manager_drop(manager, s);
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
