/* Reading the values of gears.conf into their fields, by their type. Called by config_keys.c
 * once a key was found and may stand where it stands. */
#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "daemon/core/config_private.h"

enum { WORD_LIMIT = 128 };

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

/* As the home on the other machine is not known here, ~ stays. */
static void set_far_path(
    struct loader *loader, const struct config_key *key, char **slot, const char *value)
{
    if (value[0] != '/' && strncmp(value, "~/", 2) != 0) {
        config_error(loader,
            "%s = %s: write an absolute path, or one with ~/ for the home there", key->name,
            value);
    } else {
        config_text_put(loader, slot, strdup(value));
    }
}

/* Short enough for any line, of letters, digits and some others. */
static bool is_made_of(const char *word, const char *others)
{
    if (strlen(word) > WORD_LIMIT) {
        return false;
    }
    while (*word && (isalnum((unsigned char)*word) || strchr(others, *word))) {
        word++;
    }
    return !*word;
}

/* One word of a key's value, or of a list of them; says what is wrong with it. */
static bool admit_word(struct loader *loader, const struct config_key *key, const char *word)
{
    enum { DIGEST = 43 }; /* base64 of SHA-256, without the padding */
    struct error err;
    if (key->type == VALUE_NAMES || key->type == VALUE_NAME) {
        if (name_check(word, &err)) {
            config_error(loader, "%s: %s", key->name, err.text);
            return false;
        }
    } else if (key->type == VALUE_PATTERNS) {
        if (!is_made_of(word, "._-*?[]!")) {
            config_error(loader, "%s: \"%s\" is not a pattern of host names", key->name, word);
            return false;
        }
    } else if (key->type == VALUE_FINGERPRINTS) {
        if (strncmp(word, "SHA256:", 7) != 0 || strlen(word + 7) != DIGEST ||
            !is_made_of(word + 7, "+/")) {
            config_error(loader,
                "%s: \"%s\" is not a fingerprint; write SHA256: and 43 characters, as "
                "ssh-keygen -l shows it",
                key->name, word);
            return false;
        }
    } else if (!is_made_of(word, "._-:@[]") || word[0] == '-') {
        config_error(loader, "%s: \"%s\" is not a host's name", key->name, word);
        return false;
    }
    return true;
}

static void set_words(
    struct loader *loader, const struct config_key *key, char ***slot, const char *value)
{
    char *copy = strdup(value), *save = NULL;
    int64_t count = 0;
    loader->failed |= !copy;
    while (*slot && (*slot)[count]) {
        count++;
    }
    for (char *word = copy ? strtok_r(copy, " \t,", &save) : NULL; word;
         word = strtok_r(NULL, " \t,", &save)) {
        if (key->high && count == key->high) {
            config_error(loader, "%s: more than %d", key->name, (int)key->high);
            break;
        }
        if (admit_word(loader, key, word)) {
            *slot = config_list_append(*slot, word, &loader->failed);
            count++;
        }
    }
    free(copy);
}

static void set_word(
    struct loader *loader, const struct config_key *key, char **slot, const char *value)
{
    if (admit_word(loader, key, value)) {
        config_text_put(loader, slot, strdup(value));
    }
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

static void set_one_of(
    struct loader *loader, const struct config_key *key, char **slot, const char *value)
{
    struct text hint = {0};
    for (size_t i = 0; key->choices[i]; i++) {
        text_printf(&hint, "%s%s",
            !i                    ? ""
            : key->choices[i + 1] ? ", "
                                  : " or ",
            key->choices[i]);
    }
    size_t i = choose(loader, key->name, value, key->choices, text_string(&hint));
    if (key->choices[i]) {
        config_text_put(loader, slot, strdup(key->choices[i]));
    }
    text_finish(&hint);
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
    size_t i;
    if (key->type == VALUE_CHOICE) {
        set_one_of(loader, key, slot, value);
    } else if (key->type == VALUE_BOOL) {
        i = choose(loader, key->name, value, bools, "yes or no");
        *(bool *)slot = i % 2;
    } else {
        i = choose(loader, key->name, value, policies, "always, on-failure or no");
        *(enum restart_policy *)slot =
            policies[i] ? (enum restart_policy)i : RESTART_ON_FAILURE;
    }
}

static int read_duration(
    const struct config_key *key, const char *value, int64_t *slot, struct error *err)
{
    int64_t read;
    char bound[32];
    int code = duration_parse(value, &read, err);
    if (code) {
        return code;
    }
    if (read < key->low || (key->high && read > key->high)) {
        bool low = read < key->low;
        duration_format(low ? key->low : key->high, bound, sizeof bound);
        return error_set(err, -EINVAL, "%s is too %s; %s is the %s", value,
            low ? "short" : "long", bound, low ? "least" : "most");
    }
    *slot = read;
    return 0;
}

static int read_size(
    const struct config_key *key, const char *value, uint64_t *slot, struct error *err)
{
    uint64_t read;
    int code = size_parse(value, &read, err);
    if (!code && read < (uint64_t)key->low) {
        code = error_set(err, -EINVAL, "%s is too little; %lldK is the least", value,
            (long long)key->low >> 10);
    }
    *slot = code ? *slot : read;
    return code;
}

static void set_scalar(
    struct loader *loader, const struct config_key *key, void *slot, const char *value)
{
    struct error err;
    long long number;
    int code = 0;
    if (key->type == VALUE_DURATION) {
        code = read_duration(key, value, slot, &err);
    } else if (key->type == VALUE_SIZE) {
        code = read_size(key, value, slot, &err);
    } else if (key->type == VALUE_SIGNAL) {
        code = signal_parse(value, slot, &err);
    } else if (key->type == VALUE_INTEGER) {
        code = integer_parse(value, key->low, key->high, &number, &err);
        *(int *)slot = code ? *(int *)slot : (int)number;
    } else {
        set_choice(loader, key, slot, value);
    }
    if (code) {
        config_error(loader, "%s: %s", key->name, err.text);
    }
}

static void set_by_type(struct loader *loader, const struct config_key *key, void *slot,
    const char *value, bool continued)
{
    switch (key->type) {
    case VALUE_STRING:
        set_text(loader, slot, value, continued ? ' ' : 0);
        break;
    case VALUE_LINES:
        set_text(loader, slot, value, continued ? '\n' : 0);
        break;
    case VALUE_ENV:
    case VALUE_PATH:
        set_path(loader, key, slot, value);
        break;
    case VALUE_FAR_PATH:
        set_far_path(loader, key, slot, value);
        break;
    case VALUE_NAME:
    case VALUE_HOST:
        set_word(loader, key, slot, value);
        break;
    case VALUE_NAMES:
    case VALUE_HOSTS:
    case VALUE_PATTERNS:
    case VALUE_FINGERPRINTS:
        set_words(loader, key, slot, value);
        break;
    case VALUE_ASSIGNMENTS:
        set_assignments(loader, slot, value);
        break;
    default:
        set_scalar(loader, key, slot, value);
    }
}

void config_value_set(struct loader *loader, const struct config_key *key, void *slot,
    const char *value, bool continued)
{
    if (!continued && config_key_is_list(key)) {
        config_list_free(*(char ***)slot);
        *(char ***)slot = NULL;
    }
    if (!*value && key->type != VALUE_LINES && !config_key_is_list(key)) {
        config_error(loader, "%s has no value", key->name);
    } else {
        set_by_type(loader, key, slot, value, continued);
    }
}
