/* Reading gears.conf with libinih. The reader below sees every line first: it counts them,
 * opens sections (libinih tells of a section only with its first key) and refuses what libinih
 * would cut or pass over in silence. Sections are config_section.c's, keys config_keys.c's, the
 * checks of the whole config_check.c's, files on disk config_load.c's. */
#include <ctype.h>
#include <errno.h>
#include <ini.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "daemon/core/config_private.h"

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
        config_section_open(loader, section);
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
    (void)section; /* cut at 49 bytes there; config_section_open knows it whole */
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
        } else if (loader->source == SOURCE_USER && config_is_locked(loader, key)) {
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

static void parse_file(
    struct loader *loader, const struct config_file *file, enum config_source source)
{
    if (!file->text) {
        return;
    }
    loader->at = (struct place){file->name, loader->at.order + 1, 0};
    loader->rest = file->text;
    loader->source = source;
    loader->in_section = loader->defaults_seen = loader->skip = loader->refused = false;
    loader->item = NULL;
    loader->key[0] = 0;
    text_finish(&loader->seen);
    int bad = ini_parse_stream(read_line, loader, on_key, loader);
    if (bad && !loader->error_count) {
        loader->at.line = bad > 0 ? bad : 0;
        config_error(loader, "libinih cannot read this");
    }
}

static void parse_pack(struct loader *loader, const struct config_file *file)
{
    const char *slash = strrchr(file->name, '/'), *base = slash ? slash + 1 : file->name;
    snprintf(loader->pack, sizeof loader->pack, "%.*s", (int)strcspn(base, "."), base);
    parse_file(loader, file, SOURCE_PACK);
}

static int load_all(struct loader *loader, const struct config_files *files)
{
    loader->loaded[TABLE_SERVICES].defaults = service_config_create("defaults", "command");
    loader->loaded[TABLE_CLUSTERS].defaults = cluster_config_create("defaults");
    config_section_add(loader, TABLE_SERVICES, "lab", "jupyter");
    if (!loader->loaded[TABLE_SERVICES].defaults || !loader->loaded[TABLE_CLUSTERS].defaults ||
        loader->failed) {
        return -ENOMEM;
    }
    for (size_t i = 0; i < files->pack_count; i++) {
        parse_pack(loader, &files->packs[i]);
    }
    parse_file(loader, &files->site, SOURCE_SITE);
    parse_file(loader, &files->user, SOURCE_USER);
    config_apply_defaults(loader);
    config_check(loader);
    if (loader->error_count > ERRORS_LIMIT) {
        text_printf(loader->errors, "and %d more\n", loader->error_count - ERRORS_LIMIT);
    }
    return loader->failed || loader->seen.failed || loader->locks.failed ? -ENOMEM
           : loader->error_count                                         ? -EINVAL
                                                                         : 0;
}

int config_parse(const struct config_files *files, struct config **out, struct text *errors)
{
    struct config *config = calloc(1, sizeof *config);
    if (!config) {
        return -ENOMEM;
    }
    config->port = 38888;
    config->log_total = 512ULL << 20;
    struct loader loader = {.config = config, .errors = errors, .site_file = files->site.name};
    int code = load_all(&loader, files);
    for (enum config_table_id id = 0; id < CONFIG_TABLES; id++) {
        config_item_destroy(id, loader.loaded[id].defaults);
        free(loader.loaded[id].origins);
    }
    text_finish(&loader.seen);
    text_finish(&loader.locks);
    if (code) {
        config_destroy(config);
        return code;
    }
    *out = config;
    return 0;
}
