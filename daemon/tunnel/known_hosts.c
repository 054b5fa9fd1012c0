/* Which lines of a known_hosts file are about a name. hostkey.c reads the files and judges. */
#include "daemon/tunnel/known_hosts.h"

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <openssl/sha.h>

#include "common/text.h"

/* A part of the text. */
struct piece {
    const char *at;
    size_t length;
};

/* The next word, between blanks; empty at the end. */
static struct piece next_word(struct piece *rest)
{
    while (rest->length && (*rest->at == ' ' || *rest->at == '\t')) {
        rest->at++;
        rest->length--;
    }
    struct piece word = {rest->at, 0};
    while (rest->length && *rest->at != ' ' && *rest->at != '\t') {
        rest->at++;
        rest->length--;
        word.length++;
    }
    return word;
}

static bool is(struct piece word, const char *text)
{
    return word.length == strlen(text) && !memcmp(word.at, text, word.length);
}

static bool same_letter(char a, char b)
{
    return tolower((unsigned char)a) == tolower((unsigned char)b);
}

/* "*" and "?" in the pattern; the last star is the only one ever taken back, so the time is
 * bounded by the product of the lengths. */
static bool pattern_matches(struct piece pattern, const char *name)
{
    size_t p = 0, n = 0, star = SIZE_MAX, resume = 0, length = strlen(name);
    while (n < length) {
        if (p < pattern.length && pattern.at[p] == '*') {
            star = p++;
            resume = n;
        } else if (p < pattern.length &&
                   (pattern.at[p] == '?' || same_letter(pattern.at[p], name[n]))) {
            p++;
            n++;
        } else if (star != SIZE_MAX) {
            p = star + 1;
            n = ++resume;
        } else {
            return false;
        }
    }
    while (p < pattern.length && pattern.at[p] == '*') {
        p++;
    }
    return p == pattern.length;
}

static bool list_matches(struct piece list, const char *name)
{
    bool found = false;
    while (list.length) {
        const char *comma = memchr(list.at, ',', list.length);
        struct piece pattern = {list.at, comma ? (size_t)(comma - list.at) : list.length};
        size_t step = pattern.length + (comma != NULL);
        list.at += step;
        list.length -= step;
        bool negated = pattern.length && *pattern.at == '!';
        pattern.at += negated;
        pattern.length -= negated;
        if (pattern.length && pattern_matches(pattern, name)) {
            if (negated) {
                return false;
            }
            found = true;
        }
    }
    return found;
}

/* "|1|SALT|HASH": HMAC-SHA1 of the name in lower case. */
static bool hash_matches(struct piece word, const char *name)
{
    uint8_t salt[SHA_DIGEST_LENGTH], hash[SHA_DIGEST_LENGTH], own[EVP_MAX_MD_SIZE];
    char lower[512];
    size_t length = strlen(name);
    const char *text = word.at + 3;
    const char *bar = word.length > 3 ? memchr(text, '|', word.length - 3) : NULL;
    if (!bar || length >= sizeof lower || memcmp(word.at, "|1|", 3) != 0) {
        return false;
    }
    const char *end = word.at + word.length;
    if (base64_decode(text, (size_t)(bar - text), salt, sizeof salt) != sizeof salt ||
        base64_decode(bar + 1, (size_t)(end - bar - 1), hash, sizeof hash) != sizeof hash) {
        return false;
    }
    for (size_t i = 0; i < length; i++) {
        lower[i] = (char)tolower((unsigned char)name[i]);
    }
    unsigned int own_length = 0;
    return HMAC(EVP_sha1(), salt, sizeof salt, (const unsigned char *)lower, length, own,
               &own_length) &&
           own_length == sizeof hash && !memcmp(own, hash, sizeof hash);
}

/* True when the line is an entry about `name`. */
static bool read_line(struct piece line, const char *name, uint8_t blob[SSHKEY_BLOB_MOST],
    struct known_entry *entry)
{
    struct piece hosts = next_word(&line);
    entry->mark = KNOWN_KEY;
    if (is(hosts, "@revoked") || is(hosts, "@cert-authority")) {
        entry->mark = is(hosts, "@revoked") ? KNOWN_REVOKED : KNOWN_AUTHORITY;
        hosts = next_word(&line);
    }
    if (!hosts.length || *hosts.at == '#' || *hosts.at == '@') {
        return false;
    }
    bool about = *hosts.at == '|' ? hash_matches(hosts, name) : list_matches(hosts, name);
    entry->blob_length = about ? sshkey_parse(line.at, line.length, blob) : 0;
    entry->blob = blob;
    return entry->blob_length && sshkey_type(blob, entry->blob_length, entry->type);
}

void known_hosts_scan(const char *text, size_t length, const char *name,
    void (*each)(void *context, const struct known_entry *entry), void *context)
{
    uint8_t blob[SSHKEY_BLOB_MOST];
    struct known_entry entry = {.line = 0};
    while (length) {
        const char *newline = memchr(text, '\n', length);
        struct piece line = {text, newline ? (size_t)(newline - text) : length};
        size_t step = line.length + (newline != NULL);
        text += step;
        length -= step;
        entry.line++;
        if (line.length && line.at[line.length - 1] == '\r') {
            line.length--;
        }
        if (line.length <= KNOWN_HOSTS_LINE_MOST && read_line(line, name, blob, &entry)) {
            each(context, &entry);
        }
    }
}

bool known_hosts_name(const char *alias, const char *host, int port, char *out, size_t size)
{
    const char *name = alias && *alias ? alias : host;
    const char *format = name == host && port != 22 ? "[%s]:%d" : "%s";
    int n = snprintf(out, size, format, name, port);
    /* It becomes the first word of a line: nothing may end it or make it a pattern. */
    return n > 0 && (size_t)n < size && !strpbrk(out, " \t\r\n,*?!|#@") && *name;
}

char *known_hosts_line(const char *name, const uint8_t *blob, size_t blob_length)
{
    char type[SSHKEY_TYPE_SIZE], encoded[SSHKEY_BLOB_MOST / 3 * 4 + 8];
    struct text line = {0};
    if (blob_length > SSHKEY_BLOB_MOST || !sshkey_type(blob, blob_length, type)) {
        return NULL;
    }
    base64_encode(blob, blob_length, encoded);
    text_printf(&line, "%s %s %s\n", name, type, encoded);
    return text_take(&line);
}
