/* One key of gears.conf: whether it may stand here, and where its value goes. Called by
 * config.c for every line of every value. */
#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "daemon/core/config_private.h"

static const char *const own_keys[] = {"port", "log_total", "locks", "disabled"};
enum { OWN_KEYS = sizeof own_keys / sizeof *own_keys };

/* Keys' names in the order they were put in, for "did you mean" and for checking `locks`. */
struct names {
    const char *list[CONFIG_TABLES * CONFIG_KEYS + LIMIT_NAMES + OWN_KEYS + 1];
    size_t count;
};

static void add_table(struct names *names, enum config_table_id id, bool defaults)
{
    for (size_t i = 0; i < config_tables[id].count; i++) {
        if (!defaults || config_tables[id].keys[i].in_defaults) {
            names->list[names->count++] = config_tables[id].keys[i].name;
        }
    }
    for (size_t i = 0; !defaults && id == TABLE_SERVICES && i < LIMIT_NAMES; i++) {
        names->list[names->count++] = limit_names[i].name;
    }
    names->list[names->count] = NULL;
}

/* Of [defaults] alone; two are the site's. */
static void add_own(struct names *names, bool site)
{
    for (size_t i = 0; i < (site ? OWN_KEYS : 2U); i++) {
        names->list[names->count++] = own_keys[i];
    }
    names->list[names->count] = NULL;
}

/* Every key that a section of `table` knows; NULL: [defaults]. */
static void list_names(struct names *names, const struct config_table *table, bool site)
{
    names->count = 0;
    for (enum config_table_id id = 0; id < CONFIG_TABLES; id++) {
        if (!table || table == &config_tables[id]) {
            add_table(names, id, !table);
        }
    }
    if (!table) {
        add_own(names, site);
    }
}

static void list_all(struct names *names)
{
    names->count = 0;
    for (enum config_table_id id = 0; id < CONFIG_TABLES; id++) {
        add_table(names, id, false);
    }
    add_own(names, true);
}

static bool is_named(const char *const *names, const char *key)
{
    while (*names && strcmp(*names, key) != 0) {
        names++;
    }
    return *names != NULL;
}

bool config_begins_with_key(const struct config_table *table, const char *value, bool shell)
{
    struct names names;
    char word[32];
    size_t n = strcspn(value, " \t=");
    snprintf(word, sizeof word, "%.*s", (int)(n < 31 ? n : 31), value);
    if (value[n + strspn(value + n, " \t")] != '=' || (shell && value[n] == '=')) {
        return false;
    }
    list_all(&names);
    if (table) { /* the other table's keys are unlikely here, and ordinary words */
        list_names(&names, table, true);
        add_own(&names, true);
    }
    return is_named(names.list, word);
}

static const struct config_table *table_of(const struct loader *loader)
{
    return loader->item ? &config_tables[loader->table] : NULL;
}

/* An indented line goes on the value above, which is rarely what was meant when it reads like a
 * key; nor do values of one word go on. */
static bool refuse_continuation(
    struct loader *loader, const char *key, bool goes_on, bool shell, const char *value)
{
    bool key_like = config_begins_with_key(table_of(loader), value, shell);
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

static void set_value(struct loader *loader, const struct config_key *key, void *slot,
    const char *value, bool continued)
{
    bool shell = key->type == VALUE_LINES || key->type == VALUE_ASSIGNMENTS;
    bool goes_on = shell || key->type == VALUE_STRING || config_key_is_list(key);
    if ((!continued || !refuse_continuation(loader, key->name, goes_on, shell, value)) &&
        ((!shell && key->type != VALUE_STRING) || !refuse_comment(loader, key->name))) {
        config_value_set(loader, key, slot, value, continued);
    }
}

static void set_limit(struct loader *loader, const struct limit_name *limit, const char *value)
{
    struct service_config *service = loader->item;
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
    struct names names;
    char *copy = strdup(value), *save = NULL;
    list_all(&names);
    loader->failed |= !copy;
    for (char *word = copy ? strtok_r(copy, " \t,", &save) : NULL; word;
         word = strtok_r(NULL, " \t,", &save)) {
        if (!is_named(names.list, word)) {
            const char *closest = closest_find(word, names.list);
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
    if (site_only && loader->source != SOURCE_SITE) {
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

/* Where a key belongs that does not belong here, or NULL. */
static const char *find_section(const struct config_table *here, const char *key)
{
    static const char *const sections[CONFIG_TABLES] = {
        [TABLE_SERVICES] = "a [service:NAME]", [TABLE_CLUSTERS] = "a [cluster:NAME]"};
    struct names names = {.count = 0};
    add_own(&names, true);
    if (here && is_named(names.list, key)) {
        return "[defaults]";
    }
    for (enum config_table_id id = 0; id < CONFIG_TABLES; id++) {
        names.count = 0;
        add_table(&names, id, false);
        if (here != &config_tables[id] && is_named(names.list, key)) {
            return sections[id];
        }
    }
    return NULL;
}

static void refuse_unknown(struct loader *loader, const char *key)
{
    const struct config_table *table = table_of(loader);
    const char *section = find_section(table, key);
    struct names names;
    if (section) {
        config_error(loader, "the key %s belongs into %s", key, section);
        return;
    }
    list_names(&names, table, loader->source == SOURCE_SITE);
    const char *closest = closest_find(key, names.list);
    config_error(loader, "unknown key \"%s\"%s%s%s", key, closest ? "; did you mean " : "",
        closest ? closest : "", closest ? "?" : "");
}

/* A key of a table, for the item in hand or, in [defaults], for all. */
static bool set_key(struct loader *loader, enum config_table_id id, const char *key,
    const char *value, bool continued)
{
    const struct config_table *table = &config_tables[id];
    struct loaded *loaded = &loader->loaded[id];
    size_t i = 0;
    while (i < table->count && strcmp(table->keys[i].name, key) != 0) {
        i++;
    }
    if (i == table->count || (!loader->item && !table->keys[i].in_defaults)) {
        return false;
    }
    void *item = loader->item ? loader->item : loaded->defaults;
    if (loader->item) {
        *config_set_keys(table, item) |= 1U << i;
        loaded->origins[loader->place].keys[i] = loader->at;
    } else {
        loaded->default_keys |= 1U << i;
    }
    set_value(loader, &table->keys[i], (char *)item + table->keys[i].offset, value, continued);
    return true;
}

static bool set_limit_key(
    struct loader *loader, const char *key, const char *value, bool continued)
{
    for (size_t i = 0; i < LIMIT_NAMES; i++) {
        if (!strcmp(limit_names[i].name, key)) {
            if (!continued || !refuse_continuation(loader, key, false, false, value)) {
                set_limit(loader, &limit_names[i], value);
            }
            return true;
        }
    }
    return false;
}

void config_set(struct loader *loader, const char *key, const char *value, bool continued)
{
    bool known = false;
    if (!strcmp(key, "memory_max")) {
        config_error(loader,
            "memory_max limits a whole tree and needs a delegated cgroup, which "
            "this version does not use; use limit_as with care or remove it");
        return;
    }
    if (loader->item) {
        known =
            set_key(loader, loader->table, key, value, continued) ||
            (loader->table == TABLE_SERVICES && set_limit_key(loader, key, value, continued));
    } else {
        known = set_own(loader, key, value, continued);
        for (enum config_table_id id = 0; !known && id < CONFIG_TABLES; id++) {
            known = set_key(loader, id, key, value, continued);
        }
    }
    if (!known) {
        refuse_unknown(loader, key);
    }
}
