/* The sockets here that lead over a hop, as the relay is told of them: gearsd@CLUSTER for
 * gearsctl, SERVICE@CLUSTER at run/CLUSTER.sck for a laptop's forward, and further services. */
#include <stdio.h>
#include <string.h>

#include "daemon/core/log.h"
#include "daemon/remote/hop_private.h"

static enum link_service_state route_state(const struct hop *hop)
{
    switch (hop->machine.state) {
    case HOP_UP:
        return hop->report.known && !hop->machine.closing ? LINK_SERVICE_UP
               : hop->report_failed                       ? LINK_SERVICE_DOWN
                                                          : LINK_SERVICE_STARTING;
    case HOP_DEGRADED:
    case HOP_CONNECTING:
        return LINK_SERVICE_STARTING;
    case HOP_DOWN:
        return hop->machine.scheduled ? LINK_SERVICE_STARTING : LINK_SERVICE_DOWN;
    default:
        return LINK_SERVICE_DOWN;
    }
}

/* A client waits: whether the server still answers is worth asking now. */
static void on_demand(struct relay_route *route, void *context)
{
    (void)route;
    struct hop *hop = context;
    hop_probe(hop);
    outage_hurry(hop, false);
}

static void on_trouble(struct relay_route *route, int code, const char *text, void *context)
{
    (void)code;
    log_line("hop route=%s cause=\"%s\"", route->name, text);
    hop_probe(context);
}

static void on_refused(struct relay_route *route, const char *text, void *context)
{
    hop_note(context, "no-socket", "%s: %s", route->name, text);
}

/* One more of `routes`, which listens at `path` if that fits a socket's address. */
static bool add(struct hop *hop, struct relay_route routes[HOP_ROUTES], size_t *count,
    const char *service, const char *path)
{
    struct relay_route *route = *count < HOP_ROUTES ? &routes[(*count)++] : NULL;
    char feed[PATH_MAX];
    const struct home *home = &hop->remote->manager->home;
    if (!route) {
        return false;
    }
    *route = (struct relay_route){.demanded = on_demand,
        .trouble = on_trouble,
        .refused = on_refused,
        .context = hop,
        .wait_ms = hop->config->wait_ms};
    snprintf(route->name, sizeof route->name, "%s@%s", service, hop->config->name);
    if (!home_path(home, feed, "run", "link/f-%s.sck", hop->config->name) &&
        strlen(feed) < sizeof route->feed_path && strlen(path) < sizeof route->listen_path) {
        snprintf(route->feed_path, sizeof route->feed_path, "%s", feed);
        snprintf(route->listen_path, sizeof route->listen_path, "%s", path);
    }
    return route->listen_path[0];
}

/* gearsd's own is the first, the lab's the second, as view_tunnel.c has them. */
static size_t make_routes(struct hop *hop, struct relay_route routes[HOP_ROUTES])
{
    const struct cluster_config *config = hop->config;
    const struct home *home = &hop->remote->manager->home;
    char path[PATH_MAX];
    size_t count = 0;
    int code = home_path(home, path, "run", "link/g-%s.sck", config->name);
    add(hop, routes, &count, "gearsd", code ? "" : path);
    snprintf(path, sizeof path, "%s/run/%s.sck", home->root, config->name);
    if (!add(hop, routes, &count, config->service, path)) {
        hop_note(hop, "no-socket",
            "%s is too long for a socket; set GEARS_HOME to a shorter path", path);
    }
    for (char **name = config->forward; name && *name; name++) {
        snprintf(path, sizeof path, "%s/run/%s+%s.sck", home->root, config->name, *name);
        add(hop, routes, &count, *name, path);
    }
    return count;
}

/* A service's own name, before the '@'. */
static void set_target(struct relay_route *route, const struct hop_report *report)
{
    if (!strncmp(route->name, "gearsd@", 7)) {
        snprintf(route->target_path, sizeof route->target_path, "%s", report->socket);
    } else if (snprintf(route->target_path, sizeof route->target_path, "%s/%.*s.sck",
                   report->run, (int)strcspn(route->name, "@"),
                   route->name) >= (int)sizeof route->target_path) {
        route->target_path[0] = 0;
    }
}

void routes_update(struct hop *hop)
{
    const struct hop_machine *machine = &hop->machine;
    bool serves = hop->lease.nonce[0] && (machine->wanted || machine->lasting);
    if (!serves) {
        routes_drop(hop);
        return;
    }
    if (!hop->route_count) {
        hop->route_count = make_routes(hop, hop->routes);
    }
    for (size_t i = 0; i < hop->route_count; i++) {
        struct relay_route *route = &hop->routes[i];
        route->state = route_state(hop);
        route->since_us = hop->since_us;
        if (hop->report.known) {
            set_target(route, &hop->report);
        }
        snprintf(route->cause, sizeof route->cause, "%s: %s", hop_state_name(machine->state),
            hop->message[0] ? hop->message : hop_cause_name(machine->cause));
        snprintf(route->command, sizeof route->command, "gearsctl login %s", hop->config->name);
        if (route->listen_path[0]) {
            relay_client_route_put(hop->remote->manager->relay, route);
        }
    }
}

static struct relay_route *find_same(
    struct relay_route *routes, size_t count, const struct relay_route *wanted)
{
    for (size_t i = 0; i < count; i++) {
        if (!strcmp(routes[i].name, wanted->name) &&
            !strcmp(routes[i].listen_path, wanted->listen_path)) {
            return &routes[i];
        }
    }
    return NULL;
}

/* What stays keeps its place, and with it the relay its clients. */
static void merge(struct hop *hop, struct relay_route fresh[HOP_ROUTES], size_t count)
{
    size_t free_slot = 2;
    for (size_t i = 0; i < hop->route_count; i++) {
        if (!find_same(fresh, count, &hop->routes[i])) {
            relay_client_route_drop(hop->remote->manager->relay, &hop->routes[i]);
            hop->routes[i] = (struct relay_route){0};
        }
    }
    for (size_t i = 0; i < count; i++) {
        struct relay_route *same = find_same(hop->routes, hop->route_count, &fresh[i]);
        if (same) {
            same->wait_ms = fresh[i].wait_ms;
            continue;
        }
        while (i >= 2 && hop->routes[free_slot].name[0]) {
            free_slot++;
        }
        size_t slot = i < 2 ? i : free_slot;
        hop->routes[slot] = fresh[i];
        hop->route_count = slot < hop->route_count ? hop->route_count : slot + 1;
    }
}

void routes_refresh(struct hop *hop)
{
    struct relay_route fresh[HOP_ROUTES] = {0};
    if (hop->route_count) {
        merge(hop, fresh, make_routes(hop, fresh));
    }
    routes_update(hop);
}

void routes_drop(struct hop *hop)
{
    for (size_t i = 0; i < hop->route_count; i++) {
        relay_client_route_drop(hop->remote->manager->relay, &hop->routes[i]);
        hop->routes[i] = (struct relay_route){0};
    }
    hop->route_count = 0;
}
