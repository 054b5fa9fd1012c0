/* The set of hops: one for each configured cluster, found again when gearsd starts. */
#include <errno.h>
#include <glob.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/clock.h"
#include "common/file.h"
#include "daemon/core/await.h"
#include "daemon/core/log.h"
#include "daemon/core/timer.h"
#include "daemon/remote/hop_private.h"

static bool is_idle(const struct hop *hop)
{
    return !hop->tunnel && !hop->preparing && !hop->machine.wanted && !hop->visitors;
}

static struct hop *find(struct remote *remote, const char *cluster)
{
    struct hop *hop = remote->hops;
    while (hop && strcmp(hop->config->name, cluster) != 0) {
        hop = hop->next;
    }
    return hop;
}

bool hop_is_gone(const struct hop *hop)
{
    return hop->orphaned && is_idle(hop);
}

struct hop *remote_find(struct remote *remote, const char *cluster)
{
    struct hop *hop = find(remote, cluster);
    return hop && !hop_is_gone(hop) ? hop : NULL;
}

const char *remote_closest(struct remote *remote, const char *cluster)
{
    const char *names[CONFIG_CLUSTERS + 1];
    size_t count = 0;
    for (struct hop *h = remote->hops; h && count < CONFIG_CLUSTERS; h = h->next) {
        if (!h->orphaned) {
            names[count++] = h->config->name;
        }
    }
    names[count] = NULL;
    return closest_find(cluster, names);
}

static struct hop *add(struct remote *remote, const struct cluster_config *config)
{
    struct hop *hop = calloc(1, sizeof *hop), **end = &remote->hops;
    struct cluster_config *copy = hop ? cluster_config_copy(config) : NULL;
    if (!copy) {
        free(hop);
        return NULL;
    }
    hop->remote = remote;
    hop->config = copy;
    hop->since_us = clock_utc_us();
    lease_path(&remote->manager->home, copy->name, hop->lease.path);
    while (*end) {
        end = &(*end)->next;
    }
    *end = hop;
    return hop;
}

static void drop(struct remote *remote, struct hop *hop)
{
    for (struct hop **at = &remote->hops; *at; at = &(*at)->next) {
        if (*at == hop) {
            *at = hop->next;
            break;
        }
    }
    routes_drop(hop);
    struct event **timers[] = {
        &hop->timer, &hop->expiry, &hop->outage, &hop->pulse, &hop->late};
    for (size_t i = 0; i < sizeof timers / sizeof *timers; i++) {
        timer_stop(timers[i]);
    }
    hop_drop_prompt(hop);
    cluster_config_destroy(hop->config);
    free(hop);
}

/* Where the last login needed a human, that must be known when the cluster comes back. */
static void drop_if_gone(struct remote *remote, struct hop *hop)
{
    if (hop_is_gone(hop) && !hop->machine.human) {
        drop(remote, hop);
    }
}

/* An open hop keeps its way; bounds and names count at once. */
static void refresh(struct hop *hop, const struct cluster_config *config)
{
    struct cluster_config *copy = cluster_config_copy(config);
    if (copy) {
        cluster_config_destroy(hop->config);
        hop->config = copy;
        expiry_arm(hop);
        routes_refresh(hop);
    }
}

void remote_reconfigure(struct remote *remote)
{
    const struct config *config = remote->manager->config;
    for (struct hop *hop = remote->hops, *next; hop; hop = next) {
        next = hop->next;
        const struct cluster_config *fresh = config_find_cluster(config, hop->config->name);
        hop->orphaned = !fresh;
        if (fresh) {
            refresh(hop, fresh);
        } else if (is_idle(hop)) {
            hub_settle(hop);
            drop_if_gone(remote, hop);
        }
    }
    for (size_t i = 0; i < config->cluster_count; i++) {
        if (!find(remote, config->clusters[i]->name)) {
            add(remote, config->clusters[i]);
        }
    }
    remote->version++;
}

static void restore(struct hop *hop)
{
    hop_load(hop);
    place_load(&hop->remote->manager->home, hop->config->name, &hop->place);
    bool running = tunnel_client_adopt(hop);
    if (hop->orphaned && !running && hop->machine.wanted) {
        hop->machine.wanted = false; /* nothing says how it would be reached */
        hop_store(hop);
    }
    bool needed = running || hop->machine.wanted;
    if (hub_reclaim(hop, needed) && needed) {
        hop_store(hop);
        if (!running) {
            hop_apply(hop, HOP_RESTORED);
        }
    }
}

/* What an earlier gearsd had of clusters that no file describes any more: open ones must be
 * seen to be closed. */
static void find_left(struct remote *remote)
{
    static const char *const patterns[][2] = {{"state", "hop/*.rec"}, {"run", "link/t-*.sck"}};
    char pattern[PATH_MAX], cluster[NAME_MAX + 1];
    for (size_t i = 0; i < 2; i++) {
        glob_t found;
        if (home_path(&remote->manager->home, pattern, patterns[i][0], "%s", patterns[i][1]) ||
            glob(pattern, 0, NULL, &found)) {
            continue;
        }
        for (size_t k = 0; k < found.gl_pathc; k++) {
            const char *name = strrchr(found.gl_pathv[k], '/') + 1 + 2 * i;
            snprintf(cluster, sizeof cluster, "%.*s", (int)strlen(name) - 4, name);
            struct cluster_config *config = name_check(cluster, NULL) || find(remote, cluster)
                                                ? NULL
                                                : cluster_config_create(cluster);
            struct hop *hop = config ? add(remote, config) : NULL;
            if (hop) {
                hop->orphaned = true;
            }
            cluster_config_destroy(config);
        }
        globfree(&found);
    }
}

/* A tunnel that was found has not said yet how it is. */
static bool is_unheard(const struct hop *hop)
{
    return hop->tunnel && hop->machine.state == HOP_DOWN && !hop->machine.closing;
}

static bool waits(const void *context)
{
    const struct hop *hop = ((const struct remote *)context)->hops;
    while (hop && !is_unheard(hop)) {
        hop = hop->next;
    }
    return hop != NULL;
}

/* Nobody is served before; a stopped one counts as silent then: the connection it holds may
 * have cost a human. */
static void await_found(struct remote *remote)
{
    await_while(remote->manager->base, AWAIT_FOUND_MS, waits, remote);
    for (struct hop *hop = remote->hops; hop; hop = hop->next) {
        if (is_unheard(hop)) {
            pulse_missed(hop);
        }
    }
}

struct remote *remote_create(struct manager *manager, struct error *err)
{
    struct remote *remote = calloc(1, sizeof *remote);
    if (!remote) {
        error_set(err, -ENOMEM, "out of memory");
        return NULL;
    }
    remote->manager = manager;
    remote->network_fd = -1;
    for (size_t i = 0; i < manager->config->cluster_count; i++) {
        if (!add(remote, manager->config->clusters[i])) {
            error_set(err, -ENOMEM, "out of memory");
            return NULL;
        }
    }
    find_left(remote);
    for (struct hop *hop = remote->hops, *next; hop; hop = next) {
        next = hop->next;
        restore(hop);
        drop_if_gone(remote, hop);
    }
    network_watch(remote);
    await_found(remote);
    return remote;
}

void remote_close_all(struct remote *remote)
{
    for (struct hop *hop = remote->hops; hop; hop = hop->next) {
        if (hop->machine.wanted || hop->tunnel || hop->preparing) {
            hop_logout(hop, NULL);
        }
    }
}

bool remote_all_closed(const struct remote *remote)
{
    for (const struct hop *hop = remote->hops; hop; hop = hop->next) {
        if (hop->tunnel || hop->preparing) {
            return false;
        }
    }
    return true;
}
