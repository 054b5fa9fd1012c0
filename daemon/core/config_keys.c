/* The keys of gears.conf: names, where their values go, how they are read. Called by config.c
 * for every line of every value. */
#include <ctype.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

#include "daemon/core/config_private.h"

#define FIELD(field) offsetof(struct service_config, field)
const struct config_key config_keys[CONFIG_KEYS] = {
    {"kind", VALUE_KIND, FIELD(kind), false},
    {"command", VALUE_STRING, FIELD(command), false},
    {"env", VALUE_ENV, FIELD(env), true},
    {"cwd", VALUE_PATH, FIELD(cwd), false},
    {"workspace", VALUE_PATH, FIELD(workspace), true},
    {"modules", VALUE_STRING, FIELD(modules), true},
    {"setup", VALUE_LINES, FIELD(setup), true},
    {"environment", VALUE_ASSIGNMENTS, FIELD(environment), false},
    {"after", VALUE_NAMES, FIELD(after), false},
    {"ready", VALUE_STRING, FIELD(ready), false},
    {"restart", VALUE_RESTART, FIELD(restart), true},
    {"stop_signal", VALUE_SIGNAL, FIELD(stop_signal), false},
    {"stop_timeout", VALUE_DURATION, FIELD(stop_timeout_ms), true},
    {"start_timeout", VALUE_DURATION, FIELD(start_timeout_ms), true},
    {"enabled", VALUE_BOOL, FIELD(enabled), false},
    {"idle_cull", VALUE_DURATION, FIELD(idle_cull_ms), true},
    {"log_budget", VALUE_SIZE, FIELD(log_budget), true},
};
#undef FIELD

const struct config_limit config_limits[CONFIG_LIMIT_NAMES] = {{"limit_nofile", RLIMIT_NOFILE},
    {"limit_core", RLIMIT_CORE}, {"limit_stack", RLIMIT_STACK}, {"limit_fsize", RLIMIT_FSIZE},
    {"limit_cpu", RLIMIT_CPU}, {"limit_as", RLIMIT_AS}, {"limit_data", RLIMIT_DATA},
    {"limit_memlock", RLIMIT_MEMLOCK}};

static const char *const own_keys[] = {"port", "log_total", "locks", "disabled"};
enum { OWN_KEYS = sizeof own_keys / sizeof *own_keys };

/* Every key a section knows, for "did you mean" and for checking `locks`. */
static const char **list_names(bool defaults, bool services, bool site,
    const char *names[CONFIG_KEYS + CONFIG_LIMIT_NAMES + OWN_KEYS + 1])
{
    size_t count = 0;
    for (size_t i = 0; i < CONFIG_KEYS; i++) {
        if (services || (defaults && config_keys[i].in_defaults)) {
            names[count++] = config_keys[i].name;
        }
    }
    for (size_t i = 0; services && i < CONFIG_LIMIT_NAMES; i++) {
        names[count++] = config_limits[i].name;
    }
    for (size_t i = 0; defaults && i < (site ? OWN_KEYS : 2U); i++) {
        names[count++] = own_keys[i];
    }
    names[count] = NULL;
    return names;
}

static bool is_named(const char *const *names, const char *key)
{
    while (*names && strcmp(*names, key) != 0) {
        names++;
    }
    return *names != NULL;
}

bool config_begins_with_key(const char *value, bool shell)
{
    const char *names[CONFIG_KEYS + CONFIG_LIMIT_NAMES + OWN_KEYS + 1];
    char word[32];
    size_t n = strcspn(value, " \t=");
    snprintf(word, sizeof word, "%.*s", (int)(n < 31 ? n : 31), value);
    return value[n + strspn(value + n, " \t")] == '=' && (!shell || value[n] != '=') &&
           is_named(list_names(true, true, true, names), word);
}

/* An indented line goes on the value above, which is rarely what was meant when it reads like a
 * key; nor do values of one word go on. */
static bool refuse_continuation(
    struct loader *loader, const char *key, bool goes_on, bool shell, const char *value)
{
    bool key_like = config_begins_with_key(value, shell);
    if (key_like) {
        config_error(loader, "an indented line goes on the value of %s; begin %.*s in column 1",
            key, (int)strcspn(value, " \t="), value);
    } else if (!goes_on) {
        config_error(loader, "%s has a value of one line; begin keys in column 1", key);
    }
    return key_like || !goes_on;
}

/* libinih takes " ;" for the beginning of a comment: in a shell's line that would silently lose
 * the second half of a command. */
static bool refuse_comment(struct loader *loader, const char *key)
{
    for (size_t i = 1; i < loader->raw_length; i++) {
        if (loader->raw[i] == ';' && isspace((unsigned char)loader->raw[i - 1])) {
            config_error(loader,
                "%s: \" ;\" begins a comment here; write the ; right behind the "
                "word before it, comments in lines of their own",
                key);
            return true;
        }
    }
    return false;
}

static void set_value(
    struct loader *loader, const struct config_key *key, const char *value, bool continued)
{
    bool shell = key->type == VALUE_LINES || key->type == VALUE_ASSIGNMENTS;
    bool goes_on = shell || key->type == VALUE_STRING || key->type == VALUE_NAMES;
    if ((!continued || !refuse_continuation(loader, key->name, goes_on, shell, value)) &&
        ((!shell && key->type != VALUE_STRING) || !refuse_comment(loader, key->name))) {
        config_value_set(loader, key, value, continued);
    }
}

static void set_limit(
    struct loader *loader, const struct config_limit *limit, const char *value)
{
    struct service_config *service = loader->service;
    struct error err;
    uint64_t bytes = UINT64_MAX;
    size_t at = 0;
    if (strcmp(value, "unlimited") != 0 && size_parse(value, &bytes, &err)) {
        config_error(loader, "%s: %s, or unlimited", limit->name, err.text);
        return;
    }
    while (at < service->limit_count && service->limits[at].resource != limit->resource) {
        at++; /* the user's file may change what the site's says */
    }
    service->limits[at].resource = limit->resource;
    service->limits[at].value = bytes;
    service->limit_count += at == service->limit_count;
}

static void set_locks(struct loader *loader, const char *value)
{
    const char *names[CONFIG_KEYS + CONFIG_LIMIT_NAMES + OWN_KEYS + 1];
    char *copy = strdup(value), *save = NULL;
    list_names(true, true, true, names);
    loader->failed |= !copy;
    for (char *word = copy ? strtok_r(copy, " \t,", &save) : NULL; word;
         word = strtok_r(NULL, " \t,", &save)) {
        if (!is_named(names, word)) {
            const char *closest = closest_find(word, names);
            config_error(loader, "locks: there is no key \"%s\"%s%s%s", word,
                closest ? "; did you mean " : "", closest ? closest : "", closest ? "?" : "");
        }
        text_printf(&loader->locks, " %s ", word);
    }
    free(copy);
}

bool config_is_locked(const struct loader *loader, const char *key)
{
    char word[80];
    snprintf(word, sizeof word, " %.64s ", key);
    return strstr(text_string(&loader->locks), word) != NULL;
}

/* Keys of [defaults] that are no service's. */
static bool set_own(struct loader *loader, const char *key, const char *value, bool continued)
{
    struct config *config = loader->config;
    struct error err;
    long long number;
    bool site_only = !strcmp(key, "locks") || !strcmp(key, "disabled");
    if (site_only && !loader->site) {
        config_error(
            loader, "%s belongs into the site's file only (%s)", key, loader->site_file);
    } else if (continued && strcmp(key, "locks") != 0 &&
               is_named((const char *const[]){"port", "log_total", "disabled", NULL}, key)) {
        refuse_continuation(loader, key, false, false, value);
    } else if (!strcmp(key, "port")) {
        if (integer_parse(value, 1024, 65000, &number, &err)) {
            config_error(loader, "port: %s", err.text);
        } else {
            config->port = (int)number;
        }
    } else if (!strcmp(key, "log_total")) {
        if (size_parse(value, &config->log_total, &err)) {
            config_error(loader, "log_total: %s", err.text);
        }
    } else if (!strcmp(key, "disabled")) {
        config_text_put(loader, &config->disabled, strdup(value));
    } else if (!strcmp(key, "locks")) {
        set_locks(loader, value);
    } else {
        return false;
    }
    return true;
}

static void refuse_unknown(struct loader *loader, const char *key)
{
    const char *names[CONFIG_KEYS + CONFIG_LIMIT_NAMES + OWN_KEYS + 1];
    const char *other[CONFIG_KEYS + CONFIG_LIMIT_NAMES + OWN_KEYS + 1];
    bool defaults = !loader->service;
    list_names(defaults, !defaults, loader->site, names);
    if (is_named(list_names(!defaults, defaults, true, other), key)) {
        config_error(loader, "the key %s belongs into %s", key,
            defaults ? "a [service:NAME]" : "[defaults]");
        return;
    }
    const char *closest = closest_find(key, names);
    config_error(loader, "unknown key \"%s\"%s%s%s", key, closest ? "; did you mean " : "",
        closest ? closest : "", closest ? "?" : "");
}

void config_set(struct loader *loader, const char *key, const char *value, bool continued)
{
    if (!strcmp(key, "memory_max")) {
        config_error(loader,
            "memory_max limits a whole tree and needs a delegated cgroup, which "
            "this version does not use; use limit_as with care or remove it");
        return;
    }
    if (!loader->service && set_own(loader, key, value, continued)) {
        return;
    }
    for (size_t i = 0; i < CONFIG_KEYS; i++) {
        if (strcmp(config_keys[i].name, key) != 0 ||
            (!loader->service && !config_keys[i].in_defaults)) {
            continue;
        }
        if (loader->service) {
            loader->service->set_keys |= 1U << i;
            loader->origins[loader->place].keys[i] = loader->at;
        } else {
            loader->default_keys |= 1U << i;
        }
        set_value(loader, &config_keys[i], value, continued);
        return;
    }
    for (size_t i = 0; loader->service && i < CONFIG_LIMIT_NAMES; i++) {
        if (!strcmp(config_limits[i].name, key)) {
            if (!continued || !refuse_continuation(loader, key, false, false, value)) {
                set_limit(loader, &config_limits[i], value);
            }
            return;
        }
    }
    refuse_unknown(loader, key);
}
