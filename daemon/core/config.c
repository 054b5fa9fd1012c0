/* Reading gears.conf with libinih. The reader below sees every line first: it counts them,
 * opens sections (libinih tells of a section only with its first key) and refuses what libinih
 * would cut or pass over in silence. Keys are config_keys.c's, the checks of the whole
 * config_check.c's. */
#include <ctype.h>
#include <errno.h>
#include <ini.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/file.h"
#include "daemon/core/config_private.h"

enum { FILE_LIMIT = 1 << 20 };

static void report(struct loader *loader, struct place at, const char *format, va_list args)
{
    char words[480];
    if (++loader->error_count > ERRORS_LIMIT) {
        return;
    }
    vsnprintf(words, sizeof words, format, args);
    text_printf(loader->errors, "%s:%d: %s\n", at.file, at.line, words);
}

void config_error(struct loader *loader, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    report(loader, loader->at, format, args);
    va_end(args);
}

void config_error_at(struct loader *loader, struct place at, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    report(loader, at, format, args);
    va_end(args);
}

/* Room for one more service and for its origin beside it. */
static bool grow(struct loader *loader)
{
    struct config *config = loader->config;
    if (config->service_count < loader->capacity) {
        return true;
    }
    size_t capacity = loader->capacity ? 2 * loader->capacity : 8;
    void *services = realloc(config->services, capacity * sizeof *config->services);
    config->services = services ? services : config->services;
    void *origins = realloc(loader->origins, capacity * sizeof *loader->origins);
    loader->origins = origins ? origins : loader->origins;
    loader->capacity = services && origins ? capacity : loader->capacity;
    loader->failed |= !services || !origins;
    return services && origins;
}

static void add_service(struct loader *loader, const char *name, const char *kind)
{
    struct config *config = loader->config;
    struct service_config *service = grow(loader) ? service_config_create(name, kind) : NULL;
    if (service) {
        loader->origins[config->service_count] = (struct origin){0};
        config->services[config->service_count++] = service;
    }
    loader->failed |= !service;
}

static void open_service(struct loader *loader, const char *name)
{
    struct error err;
    struct config *config = loader->config;
    size_t i = 0;
    loader->skip = true;
    if (name_check(name, &err)) {
        config_error(loader, "%s", err.text);
        return;
    }
    while (i < config->service_count && strcmp(config->services[i]->name, name) != 0) {
        i++;
    }
    if (i == CONFIG_SERVICES) {
        config_error(loader, "more than %d services", CONFIG_SERVICES);
        return;
    }
    if (i == config->service_count) {
        add_service(loader, name, "command");
        if (loader->failed) {
            return;
        }
    }
    struct place *before = &loader->origins[i].section;
    if (before->line && before->file == loader->at.file) {
        config_error(loader, "[service:%s] stands twice in this file, first in line %d", name,
            before->line);
        return;
    }
    *before = loader->at;
    loader->skip = false;
    loader->place = i;
    loader->service = config->services[i];
}

static void open_section(struct loader *loader, const char *section)
{
    loader->in_section = true;
    loader->service = NULL;
    loader->skip = loader->refused = false;
    loader->key[0] = 0;
    text_finish(&loader->seen);
    if (!strncmp(section, "service:", 8)) {
        open_service(loader, section + 8);
    } else if (!strcmp(section, "defaults")) {
        loader->skip = loader->defaults_seen;
        if (loader->defaults_seen) {
            config_error(loader, "[defaults] stands twice in this file");
        }
        loader->defaults_seen = true;
    } else {
        bool later = !strncmp(section, "cluster:", 8) || !strncmp(section, "pool:", 5);
        loader->skip = true;
        config_error(loader,
            later ? "[%.60s]: clusters and pools are not part of this version"
                  : "there is no section [%.60s]; write [defaults] or [service:NAME]",
            section);
    }
}

/* Whether a line can be a key's: a '=' or ':' before any comment behind it. */
static bool has_separator(const char *line)
{
    for (const char *c = line; *c; c++) {
        if (*c == '=' || *c == ':') {
            return true;
        }
        if (*c == ';' && c > line && isspace((unsigned char)c[-1])) {
            return false;
        }
    }
    return false;
}

/* Judge a line before libinih does; false: it must not see it. */
static bool admit(struct loader *loader, char *line)
{
    const char *text = line + strspn(line, " \t\r\v\f");
    if (loader->at.line == 1 && !strncmp(line, "\xef\xbb\xbf", 3)) {
        text = line + 3; /* a byte order mark: libinih passes over it as well */
    } else if (*text && text > line && loader->key[0]) {
        return true; /* goes on the value above */
    }
    if (!*text || *text == ';' || *text == '#') {
        return true;
    }
    if (*text == '[') {
        char section[CONFIG_LINE + 1];
        size_t length = strcspn(text + 1, "]");
        if (text[1 + length] != ']') {
            config_error(loader, "the section's name does not end with ]");
            loader->in_section = loader->skip = true;
            return false;
        }
        snprintf(section, sizeof section, "%.*s", (int)length, text + 1);
        open_section(loader, section);
        return true;
    }
    if (!has_separator(text)) {
        config_error(loader, "neither a [section] nor a KEY = VALUE");
        return false;
    }
    return true;
}

/* Called by libinih for its next line. An empty one stands for lines it must not see. */
static char *read_line(char *out, int size, void *stream)
{
    struct loader *loader = stream;
    if (!*loader->rest || size <= CONFIG_LINE) {
        return NULL;
    }
    loader->raw = loader->rest;
    loader->raw_length = strcspn(loader->rest, "\n");
    loader->rest += loader->raw_length + (loader->rest[loader->raw_length] == '\n');
    loader->at.line++;
    if (loader->raw_length > CONFIG_LINE) {
        config_error(loader,
            "the line has %zu bytes, %d is the most; go on in an indented line",
            loader->raw_length, CONFIG_LINE);
        loader->refused = true; /* nor may its further lines go on the key above */
        out[0] = 0;
        return out;
    }
    memcpy(out, loader->raw, loader->raw_length);
    out[loader->raw_length] = 0;
    if (!admit(loader, out)) {
        out[0] = 0;
    }
    return out;
}

static bool note_seen(struct loader *loader, const char *key)
{
    char word[80];
    snprintf(word, sizeof word, " %.64s ", key);
    bool seen = strstr(text_string(&loader->seen), word) != NULL;
    text_printf(&loader->seen, "%s", word);
    return seen;
}

/* libinih calls this for each key, and again for each further line of its value. */
static int on_key(void *user, const char *section, const char *key, const char *value)
{
    struct loader *loader = user;
    (void)section; /* cut at 49 bytes there; open_section knows it whole */
    bool indented = loader->raw_length && isspace((unsigned char)loader->raw[0]);
    bool continued = indented && loader->key[0];
    if (!continued) {
        snprintf(loader->key, sizeof loader->key, "%s", key);
        loader->refused = true;
        if (loader->skip) {
            return 1;
        }
        if (!loader->in_section) {
            config_error(loader, "\"%s\" stands above the first section", key);
        } else if (note_seen(loader, key)) {
            config_error(loader, "the key %s stands twice in this section", key);
        } else if (!loader->site && config_is_locked(loader, key)) {
            config_error(loader, "the key %s is locked by the site (%s); remove it", key,
                loader->site_file);
        } else {
            loader->refused = false;
        }
    }
    if (!loader->skip && !loader->refused) {
        config_set(loader, loader->key, value, continued);
    }
    return 1;
}

static void parse_file(struct loader *loader, const char *name, const char *text, bool site)
{
    if (!text) {
        return;
    }
    loader->at = (struct place){name, 0};
    loader->rest = text;
    loader->site = site;
    loader->in_section = loader->defaults_seen = loader->skip = loader->refused = false;
    loader->service = NULL;
    loader->key[0] = 0;
    text_finish(&loader->seen);
    int bad = ini_parse_stream(read_line, loader, on_key, loader);
    if (bad && !loader->error_count) {
        loader->at.line = bad > 0 ? bad : 0;
        config_error(loader, "libinih cannot read this");
    }
}

static int load_all(
    struct loader *loader, const char *site_text, const char *user_name, const char *user_text)
{
    loader->defaults = service_config_create("defaults", "command");
    add_service(loader, "lab", "jupyter");
    if (!loader->defaults || loader->failed) {
        return -ENOMEM;
    }
    parse_file(loader, loader->site_file, site_text, true);
    parse_file(loader, user_name, user_text, false);
    config_apply_defaults(loader);
    config_check(loader);
    if (loader->error_count > ERRORS_LIMIT) {
        text_printf(loader->errors, "and %d more\n", loader->error_count - ERRORS_LIMIT);
    }
    return loader->failed || loader->seen.failed || loader->locks.failed ? -ENOMEM
           : loader->error_count                                         ? -EINVAL
                                                                         : 0;
}

int config_parse(const struct home *home, const char *site_name, const char *site_text,
    const char *user_name, const char *user_text, struct config **out, struct text *errors)
{
    (void)home;
    struct config *config = calloc(1, sizeof *config);
    if (!config) {
        return -ENOMEM;
    }
    config->port = 38888;
    config->log_total = 512ULL << 20;
    struct loader loader = {.config = config, .errors = errors, .site_file = site_name};
    int code = load_all(&loader, site_text, user_name, user_text);
    service_config_destroy(loader.defaults);
    text_finish(&loader.seen);
    text_finish(&loader.locks);
    free(loader.origins);
    if (code) {
        config_destroy(config);
        return code;
    }
    *out = config;
    return 0;
}

/* A missing file gives NULL. */
static int read_file(const char *path, char **text, struct text *errors)
{
    struct error err;
    size_t length = 0;
    int code = file_read(path, FILE_LIMIT, text, &length, &err);
    if (code == -ENOENT || code == -ENOTDIR) {
        return 0;
    }
    if (code) {
        text_printf(errors, "%s\n", err.text);
    } else if (strlen(*text) != length) {
        code = -EINVAL;
        text_printf(errors, "%s: holds a NUL byte; it is no text file\n", path);
    }
    return code;
}

/* The site may put a file "disabled" beside its gears.conf; its text is the reason. */
static int read_disabled(const char *site, char **text, struct text *errors)
{
    char path[PATH_MAX];
    const char *slash = strrchr(site, '/');
    snprintf(path, sizeof path, "%.*sdisabled", slash ? (int)(slash + 1 - site) : 0, site);
    int code = read_file(path, text, errors);
    if (!code && *text) {
        (*text)[strcspn(*text, "\r\n")] = 0;
        if (!**text) {
            free(*text);
            *text = strdup("Gears is switched off on this host by its administrators");
        }
    }
    return code;
}

int config_load(const struct home *home, struct config **config, struct text *errors)
{
    const char *site = getenv("GEARS_SITE_CONFIG");
    char user[PATH_MAX], *site_text = NULL, *user_text = NULL, *disabled = NULL;
    site = site ? site : "/etc/gears/gears.conf";
    snprintf(user, sizeof user, "%s/etc/gears.conf", home->root);
    int code = read_file(site, &site_text, errors);
    code = code ? code : read_disabled(site, &disabled, errors);
    code = code ? code : read_file(user, &user_text, errors);
    code = code ? code : config_parse(home, site, site_text, user, user_text, config, errors);
    if (!code && disabled) {
        free((*config)->disabled);
        (*config)->disabled = disabled;
        disabled = NULL;
    }
    free(disabled);
    free(site_text);
    free(user_text);
    return code;
}
