/* What a user may ask of a service. Each act is first made durable, then done, then answered
 * (act.c). */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/file.h"
#include "daemon/core/log.h"
#include "daemon/service/act.h"
#include "daemon/service/manager_private.h"

static void answer(manager_done *done, void *context, int code, const struct error *err)
{
    if (done) {
        done(context, code, err);
    }
}

static void submit_event(
    struct service *service, enum service_event event, manager_done *done, void *context)
{
    struct act *act = act_create(service, done, context);
    if (act) {
        act->has_event = true;
        act->event = event;
        act_submit(act);
    }
}

static int replace_string(char **slot, const char *value)
{
    char *copy = strdup(value);
    if (!copy) {
        return -ENOMEM;
    }
    free(*slot);
    *slot = copy;
    return 0;
}

/* What the next start goes by: the newest configuration when it starts from rest, and what was
 * said with the start. NULL in *out: what it has. 0 or -ENOMEM. */
static int make_start_config(const struct service *service, const char *workspace,
    const char *env, struct service_config **out)
{
    struct service_terms terms;
    act_terms(service, &terms);
    const struct service_config *fresh =
        service_is_idle(service) && !service->adhoc
            ? config_find(service->manager->config, service->config->name)
            : NULL;
    *out = NULL;
    if (!fresh && !workspace && !env) {
        return 0;
    }
    *out = service_config_copy(fresh ? fresh : terms.config);
    if (!*out || (workspace && replace_string(&(*out)->workspace, workspace)) ||
        (env && replace_string(&(*out)->env, env))) {
        return -ENOMEM;
    }
    return 0;
}

void manager_start(struct manager *manager, struct service *service, const char *workspace,
    const char *env, manager_done *done, void *context)
{
    struct error err;
    if (manager->ending) {
        error_set(&err, -ESHUTDOWN, "gearsd is shutting down");
        answer(done, context, -ESHUTDOWN, &err);
        return;
    }
    log_audit("start service=%s", service->config->name);
    struct act *act = act_create(service, done, context);
    if (act && make_start_config(service, workspace, env, &act->config)) {
        act_refuse(act, error_set(&err, -ENOMEM, "out of memory"), &err);
    } else if (act) {
        act->has_event = true;
        act->event = EVENT_START;
        act_submit(act);
    }
}

void manager_stop(
    struct manager *manager, struct service *service, manager_done *done, void *context)
{
    (void)manager;
    log_audit("stop service=%s", service->config->name);
    submit_event(service, EVENT_STOP, done, context);
}

void manager_restart(
    struct manager *manager, struct service *service, manager_done *done, void *context)
{
    (void)manager;
    log_audit("restart service=%s", service->config->name);
    submit_event(service, EVENT_RESTART, done, context);
}

void manager_enable(struct manager *manager, struct service *service, bool enabled,
    manager_done *done, void *context)
{
    (void)manager;
    log_audit("%s service=%s", enabled ? "enable" : "disable", service->config->name);
    struct act *act = act_create(service, done, context);
    if (act) {
        act->has_enabled = true;
        act->enabled = enabled;
        act_submit(act);
    }
}

/* One that was asked for and is not recorded yet counts. */
static bool port_is_taken(struct manager *manager, const struct service *mine, int port)
{
    bool taken = false;
    for (struct service *s = manager->services; s && port; s = s->next) {
        struct service_terms terms;
        act_terms(s, &terms);
        taken |= s != mine && terms.forward_port == port;
    }
    return taken;
}

void manager_forward(struct manager *manager, struct service *service, int port,
    manager_done *done, void *context)
{
    struct error err;
    if (port_is_taken(manager, service, port)) {
        error_set(&err, -EADDRINUSE, "port %d is being given to another service", port);
        answer(done, context, -EADDRINUSE, &err);
        return;
    }
    log_audit("forward service=%s port=%d", service->config->name, port);
    struct act *act = act_create(service, done, context);
    if (act) {
        act->has_port = true;
        act->port = (uint16_t)port;
        act_submit(act);
    }
}

/* Its record is being written or removed: who drops it now would lose the one or the other. */
static bool is_being_changed(const struct service *service)
{
    return service->removing || service->acts;
}

static const char *change_words(const struct service *service)
{
    return service->removing ? "it is being removed; try again in a moment"
                             : "what was asked of it before is still being recorded; try again";
}

struct service *manager_run(struct manager *manager, struct service_config *config,
    manager_done *done, void *context, struct error *err)
{
    struct service *old = manager_find(manager, config->name);
    if (old && (!old->adhoc || !service_is_idle(old))) {
        error_set(err, -EEXIST, "%s exists already and is %s; choose another name%s",
            config->name, service_state_name(old->machine.state),
            old->adhoc ? " or run: gearsctl stop, then gearsctl remove" : "");
        service_config_destroy(config);
        return NULL;
    }
    if (old && is_being_changed(old)) {
        error_set(err, -EBUSY, "%s", change_words(old));
        service_config_destroy(config);
        return NULL;
    }
    if (old) {
        service_drop(old);
    }
    struct service *service = manager_add(manager, config);
    if (!service) {
        error_set(err, -ENOSPC, "there are %d services already; remove one", SERVICES_LIMIT);
        return NULL;
    }
    service->adhoc = true;
    log_audit("run service=%s", service->config->name);
    submit_event(service, EVENT_START, done, context);
    return service;
}

struct removal {
    struct manager *manager;
    char name[NAME_TEXT_SIZE];
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
    bool same = service && service->removing; /* not one that a reload put in its place */
    if (same) {
        service->removing = false;
    }
    if (same && !code) {
        manager_note(manager, NULL, "removed", "%s was removed", removal->name);
        service_drop(service);
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
    } else if (!service_is_idle(service)) {
        code = error_set(&err, -EBUSY, "%s is %s; stop it first", name,
            service_state_name(service->machine.state));
    } else if (is_being_changed(service)) {
        code = error_set(&err, -EBUSY, "%s", change_words(service));
    }
    if (code) {
        answer(done, context, code, &err);
        return;
    }
    struct removal *removal = calloc(1, sizeof *removal);
    if (removal) {
        *removal = (struct removal){.manager = manager, .done = done, .context = context};
        snprintf(removal->name, sizeof removal->name, "%s", name);
        log_audit("remove service=%s", name);
        service->removing = true;
        if (!worker_submit(manager->io, run_removal, on_removed, removal)) {
            return;
        }
    }
    service->removing = false;
    free(removal);
    code = error_set(&err, -EAGAIN, "the record cannot be removed now; try again");
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
        submit_event(service, EVENT_RESET_FAILED, done, context);
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
        } else if (service_is_idle(s) && !s->acts) {
            service_drop(s);
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
