/* What only the whole configuration shows: services that cannot run, names nobody has, circles
 * of `after`, clusters in each other's way. Called once by config.c after all files. */
#include <regex.h>
#include <stdlib.h>
#include <string.h>

#include "daemon/core/config_private.h"
#include "daemon/core/regex_cost.h"

/* Where the key at `offset` was said for an item, else where its section begins. */
static struct place place_of(
    const struct loader *loader, enum config_table_id id, size_t item, size_t offset)
{
    const struct config_table *table = &config_tables[id];
    const struct origin *origin = &loader->loaded[id].origins[item];
    for (size_t i = 0; i < table->count; i++) {
        if (table->keys[i].offset == offset && origin->keys[i].line) {
            return origin->keys[i];
        }
    }
    return origin->section;
}

#define PLACE(field) place_of(loader, TABLE_SERVICES, i, offsetof(struct service_config, field))

static void check_log_rule(struct loader *loader, size_t i, const char *rule)
{
    regex_t regex;
    char words[120];
    bool usable = *rule && regex_cost(rule) <= REGEX_COST_MOST;
    int code = usable ? regcomp(&regex, rule, REG_EXTENDED | REG_NOSUB) : 0;
    if (!*rule) {
        config_error_at(loader, PLACE(ready), "ready = log: needs a regular expression");
    } else if (!usable) {
        config_error_at(loader, PLACE(ready),
            "ready = log: the expression repeats too much, or what may match nothing; a "
            "simpler one will do");
    } else if (code) {
        regerror(code, &regex, words, sizeof words);
        config_error_at(loader, PLACE(ready), "ready = log:%s: %s", rule, words);
    } else {
        regfree(&regex);
    }
}

static void check_ready(struct loader *loader, size_t i)
{
    const struct service_config *service = loader->config->services[i];
    const char *rule = service->ready, *command = service->command;
    bool served = strstr(command, "{socket}") || strstr(command, "{port}");
    bool needs = !strcmp(rule, "socket") || !strncmp(rule, "http:", 5);
    if (!strncmp(rule, "log:", 4)) {
        check_log_rule(loader, i, rule + 4);
    } else if (needs && !served) {
        config_error_at(loader, PLACE(ready),
            "ready = %s needs {socket} or {port} in the command of %s", rule, service->name);
    } else if (strcmp(rule, "socket") != 0 && strcmp(rule, "started") != 0 &&
               strcmp(rule, "notify") != 0 && strncmp(rule, "http:/", 6) != 0) {
        config_error_at(loader, PLACE(ready),
            "ready = %s: write socket, started, notify, log:REGEX or http:/PATH", rule);
    }
}

/* Whether there is a command line, usable or (reported where it stands) not. */
static bool said_command(const struct loader *loader, size_t i)
{
    struct place at = PLACE(command),
                 section = loader->loaded[TABLE_SERVICES].origins[i].section;
    return at.file != section.file || at.line != section.line;
}

static void check_service(struct loader *loader, size_t i)
{
    const struct service_config *service = loader->config->services[i];
    if (!strcmp(service->kind, "command")) {
        if (!service->command && !said_command(loader, i)) {
            config_error_at(loader, loader->loaded[TABLE_SERVICES].origins[i].section,
                "service %s needs command = …, or kind = jupyter", service->name);
        } else if (service->command && service->ready) {
            check_ready(loader, i);
        }
        return;
    }
    if (service->command) {
        config_error_at(loader, PLACE(command),
            "service %s is of kind %s, which has no command; add kind = command", service->name,
            service->kind);
    }
    if (service->ready) {
        config_error_at(loader, PLACE(ready),
            "service %s is of kind %s, which knows itself when it is ready; remove this",
            service->name, service->kind);
    }
}

/* A walk along `after`, deepest first. */
struct walk {
    struct loader *loader;
    enum { NEW, OPEN, DONE } * states; /* beside the services */
    size_t *path;
    size_t depth;
};

static void report_circle(struct walk *walk, size_t first)
{
    struct loader *loader = walk->loader;
    struct text words = {0};
    size_t start = 0, i = walk->path[walk->depth - 1];
    while (walk->path[start] != first) {
        start++;
    }
    for (; start < walk->depth; start++) {
        text_printf(&words, "%s after ", loader->config->services[walk->path[start]]->name);
    }
    text_printf(&words, "%s", loader->config->services[first]->name);
    config_error_at(loader, PLACE(after), "a circle: %s", text_string(&words));
    text_finish(&words);
}

static void visit(struct walk *walk, size_t i)
{
    struct loader *loader = walk->loader;
    struct config *config = loader->config;
    walk->states[i] = OPEN;
    walk->path[walk->depth++] = i;
    for (char **name = config->services[i]->after; name && *name; name++) {
        size_t next = config_item_find(config, TABLE_SERVICES, *name);
        if (next == config->service_count) {
            config_error_at(loader, PLACE(after),
                "service %s is after %s, which is not defined", config->services[i]->name,
                *name);
        } else if (walk->states[next] == OPEN) {
            report_circle(walk, next);
        } else if (walk->states[next] == NEW) {
            visit(walk, next);
        }
    }
    walk->states[i] = DONE;
    walk->depth--;
}

#undef PLACE
#define PLACE(i, field)                                                                        \
    place_of(loader, TABLE_CLUSTERS, (i), offsetof(struct cluster_config, field))

static void check_forward(struct loader *loader, size_t i)
{
    const struct cluster_config *cluster = loader->config->clusters[i];
    for (char **name = cluster->forward; name && *name; name++) {
        bool twice = !strcmp(*name, cluster->service);
        for (char **other = cluster->forward; other < name; other++) {
            twice |= !strcmp(*name, *other);
        }
        if (twice) {
            config_error_at(loader, PLACE(i, forward), "forward: %s has a socket already; %s",
                *name, "name each service once, and not the one of the key service");
            return;
        }
    }
}

static int find_free_port(const struct config *config)
{
    int port = 38888;
    for (size_t i = 0; i < config->cluster_count; i++) {
        if (config->clusters[i]->port == port) { /* begin again with the next */
            port++;
            i = SIZE_MAX;
        }
    }
    return port;
}

static bool is_later(struct place a, struct place b)
{
    return a.order != b.order ? a.order > b.order : a.line > b.line;
}

/* Of a pair with one laptop port, the one that a file says later is wrong. What only a pack
 * describes may stand beside any: an update that brings a pack must not make a good gears.conf
 * a bad one, and who uses both sees ssh refuse the second forward. */
static void check_port(struct loader *loader, size_t i)
{
    struct cluster_config *const *clusters = loader->config->clusters;
    for (size_t k = 0; k < i; k++) {
        if (!clusters[i]->said || !clusters[k]->said ||
            clusters[i]->port != clusters[k]->port) {
            continue;
        }
        struct place here = PLACE(i, port), there = PLACE(k, port);
        bool later = is_later(here, there);
        struct place other = later ? there : here;
        config_error_at(loader, later ? here : there,
            "cluster %s has the laptop's port %d, which %s has already (%s:%d); write port = "
            "%d",
            clusters[later ? i : k]->name, clusters[i]->port, clusters[later ? k : i]->name,
            other.file, other.line, find_free_port(loader->config));
        return;
    }
}

static void check_services(struct loader *loader)
{
    size_t count = loader->config->service_count;
    struct walk walk = {.loader = loader,
        .states = calloc(count, sizeof *walk.states),
        .path = calloc(count, sizeof *walk.path)};
    loader->failed |= !walk.states || !walk.path;
    for (size_t i = 0; !loader->failed && i < count; i++) {
        check_service(loader, i);
        if (walk.states[i] == NEW) {
            visit(&walk, i);
        }
    }
    free(walk.states);
    free(walk.path);
}

void config_check(struct loader *loader)
{
    check_services(loader);
    for (size_t i = 0; i < loader->config->cluster_count; i++) {
        check_forward(loader, i);
        check_port(loader, i);
    }
}
