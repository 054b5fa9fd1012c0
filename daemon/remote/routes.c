/* The sockets here that lead over a hop, as the relay is told of them: gearsd@CLUSTER for
 * gearsctl, SERVICE@CLUSTER at run/CLUSTER.sck for a laptop's forward, and further services. */
#include <stdio.h>
#include <string.h>

#include "daemon/core/log.h"
#include "daemon/remote/hop.h"

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

static struct relay_route *add(struct hop *hop, const char *service)
{
    struct relay_route *route =
        hop->route_count < HOP_ROUTES ? &hop->routes[hop->route_count] : NULL;
    char feed[PATH_MAX];
    const struct home *home = &hop->remote->manager->home;
    if (!route || home_path(home, feed, "run", "link/f-%s.sck", hop->config->name) ||
        strlen(feed) >= sizeof route->feed_path) {
        return NULL;
    }
    *route = (struct relay_route){.demanded = on_demand,
        .trouble = on_trouble,
        .refused = on_refused,
        .context = hop,
        .wait_ms = hop->config->wait_ms};
    snprintf(route->name, sizeof route->name, "%s@%s", service, hop->config->name);
    snprintf(route->feed_path, sizeof route->feed_path, "%s", feed);
    hop->route_count++;
    return route;
}

/* Whether `path` fits a socket's address; it is the route's place then. */
static bool listen_at(struct relay_route *route, const char *path)
{
    bool fits = strlen(path) < sizeof route->listen_path;
    snprintf(route->listen_path, sizeof route->listen_path, "%s", fits ? path : "");
    return fits;
}

static void make_routes(struct hop *hop)
{
    const struct cluster_config *config = hop->config;
    const struct home *home = &hop->remote->manager->home;
    char path[PATH_MAX];
    struct relay_route *route = add(hop, "gearsd");
    if (route && !home_path(home, path, "run", "link/g-%s.sck", config->name)) {
        listen_at(route, path);
    }
    route = add(hop, config->service);
    snprintf(path, sizeof path, "%s/run/%s.sck", home->root, config->name);
    if (route && !listen_at(route, path)) {
        hop_note(hop, "no-socket",
            "%s is too long for a socket; set GEARS_HOME to a shorter path", path);
    }
    for (char **name = config->forward; name && *name; name++) {
        route = add(hop, *name);
        snprintf(path, sizeof path, "%s/run/%s+%s.sck", home->root, config->name, *name);
        if (route) {
            listen_at(route, path);
        }
    }
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
        make_routes(hop);
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

void routes_drop(struct hop *hop)
{
    for (size_t i = 0; i < hop->route_count; i++) {
        relay_client_route_drop(hop->remote->manager->relay, &hop->routes[i]);
    }
    hop->route_count = 0;
}
