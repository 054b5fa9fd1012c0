/* The way of an act: recorded, then done, then answered; or refused, and nothing has changed.
 * acts.c says what there is to ask. */
#include "daemon/service/act.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "daemon/core/timer.h"
#include "daemon/service/manager_private.h"

enum { SLOW_MS = 1000 };

bool service_is_idle(const struct service *service)
{
    enum service_state state = service->machine.state;
    return state == SERVICE_STOPPED || state == SERVICE_FAILED;
}

void service_drop(struct service *service)
{
    relay_client_forget(service->manager->relay, service);
    manager_drop(service->manager, service);
}

void act_terms(const struct service *service, struct service_terms *terms)
{
    *terms = (struct service_terms){service->config, service->enabled, service->forward_port};
    for (const struct act *act = service->acts; act; act = act->next) {
        terms->config = act->config ? act->config : terms->config;
        terms->enabled = act->has_enabled ? act->enabled : terms->enabled;
        terms->forward_port = act->has_port ? act->port : terms->forward_port;
    }
}

void act_forget(struct service *service)
{
    for (struct act *act = service->acts; act; act = act->next) {
        act->service = NULL;
    }
    service->acts = NULL;
}

static void leave(struct act *act)
{
    for (struct act **at = &act->service->acts; *at; at = &(*at)->next) {
        if (*at == act) {
            *at = act->next;
            return;
        }
    }
}

static void finish(struct act *act, int code, const struct error *err)
{
    if (act->done) {
        act->done(act->context, code, err);
    }
    timer_stop(&act->slow);
    service_config_destroy(act->config);
    free(act);
}

void act_refuse(struct act *act, int code, const struct error *err)
{
    finish(act, code, err);
}

static void set_port(struct service *service, uint16_t port)
{
    struct relay_client *relay = service->manager->relay;
    if (service->forward_port && service->forward_port != port) {
        relay_client_unlisten_port(relay, service, service->forward_port);
    }
    service->forward_port = port;
    relay_client_put(relay, service);
}

static void apply(struct act *act)
{
    struct service *service = act->service;
    if (act->config) {
        service_config_destroy(service->config);
        service->config = act->config;
        service->machine.policy = act->config->restart;
        act->config = NULL;
    }
    if (act->has_enabled) {
        service->enabled = act->enabled;
    }
    if (act->has_port) {
        set_port(service, act->port);
    }
    if (act->has_event && !act->applied) {
        service_apply(service, act->event);
    }
}

/* The record could not be written. A stop is carried out all the same: who is out of quota must
 * be able to end things; anything else changes nothing. */
static void take_back(struct act *act, int code, const struct error *err)
{
    struct service *service = act->service;
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
    if (act->stores != service->stores && !act->is_run) {
        store_submit(service, NULL, NULL); /* a later record says what was refused now */
    }
    bool is_run = act->is_run;
    finish(act, code, &words);
    if (is_run) {
        service_drop(service);
    }
}

static void on_durable(void *context, int code, const struct error *err)
{
    struct act *act = context;
    if (act->service) {
        leave(act);
    }
    if (act->service && code) {
        take_back(act, code, err);
        return;
    }
    if (act->service) {
        apply(act);
    }
    finish(act, code, err);
}

/* The state's filesystem hangs. Nothing may begin before it is recorded; an end may, and is
 * only answered when it is. */
static void on_slow(evutil_socket_t fd, short what, void *argument)
{
    (void)fd;
    (void)what;
    struct act *act = argument;
    if (!act->service) {
        return;
    }
    manager_note(act->service->manager, act->service, "storage",
        "the filesystem of the state has not answered for %d s; what was asked waits",
        SLOW_MS / 1000);
    if (act->has_event && act->event == EVENT_STOP) {
        act->applied = true;
        service_apply(act->service, EVENT_STOP);
    }
}

static void set_wish(struct service *service, enum service_event event)
{
    bool runs = !service_is_idle(service) && service->machine.state != SERVICE_BACKOFF;
    service->wish.wanted = event == EVENT_START || event == EVENT_RESTART;
    service->wish.fresh = service->wish.wanted && !runs;
    service->wish.again =
        service->wish.wanted && runs &&
        (event == EVENT_RESTART || service->machine.state == SERVICE_STOPPING);
}

struct act *act_create(struct service *service, manager_done *done, void *context)
{
    struct act *act = service->removing ? NULL : calloc(1, sizeof *act);
    struct error err;
    if (act) {
        *act = (struct act){.service = service, .done = done, .context = context};
    } else if (done) {
        int code = service->removing ? error_set(&err, -EBUSY, "it is being removed")
                                     : error_set(&err, -ENOMEM, "out of memory");
        done(context, code, &err);
    }
    return act;
}

void act_submit(struct act *act)
{
    struct service *service = act->service;
    struct act **end = &service->acts;
    while (*end) {
        end = &(*end)->next;
    }
    *end = act;
    act->is_run = act->has_event && service->adhoc && !service->recorded;
    if (act->has_event) {
        set_wish(service, act->event);
    }
    service->recorded = true;
    act->stores = service->stores + 1;
    timer_start(&act->slow, service->manager->base, SLOW_MS, on_slow, act);
    store_submit(service, on_durable, act);
}
