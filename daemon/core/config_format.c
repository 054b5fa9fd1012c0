/* The configuration as text that the reader understands as the same: `config show`. Long values
 * go on in indented lines, since a line has a limit. */
#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "daemon/core/config_private.h"

static void format_duration(int64_t milliseconds, struct text *out)
{
    char words[64];
    int64_t again = -1;
    duration_format(milliseconds, words, sizeof words);
    if (!duration_parse(words, &again, NULL) && again == milliseconds) {
        text_printf(out, "%s", words);
    } else { /* rounded for people: this file must say it exactly */
        text_printf(out, "%lldms", (long long)milliseconds);
    }
}

static void format_size(uint64_t bytes, struct text *out)
{
    static const char units[] = "KMGT";
    int unit = -1;
    while (unit < 3 && bytes && bytes % 1024 == 0) {
        bytes /= 1024;
        unit++;
    }
    text_printf(
        out, "%llu%.*s", (unsigned long long)bytes, unit >= 0, units + (unit > 0 ? unit : 0));
}

static void append_word(struct text *out, const char *word, const char *escaped)
{
    for (const char *c = word; *c; c++) {
        bool comment = *c == ';' && c > word && isspace((unsigned char)c[-1]);
        text_append(out, "\\", strchr(escaped, *c) || comment);
        text_append(out, c, 1);
    }
}

/* Quoted so that the reader gives the same word back: in the shortest of three ways, for a line
 * has a limit. */
static void format_word(const char *word, struct text *out)
{
    struct text ways[3] = {{0}};
    size_t best = 0;
    append_word(&ways[0], word, " \t\r\v\f'\"\\");
    text_printf(&ways[1], "\"");
    append_word(&ways[1], word, "\"\\");
    text_printf(&ways[1], "\"");
    text_printf(&ways[2], "'%s'", word);
    /* Space at the end of a line is no part of it, escaped or not. */
    bool usable[3] = {*word && !isspace((unsigned char)word[strlen(word) - 1]), true,
        !strchr(word, '\'') && !strchr(word, ';')};
    for (size_t i = 0; i < 3; i++) {
        best = usable[i] && (!usable[best] || ways[i].length < ways[best].length) ? i : best;
    }
    text_append(out, text_string(&ways[best]), ways[best].length);
    for (size_t i = 0; i < 3; i++) {
        text_finish(&ways[i]);
    }
}

/* Whether what begins here may stand in a line of its own: no comment, nothing like a key. */
static bool may_begin_line(const struct config_table *table, const char *at)
{
    return !isspace((unsigned char)*at) && *at && *at != ';' && *at != '#' &&
           !config_begins_with_key(table, at, false);
}

/* Where to break `length` bytes that have room for `room`: behind the last lone space that
 * leaves what may begin a line, else at the end. */
static size_t find_break(
    const struct config_table *table, const char *value, size_t length, size_t room)
{
    size_t found = length;
    for (size_t i = 1; i < length && (i <= room || found == length); i++) {
        if (value[i] == ' ' && !isspace((unsigned char)value[i - 1]) &&
            may_begin_line(table, value + i + 1)) {
            found = i;
        }
    }
    return found;
}

/* One line of a value behind its key or indentation, folded where the table's keys let it be;
 * NULL: nowhere. */
static void put_line(const char *head, const char *tight, const char *value, size_t length,
    const struct config_table *table, struct text *out)
{
    for (;;) {
        bool fits = strlen(head) + length <= CONFIG_LINE && *value != ';';
        size_t room = CONFIG_LINE - strlen(tight);
        bool whole = fits || length <= room || !table;
        size_t n = whole ? length : find_break(table, value, length, room);
        text_printf(out, "%s%.*s\n", fits ? head : tight, (int)n, value);
        if (n == length) {
            return;
        }
        value += n + 1;
        length -= n + 1;
        head = "    ";
        tight = " ";
    }
}

static void put_value(
    const char *key, const char *value, const struct config_table *table, struct text *out)
{
    char head[80], tight[80];
    snprintf(head, sizeof head, "%s = ", key);
    snprintf(tight, sizeof tight, "%s=", key);
    for (bool first = true; value; first = false) {
        const char *newline = strchr(value, '\n');
        put_line(first ? head : "    ", first ? tight : " ", value,
            newline ? (size_t)(newline - value) : strlen(value), table, out);
        value = newline ? newline + 1 : NULL;
    }
}

/* As the user may write it: a line has room for the short form that was read, perhaps not for
 * the long one. */
static void format_path(const char *key, const char *path, struct text *out)
{
    const char *home = getenv("HOME");
    size_t n = home ? strlen(home) : 0;
    bool below = n && !strncmp(path, home, n) && (!path[n] || path[n] == '/');
    if (below && strlen(key) + 3 + strlen(path) > CONFIG_LINE) {
        text_printf(out, "~%s", path + n);
    } else {
        text_printf(out, "%s", path);
    }
}

static void format_list(char **list, bool quoted, struct text *out)
{
    for (char **item = list; item && *item; item++) {
        text_printf(out, "%s", item == list ? "" : quoted ? "\n" : " ");
        if (quoted) {
            format_word(*item, out);
        } else {
            text_printf(out, "%s", *item);
        }
    }
}

static void format_value(const void *slot, const struct config_key *key, struct text *out)
{
    static const char *const policies[] = {"on-failure", "always", "no"};
    if (config_key_is_list(key)) {
        format_list(*(char **const *)slot, key->type == VALUE_ASSIGNMENTS, out);
    } else if (key->type == VALUE_BOOL) {
        text_printf(out, "%s", *(const bool *)slot ? "yes" : "no");
    } else if (key->type == VALUE_DURATION) {
        format_duration(*(const int64_t *)slot, out);
    } else if (key->type == VALUE_SIZE) {
        format_size(*(const uint64_t *)slot, out);
    } else if (key->type == VALUE_INTEGER) {
        text_printf(out, "%d", *(const int *)slot);
    } else if (key->type == VALUE_SIGNAL) {
        text_printf(out, "%s", signal_name(*(const int *)slot));
    } else if (key->type == VALUE_RESTART) {
        text_printf(out, "%s", policies[*(const enum restart_policy *)slot]);
    } else if (key->type == VALUE_PATH || key->type == VALUE_ENV) {
        format_path(key->name, *(char *const *)slot, out);
    } else {
        text_printf(out, "%s", *(char *const *)slot);
    }
}

static void format_limits(const struct service_config *service, struct text *out)
{
    for (size_t i = 0; i < service->limit_count * LIMIT_NAMES; i++) {
        const struct limit_name *limit = &limit_names[i % LIMIT_NAMES];
        uint64_t value = service->limits[i / LIMIT_NAMES].value;
        if (limit->resource != service->limits[i / LIMIT_NAMES].resource) {
            continue;
        }
        if (value == UINT64_MAX) {
            text_printf(out, "%s = unlimited\n", limit->name);
        } else { /* plain: some count files or seconds */
            text_printf(out, "%s = %llu\n", limit->name, (unsigned long long)value);
        }
    }
}

static void format_item(const struct config_table *table, const void *item, struct text *out)
{
    text_printf(out, "\n[%s:%s]\n", table->noun, *(char *const *)item);
    for (size_t i = 0; i < table->count; i++) {
        const struct config_key *key = &table->keys[i];
        const char *slot = (const char *)item + key->offset;
        bool list = config_key_is_list(key), pointer = config_key_is_text(key) || list;
        if (!pointer || *(void *const *)slot) {
            struct text value = {0};
            bool folds = key->type == VALUE_STRING || (list && key->type != VALUE_ASSIGNMENTS);
            format_value(slot, key, &value);
            put_value(key->name, text_string(&value), folds ? table : NULL, out);
            out->failed |= value.failed;
            text_finish(&value);
        }
    }
}

/* Whose laptop port a cluster has that only a pack describes; NULL: nobody's. Such a pair is
 * allowed, but not in one gears.conf, which the text must be. */
static const char *find_port_owner(const struct config *config, size_t i)
{
    const struct cluster_config *cluster = config->clusters[i];
    for (size_t k = 0; !cluster->said && k < config->cluster_count; k++) {
        const struct cluster_config *other = config->clusters[k];
        if (k != i && other->port == cluster->port && (other->said || k < i)) {
            return other->name;
        }
    }
    return NULL;
}

void config_format(const struct config *config, struct text *out)
{
    text_printf(out, "[defaults]\nport = %d\nlog_total = ", config->port);
    format_size(config->log_total, out);
    text_printf(out, "\n");
    for (size_t i = 0; i < config->service_count; i++) {
        format_item(&config_tables[TABLE_SERVICES], config->services[i], out);
        format_limits(config->services[i], out);
    }
    for (size_t i = 0; i < config->cluster_count; i++) {
        const char *owner = find_port_owner(config, i);
        if (owner) {
            text_printf(out, "\n; the site pack %s is not shown: %s has its port\n",
                config->clusters[i]->name, owner);
        } else {
            format_item(&config_tables[TABLE_CLUSTERS], config->clusters[i], out);
        }
    }
}
