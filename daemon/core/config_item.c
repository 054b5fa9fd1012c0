/* Services and clusters of the configuration as values: made, found, copied, given defaults. */
#include <signal.h>
#include <stdlib.h>
#include <string.h>

#include "daemon/core/config_private.h"

bool config_key_is_text(const struct config_key *key)
{
    return key->type <= VALUE_CHOICE;
}

bool config_key_is_list(const struct config_key *key)
{
    return key->type > VALUE_CHOICE && key->type <= VALUE_ASSIGNMENTS;
}

unsigned *config_set_keys(const struct config_table *table, void *item)
{
    return (unsigned *)(void *)((char *)item + table->set_keys);
}

size_t config_item_count(const struct config *config, enum config_table_id id)
{
    return id == TABLE_SERVICES ? config->service_count : config->cluster_count;
}

void *config_item_get(const struct config *config, enum config_table_id id, size_t place)
{
    return id == TABLE_SERVICES ? (void *)config->services[place]
                                : (void *)config->clusters[place];
}

size_t config_item_find(const struct config *config, enum config_table_id id, const char *name)
{
    size_t i = 0, count = config_item_count(config, id);
    while (i < count && strcmp(*(char **)config_item_get(config, id, i), name) != 0) {
        i++;
    }
    return i;
}

void config_list_free(char **list)
{
    for (char **item = list; item && *item; item++) {
        free(*item);
    }
    free(list);
}

char **config_list_append(char **list, const char *item, bool *failed)
{
    size_t count = 0;
    while (list && list[count]) {
        count++;
    }
    char *copy = strdup(item);
    char **longer = copy ? realloc(list, (count + 2) * sizeof *list) : NULL;
    if (!longer) {
        free(copy);
        *failed = true;
        return list;
    }
    longer[count] = copy;
    longer[count + 1] = NULL;
    return longer;
}

static char **copy_list(char **from, bool *failed)
{
    char **list = NULL;
    for (; from && *from; from++) {
        list = config_list_append(list, *from, failed);
    }
    return list;
}

static size_t scalar_size(enum value_type type)
{
    switch (type) {
    case VALUE_BOOL:
        return sizeof(bool);
    case VALUE_INTEGER:
    case VALUE_SIGNAL:
        return sizeof(int);
    case VALUE_RESTART:
        return sizeof(enum restart_policy);
    case VALUE_DURATION:
        return sizeof(int64_t);
    default:
        return sizeof(uint64_t);
    }
}

static void copy_value(void *to, const void *from, const struct config_key *key, bool *failed)
{
    char *slot = (char *)to + key->offset;
    const char *source = (const char *)from + key->offset;
    if (config_key_is_text(key)) {
        const char *text = *(char *const *)source;
        free(*(char **)slot);
        *(char **)slot = text ? strdup(text) : NULL;
        *failed |= text && !*(char **)slot;
    } else if (config_key_is_list(key)) {
        config_list_free(*(char ***)slot);
        *(char ***)slot = copy_list(*(char **const *)source, failed);
    } else {
        memcpy(slot, source, scalar_size(key->type));
    }
}

static void copy_values(enum config_table_id id, void *to, const void *from, bool *failed)
{
    for (size_t i = 0; i < config_tables[id].count; i++) {
        copy_value(to, from, &config_tables[id].keys[i], failed);
    }
}

void config_apply_defaults(struct loader *loader)
{
    for (enum config_table_id id = 0; id < CONFIG_TABLES; id++) {
        const struct config_table *table = &config_tables[id];
        const struct loaded *loaded = &loader->loaded[id];
        for (size_t n = 0; n < config_item_count(loader->config, id); n++) {
            void *item = config_item_get(loader->config, id, n);
            unsigned missing = loaded->default_keys & ~*config_set_keys(table, item);
            for (size_t i = 0; i < table->count; i++) {
                if (missing & 1U << i) {
                    copy_value(item, loaded->defaults, &table->keys[i], &loader->failed);
                }
            }
        }
    }
}

struct service_config *service_config_create(const char *name, const char *kind)
{
    struct service_config *service = calloc(1, sizeof *service);
    if (!service) {
        return NULL;
    }
    service->name = strdup(name);
    service->kind = strdup(kind);
    service->restart = RESTART_ON_FAILURE;
    service->stop_signal = SIGTERM;
    service->stop_timeout_ms = 10000;
    service->start_timeout_ms = 90000;
    service->log_budget = 64 << 20;
    if (!service->name || !service->kind) {
        service_config_destroy(service);
        return NULL;
    }
    return service;
}

struct cluster_config *cluster_config_create(const char *name)
{
    struct cluster_config *cluster = calloc(1, sizeof *cluster);
    if (!cluster) {
        return NULL;
    }
    cluster->name = strdup(name);
    cluster->transport = strdup("libssh2");
    cluster->service = strdup("lab");
    cluster->port = 38888;
    cluster->keepalive_ms = 30000;
    cluster->keepalive_count = 3;
    cluster->dead_after_ms = 30 * 60000;
    cluster->connect_timeout_ms = 15000;
    cluster->wait_ms = 30000;
    if (!cluster->name || !cluster->transport || !cluster->service) {
        cluster_config_destroy(cluster);
        return NULL;
    }
    return cluster;
}

struct service_config *service_config_copy(const struct service_config *service)
{
    bool failed = false;
    struct service_config *copy = service_config_create(service->name, service->kind);
    if (copy) {
        copy_values(TABLE_SERVICES, copy, service, &failed);
        copy->argv = copy_list(service->argv, &failed);
        memcpy(copy->limits, service->limits, sizeof copy->limits);
        copy->limit_count = service->limit_count;
        copy->set_keys = service->set_keys;
    }
    if (failed) {
        service_config_destroy(copy);
        return NULL;
    }
    return copy;
}

struct cluster_config *cluster_config_copy(const struct cluster_config *cluster)
{
    bool failed = false;
    struct cluster_config *copy = cluster_config_create(cluster->name);
    if (copy) {
        copy_values(TABLE_CLUSTERS, copy, cluster, &failed);
        copy->packed = cluster->packed;
        copy->said = cluster->said;
        copy->set_keys = cluster->set_keys;
    }
    if (failed) {
        cluster_config_destroy(copy);
        return NULL;
    }
    return copy;
}

void config_item_destroy(enum config_table_id id, void *item)
{
    const struct config_table *table = &config_tables[id];
    if (!item) {
        return;
    }
    for (size_t i = 0; i < table->count; i++) {
        char *slot = (char *)item + table->keys[i].offset;
        if (config_key_is_text(&table->keys[i])) {
            free(*(char **)slot);
        } else if (config_key_is_list(&table->keys[i])) {
            config_list_free(*(char ***)slot);
        }
    }
    free(*(char **)item); /* its name */
    free(item);
}

void service_config_destroy(struct service_config *service)
{
    if (service) {
        config_list_free(service->argv);
    }
    config_item_destroy(TABLE_SERVICES, service);
}

void cluster_config_destroy(struct cluster_config *cluster)
{
    config_item_destroy(TABLE_CLUSTERS, cluster);
}

void config_destroy(struct config *config)
{
    if (!config) {
        return;
    }
    for (size_t i = 0; i < config->service_count; i++) {
        service_config_destroy(config->services[i]);
    }
    for (size_t i = 0; i < config->cluster_count; i++) {
        cluster_config_destroy(config->clusters[i]);
    }
    free(config->services);
    free(config->clusters);
    free(config->disabled);
    free(config);
}

const struct service_config *config_find(const struct config *config, const char *name)
{
    size_t i = config_item_find(config, TABLE_SERVICES, name);
    return i < config->service_count ? config->services[i] : NULL;
}

const struct cluster_config *config_find_cluster(const struct config *config, const char *name)
{
    size_t i = config_item_find(config, TABLE_CLUSTERS, name);
    return i < config->cluster_count ? config->clusters[i] : NULL;
}
