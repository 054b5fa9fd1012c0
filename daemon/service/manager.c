/* The set of services and what happens when one changes its state. */
#include "daemon/service/manager_private.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/inotify.h>
#include <sys/random.h>
#include <unistd.h>

#include "common/clock.h"
#include "daemon/core/await.h"
#include "daemon/core/log.h"
#include "daemon/core/timer.h"
#include "daemon/service/act.h"

struct service *manager_find(struct manager *manager, const char *name)
{
    for (struct service *s = manager->services; s; s = s->next) {
        if (!strcmp(s->config->name, name)) {
            return s;
        }
    }
    return NULL;
}

const char *manager_closest(struct manager *manager, const char *name)
{
    const char *names[SERVICES_LIMIT + 1];
    size_t count = 0;
    for (struct service *s = manager->services; s && count < SERVICES_LIMIT; s = s->next) {
        names[count++] = s->config->name;
    }
    names[count] = NULL;
    return closest_find(name, names);
}

struct service *manager_add(struct manager *manager, struct service_config *config)
{
    struct service *service =
        manager->service_count < SERVICES_LIMIT ? calloc(1, sizeof *service) : NULL;
    if (!service) {
        service_config_destroy(config);
        return NULL;
    }
    service->manager = manager;
    service->config = config;
    service->enabled = -1;
    service->relay_slot = -1;
    service->since_us = clock_utc_us();
    service->machine.policy = config->restart;
    service->health =
        (struct service_health){"process", false, "not running", service->since_us};
    struct service **end = &manager->services;
    while (*end) {
        end = &(*end)->next;
    }
    *end = service;
    manager->service_count++;
    return service;
}

void manager_drop(struct manager *manager, struct service *service)
{
    for (struct service **at = &manager->services; *at; at = &(*at)->next) {
        if (*at == service) {
            *at = service->next;
            break;
        }
    }
    manager->service_count--;
    act_forget(service);
    instance_forget(service);
    launch_finish(&service->launch);
    service_config_destroy(service->config);
    free(service);
}

bool service_is_served(const struct service *service)
{
    const struct service_config *config = service->config;
    bool uses = service->launch.socket || service->launch.port ||
                string_equal(config->kind, "jupyter") ||
                (config->command &&
                    (strstr(config->command, "{socket}") || strstr(config->command, "{port}")));
    for (char **word = config->argv; !uses && word && *word; word++) {
        uses = strstr(*word, "{socket}") || strstr(*word, "{port}");
    }
    return uses;
}

void manager_tell_watchers(struct manager *manager, struct service *service)
{
    for (struct manager_watcher *w = manager->watchers, *next; w; w = next) {
        next = w->next; /* a watcher may remove itself */
        w->changed(w->context, service);
    }
}

void manager_watch(struct manager *manager, struct manager_watcher *watcher)
{
    watcher->next = manager->watchers;
    manager->watchers = watcher;
}

void manager_unwatch(struct manager *manager, struct manager_watcher *watcher)
{
    for (struct manager_watcher **at = &manager->watchers; *at; at = &(*at)->next) {
        if (*at == watcher) {
            *at = watcher->next;
            return;
        }
    }
}

void manager_note(struct manager *manager, struct service *service, const char *event,
    const char *format, ...)
{
    struct manager_event *slot = &manager->events[++manager->seq % EVENT_RING];
    *slot = (struct manager_event){.seq = manager->seq, .at_us = clock_utc_us()};
    va_list args;
    va_start(args, format);
    vsnprintf(slot->message, sizeof slot->message, format, args);
    va_end(args);
    snprintf(slot->event, sizeof slot->event, "%s", event);
    snprintf(slot->service, sizeof slot->service, "%s", service ? service->config->name : "");
    log_line("%s event=%s %s", service ? slot->service : "gearsd", event, slot->message);
    manager_tell_watchers(manager, service);
}

/* The services that wait for `ready` with after=, wanted and not yet launched. */
static bool may_launch(struct service *service)
{
    for (char **name = service->config->after; name && *name; name++) {
        struct service *first = manager_find(service->manager, *name);
        if (first && first->machine.state != SERVICE_READY) {
            char words[120];
            snprintf(words, sizeof words, "waits for %s, which is %s", *name,
                service_state_name(first->machine.state));
            health_set(service, "after", false, words);
            return false;
        }
    }
    return true;
}

static void launch_when_allowed(struct service *service)
{
    for (char **name = service->config->after; name && *name; name++) {
        struct service *first = manager_find(service->manager, *name);
        if (first && first->machine.state == SERVICE_STOPPED) {
            manager_start(service->manager, first, NULL, NULL, NULL, NULL);
        }
    }
    service->nonce[0] = 0;
    if (may_launch(service)) {
        instance_launch(service);
    }
}

static void on_backoff_over(evutil_socket_t fd, short what, void *argument)
{
    (void)fd;
    (void)what;
    service_apply(argument, EVENT_BACKOFF_OVER);
}

static void carry_out(struct service *service, unsigned actions)
{
    if (actions & ACTION_CANCEL_TIMER) {
        timer_stop(&service->timer);
    }
    if (actions & ACTION_SCHEDULE) {
        uint32_t random = 0;
        (void)!getrandom(&random, sizeof random, GRND_NONBLOCK);
        service_timer(service, machine_backoff_ms(&service->machine, random), on_backoff_over);
    }
    if (actions & ACTION_KILL) {
        if (!service->launching && !service->keeper && !service->nonce[0]) {
            service_apply(service, EVENT_DIED_CLEAN); /* it only waited for another service */
        } else {
            instance_kill(service);
        }
    }
    if (actions & ACTION_LAUNCH) {
        launch_when_allowed(service);
    }
}

/* Somebody became ready: who waits for that may go. */
static void release_waiters(struct manager *manager)
{
    for (struct service *s = manager->services; s; s = s->next) {
        if (s->machine.state == SERVICE_STARTING && !s->launching && !s->keeper &&
            !s->nonce[0] && may_launch(s)) {
            instance_launch(s);
        }
    }
}

void service_apply(struct service *service, enum service_event event)
{
    struct manager *manager = service->manager;
    enum service_state before = service->machine.state;
    unsigned actions = machine_step(&service->machine, event, clock_monotonic_ms());
    enum service_state after = service->machine.state;
    if (before != after || (actions & ACTION_LAUNCH)) {
        service->since_us = clock_utc_us();
        if (after == SERVICE_READY) {
            instance_ready(service);
        }
        if (after == SERVICE_STOPPED) {
            service->cause[0] = 0;
            health_set(service, "process", false, "not running");
        }
        manager_note(manager, service, service_state_name(after), "%s → %s%s%s",
            service_state_name(before), service_state_name(after),
            service->cause[0] ? ": " : "", service->cause);
    }
    if (before != after && (after == SERVICE_STOPPED || after == SERVICE_FAILED) &&
        service->wish.wanted && !service->wish.fresh) {
        service->settled = true;
        store_submit(service, NULL, NULL); /* it stays so, whoever comes after this gearsd */
    }
    carry_out(service, actions);
    relay_client_put(manager->relay, service);
    if (after == SERVICE_READY && before != SERVICE_READY) {
        release_waiters(manager);
    }
}

/* A socket appeared or went in run/<host>/own: the service of that name may be ready. */
static void on_own_changed(evutil_socket_t fd, short what, void *argument)
{
    (void)what;
    struct manager *manager = argument;
    char buffer[4096] __attribute__((aligned(__alignof__(struct inotify_event))));
    ssize_t n = read((int)fd, buffer, sizeof buffer);
    for (char *at = buffer; n > 0 && at < buffer + n;) {
        struct inotify_event *event = (struct inotify_event *)at;
        char name[NAME_MAX + 1] = "";
        if (event->len) {
            snprintf(name, sizeof name, "%s", event->name);
        }
        char *dot = strstr(name, ".sck");
        if (dot && !dot[4]) {
            *dot = 0;
            struct service *service = manager_find(manager, name);
            if (service) {
                health_socket_changed(service);
            }
        }
        at += sizeof *event + event->len;
    }
}

static int watch_own(struct manager *manager, struct error *err)
{
    char path[PATH_MAX];
    home_path(&manager->home, path, "run", "own");
    manager->own_fd = inotify_init1(IN_CLOEXEC | IN_NONBLOCK);
    if (manager->own_fd < 0 ||
        inotify_add_watch(manager->own_fd, path, IN_CREATE | IN_MOVED_TO) < 0) {
        return error_errno(err, -errno, "cannot watch %s", path);
    }
    manager->own_event = event_new(
        manager->base, manager->own_fd, EV_READ | EV_PERSIST, on_own_changed, manager);
    return manager->own_event && !event_add(manager->own_event, NULL)
               ? 0
               : error_set(err, -ENOMEM, "out of memory");
}

static void start_enabled(struct manager *manager)
{
    for (struct service *s = manager->services; s; s = s->next) {
        bool enabled = s->enabled >= 0 ? s->enabled : s->config->enabled;
        if (s->wish.fresh && s->machine.state == SERVICE_STOPPED) {
            adopt_launch(s);
        } else if (enabled && s->machine.state == SERVICE_STOPPED && !s->machine.wanted) {
            manager_start(manager, s, NULL, NULL, NULL, NULL);
        }
    }
}

/* Nobody is served before the keepers found have said how their services are, and the relay
 * its counters. */
static bool is_unanswered(const void *context)
{
    const struct manager *manager = context;
    for (const struct service *s = manager->services; s; s = s->next) {
        if (s->keeper && !s->pid) {
            return true;
        }
    }
    return relay_client_is_settling(manager->relay);
}

int manager_init(struct manager *manager, struct event_base *base, const struct home *home,
    struct config *config, struct error *err)
{
    manager->base = base;
    manager->home = *home;
    manager->config = config;
    manager->started_at_us = clock_utc_us();
    nonce_make(manager->epoch);
    manager->io = worker_create(base, "io", true);
    manager->work = worker_create(base, "work", true);
    manager->reader = worker_create(base, "reader", false);
    if (!manager->io || !manager->work || !manager->reader) {
        return error_set(err, -ENOMEM, "cannot start the I/O threads");
    }
    for (size_t i = 0; i < config->service_count; i++) {
        struct service_config *copy = service_config_copy(config->services[i]);
        if (!copy || !manager_add(manager, copy)) {
            return error_set(err, -ENOMEM, "out of memory");
        }
    }
    int code = watch_own(manager, err);
    if (code) {
        return code;
    }
    store_load_all(manager);
    adopt_all(manager);
    manager->relay = relay_client_create(manager);
    if (!manager->relay) {
        return error_set(err, -ENOMEM, "out of memory");
    }
    await_while(base, AWAIT_FOUND_MS, is_unanswered, manager);
    start_enabled(manager);
    return 0;
}
