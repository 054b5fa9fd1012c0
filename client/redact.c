/* Two passes: what is known by heart, then what stands where secrets stand. It would rather
 * black out too much. */
#include "client/redact.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

static const char mark[] = "[redacted]";
enum { SECRET_LEAST = 8 };

void secrets_add(struct secrets *secrets, const char *secret)
{
    if (strlen(secret) >= SECRET_LEAST &&
        secrets->count < sizeof secrets->items / sizeof *secrets->items) {
        char *copy = strdup(secret);
        secrets->items[secrets->count] = copy;
        secrets->count += copy != NULL;
    }
}

void secrets_finish(struct secrets *secrets)
{
    for (size_t i = 0; i < secrets->count; i++) {
        explicit_bzero(secrets->items[i], strlen(secrets->items[i]));
        free(secrets->items[i]);
    }
    secrets->count = 0;
}

static void remove_known(const struct secrets *secrets, const char *line, struct text *out)
{
    while (*line) {
        size_t length = 0;
        for (size_t i = 0; i < secrets->count; i++) {
            size_t n = strlen(secrets->items[i]);
            length = n > length && !strncmp(line, secrets->items[i], n) ? n : length;
        }
        if (length) {
            text_printf(out, "%s", mark);
            line += length;
        } else {
            text_append(out, line++, 1);
        }
    }
}

/* The length of a word behind which a secret stands; *whole: up to the line's end. */
static size_t match_word(const char *at, bool *whole)
{
    static const struct {
        const char *word;
        bool whole;
    } words[] = {{"authorization", true}, {"cookie", true}, {"passcode", true},
        {"passphrase", true}, {"password", false}, {"passwd", false}, {"token", false},
        {"secret", false}, {"api_key", false}, {"apikey", false}, {"api-key", false},
        {"private_key", false}, {"access_key", false}, {"credential", false}, {"argon2", true}};
    for (size_t i = 0; i < sizeof words / sizeof *words; i++) {
        size_t n = strlen(words[i].word);
        if (!strncasecmp(at, words[i].word, n)) {
            *whole = words[i].whole;
            return n;
        }
    }
    return 0;
}

static bool is_separator(char c)
{
    return c == '=' || c == ':';
}

/* From behind the word to where its value starts; NULL when there is none: prose. `option`: the
 * word belongs to "--token", where a blank is enough. */
static const char *find_value(const char *at, bool option)
{
    while (isalnum((unsigned char)*at) || *at == '_' || *at == '-' || *at == '.') {
        at++; /* "TOKEN_FILE", "tokens" */
    }
    at += *at == '"' || *at == '\''; /* of "token": "x" */
    const char *start = at;
    while (*at == ' ' || *at == '\t') {
        at++;
    }
    if (is_separator(*at)) {
        at++;
    } else if (strncmp(at, "%3D", 3) == 0 || strncmp(at, "%3d", 3) == 0) {
        at += 3;
    } else if (!option || at == start) {
        return NULL;
    }
    while (*at == ' ' || *at == '\t') {
        at++;
    }
    at += *at == '"' || *at == '\'';
    return *at ? at : NULL;
}

static const char *end_of_value(const char *value, bool whole)
{
    /* "Authorization: token x", "Bearer x": the scheme is no secret, what follows is. */
    return value + (whole ? strlen(value) : strcspn(value, " \t\"'&;,<>)]}"));
}

static bool is_option(const char *line, const char *at)
{
    while (at > line && (isalnum((unsigned char)at[-1]) || at[-1] == '_' || at[-1] == '.')) {
        at--;
    }
    return at > line && at[-1] == '-';
}

/* "https://user:password@host": the part between colon and at. */
static size_t match_userinfo(const char *at, size_t *keep)
{
    if (strncmp(at, "://", 3) != 0) {
        return 0;
    }
    size_t n = 3 + strcspn(at + 3, "/ \t\"'?#");
    const char *colon = memchr(at + 3, ':', n - 3), *sign = memchr(at + 3, '@', n - 3);
    if (!colon || !sign || sign < colon) {
        return 0;
    }
    *keep = (size_t)(colon + 1 - at);
    return (size_t)(sign - at);
}

static void remove_likely(const char *line, struct text *out)
{
    for (const char *at = line; *at;) {
        bool whole = false;
        size_t keep = 0, n = match_userinfo(at, &keep);
        if (n) {
            text_append(out, at, keep);
            text_printf(out, "%s", mark);
            at += n;
            continue;
        }
        n = match_word(at, &whole);
        const char *value = n ? find_value(at + n, is_option(line, at)) : NULL;
        if (!value) {
            text_append(out, at, n ? n : 1);
            at += n ? n : 1;
            continue;
        }
        text_append(out, at, (size_t)(value - at));
        text_printf(out, "%s", mark);
        at = end_of_value(value, whole);
    }
}

void redact_line(const struct secrets *secrets, const char *line, struct text *out)
{
    struct text known = {0};
    remove_known(secrets, line, &known);
    remove_likely(text_string(&known), out);
    text_finish(&known);
}

/* "-----BEGIN OPENSSH PRIVATE KEY-----", wherever in the line; and its END. */
static bool names_key(const char *line, const char *edge)
{
    const char *at = strstr(line, edge);
    return at && strstr(at, "PRIVATE KEY");
}

/* A log's end may have been cut inside one: then its END comes before any BEGIN. */
static bool begins_in_key(const char *text)
{
    const char *end = strstr(text, "-----END "), *begin = strstr(text, "-----BEGIN ");
    return end && (!begin || end < begin) &&
           !strncmp(end + strcspn(end, "P\n"), "PRIVATE KEY", strlen("PRIVATE KEY"));
}

void redact_text(const struct secrets *secrets, const char *text, struct text *out)
{
    bool in_key = begins_in_key(text);
    if (in_key) {
        text_printf(out, "%s\n", mark);
    }
    while (*text) {
        size_t n = strcspn(text, "\n");
        char *line = strndup(text, n);
        bool begins = line && !in_key && names_key(line, "-----BEGIN ");
        if (begins) {
            text_printf(out, "%s\n", mark);
        } else if (line && !in_key) {
            redact_line(secrets, line, out);
            text_append(out, "\n", 1);
        }
        in_key = in_key || begins;
        if (line && in_key && names_key(line, "-----END ")) {
            in_key = false;
        }
        free(line);
        text += n + (text[n] == '\n');
    }
}
