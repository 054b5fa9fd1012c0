/* Reading the values of gears.conf into a service's fields, by their type. Called by
 * config_keys.c once a key was found and may stand where it stands. */
#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "daemon/core/config_private.h"

void config_text_put(struct loader *loader, char **slot, char *value)
{
    free(*slot);
    *slot = value;
    loader->failed |= !value;
}

/* ~ and $HOME at the front become the home folder. */
static char *expand(const char *value)
{
    static const char *const marks[] = {"~", "$HOME", "${HOME}"};
    const char *home = getenv("HOME");
    for (size_t i = 0; home && i < sizeof marks / sizeof *marks; i++) {
        size_t n = strlen(marks[i]);
        char *out = NULL;
        if (!strncmp(value, marks[i], n) && (!value[n] || value[n] == '/')) {
            return asprintf(&out, "%s%s", home, value + n) < 0 ? NULL : out;
        }
    }
    return strdup(value);
}

static void set_path(
    struct loader *loader, const struct config_key *key, char **slot, const char *value)
{
    config_text_put(loader, slot, expand(value));
    bool named = key->type == VALUE_ENV && value[0] != '.' && !strchr(value, '/');
    if (*slot && **slot != '/' && (!named || !*value)) {
        config_error(loader, "%s = %s: write %san absolute path or one with ~", key->name,
            value, key->type == VALUE_ENV ? "an environment's name, " : "");
    }
}

static void set_text(struct loader *loader, char **slot, const char *value, char between)
{
    char *out = NULL;
    if (between && *slot) {
        config_text_put(
            loader, slot, asprintf(&out, "%s%c%s", *slot, between, value) < 0 ? NULL : out);
    } else {
        config_text_put(loader, slot, strdup(value));
    }
}

static void set_names(struct loader *loader, char ***slot, const char *value)
{
    struct error err;
    char *copy = strdup(value), *save = NULL;
    loader->failed |= !copy;
    for (char *word = copy ? strtok_r(copy, " \t,", &save) : NULL; word;
         word = strtok_r(NULL, " \t,", &save)) {
        if (name_check(word, &err)) {
            config_error(loader, "after: %s", err.text);
        } else {
            *slot = config_list_append(*slot, word, &loader->failed);
        }
    }
    free(copy);
}

/* One word as sh would read it, without expansions. Returns what follows, NULL when a quote is
 * not closed. */
static const char *read_word(const char *at, struct text *word)
{
    char quote = 0;
    for (; *at && (quote || !isspace((unsigned char)*at)); at++) {
        if (quote ? *at == quote : *at == '\'' || *at == '"') {
            quote = quote ? 0 : *at;
        } else if (*at == '\\' && quote != '\'' && at[1]) {
            text_append(word, ++at, 1);
        } else {
            text_append(word, at, 1);
        }
    }
    return quote ? NULL : at;
}

static bool is_assignment(const char *word)
{
    size_t n = strspn(word, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_");
    return n && word[n] == '=' && !isdigit((unsigned char)*word);
}

static void set_assignments(struct loader *loader, char ***slot, const char *value)
{
    static const char between[] = " \t\r\v\f"; /* all that ends a word */
    for (const char *at = value + strspn(value, between); at && *at;
         at += strspn(at, between)) {
        struct text word = {0};
        at = read_word(at, &word);
        if (!at) {
            config_error(loader, "environment: a quote is not closed in this line");
        } else if (!is_assignment(text_string(&word))) {
            config_error(loader,
                "environment: \"%s\" is not NAME=value; quote values with spaces",
                text_string(&word));
        } else {
            *slot = config_list_append(*slot, text_string(&word), &loader->failed);
        }
        loader->failed |= word.failed;
        text_finish(&word);
        if (!at) {
            return;
        }
    }
}

/* The place of `value` among `words`, or the number of words with an error said. */
static size_t choose(struct loader *loader, const char *key, const char *value,
    const char *const *words, const char *hint)
{
    size_t i = 0;
    while (words[i] && strcmp(words[i], value) != 0) {
        i++;
    }
    if (!words[i]) {
        config_error(loader, "%s = %s: write %s", key, value, hint);
    }
    return i;
}

static void set_choice(
    struct loader *loader, const struct config_key *key, void *slot, const char *value)
{
    static const char *const bools[] = {
        "no", "yes", "false", "true", "off", "on", "0", "1", NULL};
    static const char *const policies[] = {[RESTART_ON_FAILURE] = "on-failure",
        [RESTART_ALWAYS] = "always",
        [RESTART_NO] = "no",
        NULL};
    static const char *const kinds[] = {"jupyter", "command", NULL};
    size_t i;
    if (key->type == VALUE_BOOL) {
        i = choose(loader, key->name, value, bools, "yes or no");
        *(bool *)slot = i % 2;
    } else if (key->type == VALUE_RESTART) {
        i = choose(loader, key->name, value, policies, "always, on-failure or no");
        *(enum restart_policy *)slot =
            policies[i] ? (enum restart_policy)i : RESTART_ON_FAILURE;
    } else {
        i = choose(loader, key->name, value, kinds, "jupyter or command");
        if (kinds[i]) {
            config_text_put(loader, slot, strdup(kinds[i]));
        }
    }
}

static void set_scalar(
    struct loader *loader, const struct config_key *key, void *slot, const char *value)
{
    struct error err;
    int code = 0;
    if (key->type == VALUE_DURATION) {
        code = duration_parse(value, slot, &err);
    } else if (key->type == VALUE_SIZE) {
        code = size_parse(value, slot, &err);
    } else if (key->type == VALUE_SIGNAL) {
        code = signal_parse(value, slot, &err);
    } else {
        set_choice(loader, key, slot, value);
    }
    if (code) {
        config_error(loader, "%s: %s", key->name, err.text);
    }
}

void config_value_set(
    struct loader *loader, const struct config_key *key, const char *value, bool continued)
{
    struct service_config *service = loader->service ? loader->service : loader->defaults;
    void *slot = (char *)service + key->offset;
    if (!continued && config_key_is_list(key)) {
        config_list_free(*(char ***)slot);
        *(char ***)slot = NULL;
    }
    if (!*value && key->type != VALUE_LINES && !config_key_is_list(key)) {
        config_error(loader, "%s has no value", key->name);
    } else if (key->type == VALUE_STRING) {
        set_text(loader, slot, value, continued ? ' ' : 0);
    } else if (key->type == VALUE_LINES) {
        set_text(loader, slot, value, continued ? '\n' : 0);
    } else if (key->type == VALUE_ENV || key->type == VALUE_PATH) {
        set_path(loader, key, slot, value);
    } else if (key->type == VALUE_NAMES) {
        set_names(loader, slot, value);
    } else if (key->type == VALUE_ASSIGNMENTS) {
        set_assignments(loader, slot, value);
    } else {
        set_scalar(loader, key, slot, value);
    }
}
