/* Services of the configuration as values: made, copied, given defaults. */
#include <signal.h>
#include <stdlib.h>
#include <string.h>

#include "daemon/core/config_private.h"

bool config_key_is_text(const struct config_key *key)
{
    return key->type <= VALUE_KIND;
}

bool config_key_is_list(const struct config_key *key)
{
    return key->type == VALUE_NAMES || key->type == VALUE_ASSIGNMENTS;
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

static void copy_value(struct service_config *to, const struct service_config *from,
    const struct config_key *key, bool *failed)
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

void config_apply_defaults(struct loader *loader)
{
    for (size_t s = 0; s < loader->config->service_count; s++) {
        struct service_config *service = loader->config->services[s];
        for (size_t i = 0; i < CONFIG_KEYS; i++) {
            if ((loader->default_keys & 1U << i) && !(service->set_keys & 1U << i)) {
                copy_value(service, loader->defaults, &config_keys[i], &loader->failed);
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

struct service_config *service_config_copy(const struct service_config *service)
{
    bool failed = false;
    struct service_config *copy = service_config_create(service->name, service->kind);
    for (size_t i = 0; copy && i < CONFIG_KEYS; i++) {
        copy_value(copy, service, &config_keys[i], &failed);
    }
    if (copy) {
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

void service_config_destroy(struct service_config *service)
{
    if (!service) {
        return;
    }
    for (size_t i = 0; i < CONFIG_KEYS; i++) {
        char *slot = (char *)service + config_keys[i].offset;
        if (config_key_is_text(&config_keys[i])) {
            free(*(char **)slot);
        } else if (config_key_is_list(&config_keys[i])) {
            config_list_free(*(char ***)slot);
        }
    }
    config_list_free(service->argv);
    free(service->name);
    free(service);
}

void config_destroy(struct config *config)
{
    if (!config) {
        return;
    }
    for (size_t i = 0; config->services && i < config->service_count; i++) {
        service_config_destroy(config->services[i]);
    }
    free(config->services);
    free(config->disabled);
    free(config);
}

const struct service_config *config_find(const struct config *config, const char *name)
{
    for (size_t i = 0; i < config->service_count; i++) {
        if (!strcmp(config->services[i]->name, name)) {
            return config->services[i];
        }
    }
    return NULL;
}
