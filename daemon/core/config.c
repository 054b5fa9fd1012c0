/* Reading gears.conf with libinih; the table of keys is in config_keys.c. */
#include <ctype.h>
#include <errno.h>
#include <ini.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/file.h"
#include "daemon/core/config_private.h"

enum { LINE_LIMIT = 199, FILE_LIMIT = 1 << 20 };

void config_error(struct loader *loader, const char *format, ...)
{
    char words[400];
    va_list args;
    if (++loader->error_count > ERRORS_LIMIT) {
        return;
    }
    va_start(args, format);
    vsnprintf(words, sizeof words, format, args);
    va_end(args);
    text_printf(loader->errors, "%s:%d: %s\n", loader->file, loader->line, words);
}

/* One line for libinih, counting; lines it would silently cut are errors. */
static char *read_line(char *out, int size, void *stream)
{
    struct loader *loader = stream;
    if (!*loader->at) {
        return NULL;
    }
    size_t length = strcspn(loader->at, "\n");
    loader->line++;
    if (length > LINE_LIMIT) {
        config_error(loader, "the line is longer than %d bytes; go on in an indented next line",
            LINE_LIMIT);
    }
    size_t n = length < (size_t)size - 2 ? length : (size_t)size - 2;
    memcpy(out, loader->at, n);
    out[n] = '\n';
    out[n + 1] = 0;
    loader->at += length + (loader->at[length] == '\n');
    return out;
}

static struct service_config *open_service(struct loader *loader, const char *name)
{
    struct error err;
    struct config *config = loader->config;
    if (name_check(name, &err)) {
        config_error(loader, "%s", err.text);
        return NULL;
    }
    for (size_t i = 0; i < config->service_count; i++) {
        if (!strcmp(config->services[i]->name, name)) {
            if (loader->touched[i] == loader->pass) {
                config_error(loader, "[service:%s] stands twice in this file", name);
            }
            loader->touched[i] = loader->pass;
            return config->services[i];
        }
    }
    if (config->service_count == CONFIG_SERVICES) {
        config_error(loader, "more than %d services", CONFIG_SERVICES);
        return NULL;
    }
    struct service_config *service = service_config_create(name, "command");
    if (service) {
        loader->touched[config->service_count] = loader->pass;
        config->services[config->service_count++] = service;
    }
    return service;
}

static void open_section(struct loader *loader, const char *section)
{
    snprintf(loader->section, sizeof loader->section, "%s", section);
    loader->service = NULL;
    loader->skip = false;
    loader->seen_count = 0;
    if (!strncmp(section, "service:", 8)) {
        loader->service = open_service(loader, section + 8);
        loader->skip = !loader->service;
    } else if (!strncmp(section, "cluster:", 8) || !strncmp(section, "pool:", 5)) {
        config_error(loader, "[%s]: clusters and pools are not part of this version", section);
        loader->skip = true;
    } else if (strcmp(section, "defaults") != 0) {
        config_error(
            loader, "there is no section [%s]; use [defaults] or [service:NAME]", section);
        loader->skip = true;
    }
}

static bool seen_before(struct loader *loader, const char *key)
{
    for (size_t i = 0; i < loader->seen_count; i++) {
        if (!strcmp(loader->seen[i], key)) {
            return true;
        }
    }
    if (loader->seen_count < SEEN_LIMIT) {
        snprintf(loader->seen[loader->seen_count++], sizeof *loader->seen, "%s", key);
    }
    return false;
}

/* libinih calls this for each key, and again for each continuation line of its value. */
static int on_key(void *user, const char *section, const char *key, const char *value)
{
    struct loader *loader = user;
    bool continued = !strcmp(section, loader->section) && !strcmp(key, loader->last_key) &&
                     isspace((unsigned char)loader->current[0]);
    if (strcmp(section, loader->section) != 0 || loader->line_section) {
        open_section(loader, section);
        loader->line_section = false;
    }
    snprintf(loader->last_key, sizeof loader->last_key, "%s", key);
    if (loader->skip) {
        return 1;
    }
    if (!continued && seen_before(loader, key)) {
        config_error(loader, "the key %s stands twice in [%s]", key, section);
        return 1;
    }
    if (!continued && !loader->site && config_is_locked(loader, key)) {
        config_error(loader, "the key %s is locked by the site (%s)", key, loader->site_file);
        return 1;
    }
    config_set(loader, key, value, continued);
    return 1;
}

/* The reader libinih sees: remembers the raw line so that on_key knows continuations. */
static char *read_and_note(char *out, int size, void *stream)
{
    struct loader *loader = stream;
    char *line = read_line(out, size, stream);
    if (line) {
        snprintf(loader->current, sizeof loader->current, "%s", line);
        const char *text = line + strspn(line, " \t");
        if (*text == '[') {
            loader->line_section = true;
        }
    }
    return line;
}

static void parse_file(struct loader *loader, const char *name, const char *text, bool site)
{
    if (!text) {
        return;
    }
    loader->file = name;
    loader->at = text;
    loader->line = 0;
    loader->site = site;
    loader->pass++;
    loader->section[0] = loader->last_key[0] = 0;
    loader->line_section = false;
    int bad = ini_parse_stream(read_and_note, loader, on_key, loader);
    if (bad > 0) {
        loader->line = bad;
        config_error(loader, "not a [section] and not a key = value");
    }
}

static void check_after(struct loader *loader)
{
    struct config *config = loader->config;
    for (size_t i = 0; i < config->service_count; i++) {
        for (char **name = config->services[i]->after; name && *name; name++) {
            const struct service_config *other = config_find(config, *name);
            loader->line = 0;
            if (!other) {
                config_error(loader, "service %s is after %s, which is not defined",
                    config->services[i]->name, *name);
            } else if (config_after_loops(config, config->services[i])) {
                config_error(loader, "service %s is after itself (through %s)",
                    config->services[i]->name, *name);
                return;
            }
        }
    }
}

static void check_services(struct loader *loader)
{
    for (size_t i = 0; i < loader->config->service_count; i++) {
        const struct service_config *service = loader->config->services[i];
        loader->line = 0;
        if (!strcmp(service->kind, "command") && !service->command) {
            config_error(loader, "service %s has kind command and no command", service->name);
        }
    }
}

int config_parse(const struct home *home, const char *site_name, const char *site_text,
    const char *user_name, const char *user_text, struct config **out, struct text *errors)
{
    (void)home;
    struct config *config = calloc(1, sizeof *config);
    struct loader *loader = calloc(1, sizeof *loader);
    if (!config || !loader ||
        !(config->services = calloc(CONFIG_SERVICES, sizeof *config->services))) {
        free(loader);
        config_destroy(config);
        return -ENOMEM;
    }
    config->port = 38888;
    config->log_total = 512ULL << 20;
    *loader = (struct loader){.config = config, .errors = errors, .site_file = site_name};
    loader->defaults = service_config_create("defaults", "command");
    config->services[config->service_count++] = service_config_create("lab", "jupyter");
    parse_file(loader, site_name, site_text, true);
    parse_file(loader, user_name, user_text, false);
    config_apply_defaults(loader);
    check_after(loader);
    check_services(loader);
    int code = loader->error_count ? -EINVAL : 0;
    service_config_destroy(loader->defaults);
    free(loader->locks);
    free(loader);
    if (code) {
        config_destroy(config);
        return code;
    }
    *out = config;
    return 0;
}

int config_load(const struct home *home, struct config **config, struct text *errors)
{
    const char *site = getenv("GEARS_SITE_CONFIG");
    char user[PATH_MAX], *site_text = NULL, *user_text = NULL;
    struct error err;
    site = site ? site : "/etc/gears/gears.conf";
    snprintf(user, sizeof user, "%s/etc/gears.conf", home->root);
    int code = file_read(site, FILE_LIMIT, &site_text, NULL, &err);
    if (!code || code == -ENOENT) {
        code = file_read(user, FILE_LIMIT, &user_text, NULL, &err);
    }
    if (code && code != -ENOENT) {
        text_printf(errors, "%s\n", err.text);
    } else {
        code = config_parse(home, site, site_text, user, user_text, config, errors);
    }
    free(site_text);
    free(user_text);
    return code;
}
