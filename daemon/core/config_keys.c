/* The keys of gears.conf: names, where their values go, how they are read. */
#include <errno.h>
#include <pwd.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

#include "daemon/core/config_private.h"

enum value_type { STRING, PATH, LIST, LINES, BOOL, DURATION, SIZE, SIGNAL, RESTART, KIND };

static const struct key {
    const char *name;
    enum value_type type;
    size_t offset;
    bool in_defaults;
} keys[] = {
#define FIELD(field) offsetof(struct service_config, field)
    {"kind", KIND, FIELD(kind), false},
    {"command", STRING, FIELD(command), false},
    {"env", PATH, FIELD(env), true},
    {"cwd", PATH, FIELD(cwd), false},
    {"workspace", PATH, FIELD(workspace), true},
    {"modules", STRING, FIELD(modules), true},
    {"setup", LINES, FIELD(setup), true},
    {"environment", LIST, FIELD(environment), false},
    {"after", LIST, FIELD(after), false},
    {"ready", STRING, FIELD(ready), false},
    {"restart", RESTART, FIELD(restart), true},
    {"stop_signal", SIGNAL, FIELD(stop_signal), false},
    {"stop_timeout", DURATION, FIELD(stop_timeout_ms), true},
    {"start_timeout", DURATION, FIELD(start_timeout_ms), true},
    {"enabled", BOOL, FIELD(enabled), false},
    {"idle_cull", DURATION, FIELD(idle_cull_ms), true},
    {"log_budget", SIZE, FIELD(log_budget), true},
#undef FIELD
};

enum { KEYS = sizeof keys / sizeof *keys };

static const struct {
    const char *name;
    int resource;
} limits[] = {{"limit_nofile", RLIMIT_NOFILE}, {"limit_core", RLIMIT_CORE},
    {"limit_stack", RLIMIT_STACK}, {"limit_fsize", RLIMIT_FSIZE}, {"limit_cpu", RLIMIT_CPU},
    {"limit_as", RLIMIT_AS}, {"limit_data", RLIMIT_DATA}, {"limit_memlock", RLIMIT_MEMLOCK}};

enum { LIMITS = sizeof limits / sizeof *limits };

static char *expand(const char *value)
{
    const char *home = getenv("HOME");
    char *out = NULL;
    if (value[0] == '~' && (!value[1] || value[1] == '/') && home) {
        return asprintf(&out, "%s%s", home, value + 1) < 0 ? NULL : out;
    }
    if (!strncmp(value, "$HOME", 5) && (!value[5] || value[5] == '/') && home) {
        return asprintf(&out, "%s%s", home, value + 5) < 0 ? NULL : out;
    }
    return strdup(value);
}

static void free_list(char **list)
{
    for (char **item = list; item && *item; item++) {
        free(*item);
    }
    free(list);
}

static char **append_words(char **list, const char *value)
{
    size_t count = 0;
    char *copy = strdup(value), *save = NULL;
    while (list && list[count]) {
        count++;
    }
    for (char *word = copy ? strtok_r(copy, " \t,", &save) : NULL; word;
         word = strtok_r(NULL, " \t,", &save)) {
        char **bigger = realloc(list, (count + 2) * sizeof *list);
        if (!bigger) {
            break;
        }
        list = bigger;
        list[count++] = strdup(word);
        list[count] = NULL;
    }
    free(copy);
    return list;
}

static void join(char **slot, const char *value, char between)
{
    char *out = NULL;
    if (*slot && asprintf(&out, "%s%c%s", *slot, between, value) > 0) {
        free(*slot);
        *slot = out;
    }
}

static void set_string(struct loader *loader, const struct key *key, char **slot,
    const char *value, bool continued)
{
    if (continued) {
        join(slot, value, key->type == LINES ? '\n' : ' ');
        return;
    }
    free(*slot);
    *slot = key->type == PATH ? expand(value) : strdup(value);
    bool relative =
        key->type == PATH && strcmp(key->name, "env") != 0 && *slot && (*slot)[0] != '/';
    if (relative) {
        config_error(loader, "%s = %s: write an absolute path or one with ~", key->name, value);
    }
}

static void set_choice(
    struct loader *loader, const struct key *key, void *slot, const char *value)
{
    if (key->type == BOOL) {
        bool yes = !strcmp(value, "true") || !strcmp(value, "yes") || !strcmp(value, "on");
        bool no = !strcmp(value, "false") || !strcmp(value, "no") || !strcmp(value, "off");
        *(bool *)slot = yes;
        if (!yes && !no) {
            config_error(loader, "%s = %s: write yes or no", key->name, value);
        }
    } else if (key->type == RESTART) {
        enum restart_policy *policy = slot;
        *policy = !strcmp(value, "always") ? RESTART_ALWAYS
                  : !strcmp(value, "no")   ? RESTART_NO
                                           : RESTART_ON_FAILURE;
        if (*policy == RESTART_ON_FAILURE && strcmp(value, "on-failure") != 0) {
            config_error(loader, "restart = %s: write always, on-failure or no", value);
        }
    } else {
        char **kind = slot;
        if (strcmp(value, "jupyter") != 0 && strcmp(value, "command") != 0) {
            config_error(loader, "there is no kind \"%s\"; use jupyter or command", value);
        }
        free(*kind);
        *kind = strdup(value);
    }
}

static void set_value(struct loader *loader, struct service_config *service,
    const struct key *key, const char *value, bool continued)
{
    void *slot = (char *)service + key->offset;
    struct error err;
    int code = 0;
    switch (key->type) {
    case STRING:
    case PATH:
    case LINES:
        set_string(loader, key, slot, value, continued);
        break;
    case LIST:
        *(char ***)slot = append_words(*(char ***)slot, value);
        break;
    case DURATION:
        code = duration_parse(value, slot, &err);
        break;
    case SIZE:
        code = size_parse(value, slot, &err);
        break;
    case SIGNAL:
        code = signal_parse(value, slot, &err);
        break;
    default:
        set_choice(loader, key, slot, value);
    }
    if (code) {
        config_error(loader, "%s: %s", key->name, err.text);
    }
    if (key->type == KIND && !strcmp(value, "command")) {
        service->kind = service->kind ? service->kind : strdup(value);
    }
}

static bool set_limit(
    struct loader *loader, struct service_config *service, const char *key, const char *value)
{
    for (size_t i = 0; i < LIMITS; i++) {
        struct error err;
        if (strcmp(limits[i].name, key) != 0) {
            continue;
        }
        size_t at = service->limit_count;
        if (at == CONFIG_LIMITS) {
            config_error(loader, "more than %d limits", CONFIG_LIMITS);
        } else if (size_parse(value, &service->limits[at].value, &err)) {
            config_error(loader, "%s: %s", key, err.text);
        } else {
            service->limits[at].resource = limits[i].resource;
            service->limit_count++;
        }
        return true;
    }
    return false;
}

static bool set_own(struct loader *loader, const char *key, const char *value)
{
    struct config *config = loader->config;
    struct error err;
    long long number;
    if (!strcmp(key, "port")) {
        if (integer_parse(value, 1024, 65000, &number, &err)) {
            config_error(loader, "port: %s", err.text);
        } else {
            config->port = (int)number;
        }
    } else if (!strcmp(key, "log_total")) {
        if (size_parse(value, &config->log_total, &err)) {
            config_error(loader, "log_total: %s", err.text);
        }
    } else if (!strcmp(key, "locks") || !strcmp(key, "disabled")) {
        if (!loader->site) {
            config_error(loader, "%s belongs into the site's file only", key);
        } else if (!strcmp(key, "disabled")) {
            free(config->disabled);
            config->disabled = strdup(value);
        } else {
            char *old = loader->locks, *out = NULL;
            loader->locks = asprintf(&out, "%s %s ", old ? old : "", value) < 0 ? NULL : out;
            free(old);
        }
    } else {
        return false;
    }
    return true;
}

bool config_is_locked(const struct loader *loader, const char *key)
{
    char word[80];
    snprintf(word, sizeof word, " %s ", key);
    return loader->locks && strstr(loader->locks, word);
}

static void refuse_unknown(struct loader *loader, const char *key)
{
    const char *names[KEYS + LIMITS + 4];
    size_t count = 0;
    for (size_t i = 0; i < KEYS; i++) {
        if (loader->service || keys[i].in_defaults) {
            names[count++] = keys[i].name;
        }
    }
    for (size_t i = 0; loader->service && i < LIMITS; i++) {
        names[count++] = limits[i].name;
    }
    if (!loader->service) {
        names[count++] = "port";
        names[count++] = "log_total";
    }
    names[count] = NULL;
    const char *closest = closest_find(key, names);
    config_error(loader, "unknown key \"%s\"%s%s%s", key, closest ? "; did you mean " : "",
        closest ? closest : "", closest ? "?" : "");
}

void config_set(struct loader *loader, const char *key, const char *value, bool continued)
{
    if (!strcmp(key, "memory_max")) {
        config_error(loader,
            "memory_max limits a tree and needs a delegated cgroup, which this "
            "version does not use; use limit_as for each process, or remove it");
        return;
    }
    if (!loader->service && set_own(loader, key, value)) {
        return;
    }
    for (size_t i = 0; i < KEYS; i++) {
        if (!strcmp(keys[i].name, key) && (loader->service || keys[i].in_defaults)) {
            loader->default_keys |= loader->service ? 0 : 1u << i;
            set_value(loader, loader->service ? loader->service : loader->defaults, &keys[i],
                value, continued);
            if (loader->service) {
                loader->service->set_keys |= 1u << i;
            }
            return;
        }
    }
    if (!loader->service || !set_limit(loader, loader->service, key, value)) {
        refuse_unknown(loader, key);
    }
}

static void copy_value(struct service_config *to, const struct service_config *from, size_t i)
{
    char *slot = (char *)to + keys[i].offset;
    const char *source = (const char *)from + keys[i].offset;
    if (keys[i].type == STRING || keys[i].type == PATH || keys[i].type == LINES ||
        keys[i].type == KIND) {
        char *text = *(char *const *)source;
        free(*(char **)slot);
        *(char **)slot = text ? strdup(text) : NULL;
    } else if (keys[i].type == LIST) {
        free_list(*(char ***)slot);
        *(char ***)slot = NULL;
        for (char **item = *(char **const *)source; item && *item; item++) {
            *(char ***)slot = append_words(*(char ***)slot, *item);
        }
    } else {
        size_t size = keys[i].type == BOOL                                ? sizeof(bool)
                      : keys[i].type == SIGNAL || keys[i].type == RESTART ? sizeof(int)
                                                                          : sizeof(int64_t);
        memcpy(slot, source, size);
    }
}

void config_apply_defaults(struct loader *loader)
{
    for (size_t s = 0; s < loader->config->service_count; s++) {
        struct service_config *service = loader->config->services[s];
        for (size_t i = 0; i < KEYS; i++) {
            if ((loader->default_keys & 1u << i) && !(service->set_keys & 1u << i)) {
                copy_value(service, loader->defaults, i);
            }
        }
    }
}

bool config_after_loops(const struct config *config, const struct service_config *service)
{
    const struct service_config *at = service;
    const struct service_config *stack[64] = {service};
    size_t count = 1, seen = 0;
    while (count && seen++ < 4096) {
        at = stack[--count];
        for (char **name = at->after; name && *name; name++) {
            const struct service_config *next = config_find(config, *name);
            if (next == service) {
                return true;
            }
            if (next && count < 64) {
                stack[count++] = next;
            }
        }
    }
    return false;
}

struct service_config *service_config_create(const char *name, const char *kind)
{
    struct service_config *service = calloc(1, sizeof *service);
    if (!service) {
        return NULL;
    }
    service->name = strdup(name);
    service->kind = strdup(kind);
    service->stop_signal = 15;
    service->stop_timeout_ms = 10000;
    service->start_timeout_ms = 90000;
    service->log_budget = 64 << 20;
    return service;
}

struct service_config *service_config_copy(const struct service_config *service)
{
    struct service_config *copy = service_config_create(service->name, service->kind);
    size_t count = 0;
    for (size_t i = 0; copy && i < KEYS; i++) {
        copy_value(copy, service, i);
    }
    while (service->argv && service->argv[count]) {
        count++;
    }
    if (copy && service->argv && (copy->argv = calloc(count + 1, sizeof(char *)))) {
        for (size_t i = 0; i < count; i++) {
            copy->argv[i] = strdup(service->argv[i]);
        }
    }
    if (copy) {
        memcpy(copy->limits, service->limits, sizeof copy->limits);
        copy->limit_count = service->limit_count;
        copy->set_keys = service->set_keys;
    }
    return copy;
}

void service_config_destroy(struct service_config *service)
{
    if (!service) {
        return;
    }
    for (size_t i = 0; i < KEYS; i++) {
        char *slot = (char *)service + keys[i].offset;
        if (keys[i].type == STRING || keys[i].type == PATH || keys[i].type == LINES ||
            keys[i].type == KIND) {
            free(*(char **)slot);
        } else if (keys[i].type == LIST) {
            free_list(*(char ***)slot);
        }
    }
    free_list(service->argv);
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

static void format_value(
    const struct service_config *service, const struct key *key, struct text *out)
{
    static const char *const policies[] = {"on-failure", "always", "no"};
    const char *slot = (const char *)service + key->offset;
    char words[64];
    switch (key->type) {
    case LIST:
        for (char **item = *(char **const *)slot; item && *item; item++) {
            text_printf(out, "%s%s", item == *(char **const *)slot ? "" : " ", *item);
        }
        break;
    case BOOL:
        text_printf(out, "%s", *(const bool *)slot ? "yes" : "no");
        break;
    case DURATION:
        duration_format(*(const int64_t *)slot, words, sizeof words);
        text_printf(out, "%s", words);
        break;
    case SIZE:
        text_printf(out, "%llu", (unsigned long long)*(const uint64_t *)slot);
        break;
    case SIGNAL:
        text_printf(out, "%s", signal_name(*(const int *)slot));
        break;
    case RESTART:
        text_printf(out, "%s", policies[*(const enum restart_policy *)slot]);
        break;
    default:
        for (const char *c = *(char *const *)slot; c && *c; c++) {
            text_printf(out, *c == '\n' ? "\n    " : "%c", *c);
        }
    }
}

void config_format(const struct config *config, struct text *out)
{
    text_printf(out, "[defaults]\nport = %d\nlog_total = %llu\n", config->port,
        (unsigned long long)config->log_total);
    for (size_t s = 0; s < config->service_count; s++) {
        const struct service_config *service = config->services[s];
        text_printf(out, "\n[service:%s]\n", service->name);
        for (size_t i = 0; i < KEYS; i++) {
            const char *slot = (const char *)service + keys[i].offset;
            bool pointer = keys[i].type <= LINES || keys[i].type == KIND;
            if (pointer && !*(void *const *)slot) {
                continue;
            }
            text_printf(out, "%s = ", keys[i].name);
            format_value(service, &keys[i], out);
            text_printf(out, "\n");
        }
    }
}
