/* Reading and showing public keys; host keys, identities and agents are judged by this. */
#include "daemon/tunnel/sshkey.h"

#include <stdio.h>
#include <string.h>

#include <openssl/evp.h>
#include <openssl/sha.h>

#include "daemon/tunnel/wire.h"

static int digit_value(char c)
{
    return c >= 'A' && c <= 'Z'   ? c - 'A'
           : c >= 'a' && c <= 'z' ? c - 'a' + 26
           : c >= '0' && c <= '9' ? c - '0' + 52
           : c == '+'             ? 62
           : c == '/'             ? 63
                                  : -1;
}

size_t base64_decode(const char *text, size_t length, uint8_t *out, size_t size)
{
    uint32_t bits = 0;
    size_t count = 0, digits = 0;
    for (; digits < length && digit_value(text[digits]) >= 0; digits++) {
        bits = bits << 6 | (uint32_t)digit_value(text[digits]);
        if (digits % 4 == 0) {
            continue; /* six bits are no byte yet */
        }
        if (count == size) {
            return SIZE_MAX;
        }
        out[count++] = (uint8_t)(bits >> (2 * (3 - digits % 4)));
    }
    return digits % 4 == 1 ? SIZE_MAX : count;
}

void base64_encode(const uint8_t *bytes, size_t length, char *out)
{
    EVP_EncodeBlock((unsigned char *)out, bytes, (int)length);
}

bool sshkey_type(const uint8_t *blob, size_t length, char type[SSHKEY_TYPE_SIZE])
{
    struct wire wire = {blob, length, false};
    size_t n;
    const uint8_t *name = wire_string(&wire, &n);
    if (!name || !n || n >= SSHKEY_TYPE_SIZE || !wire.left) {
        return false;
    }
    for (size_t i = 0; i < n; i++) {
        if (name[i] <= ' ' || name[i] > '~') {
            return false;
        }
    }
    memcpy(type, name, n);
    type[n] = 0;
    return true;
}

void sshkey_fingerprint(const uint8_t *blob, size_t length, char out[SSHKEY_FINGERPRINT_SIZE])
{
    uint8_t hash[SHA256_DIGEST_LENGTH];
    char text[48];
    SHA256(blob, length, hash);
    base64_encode(hash, sizeof hash, text);
    text[43] = 0; /* without the padding */
    snprintf(out, SSHKEY_FINGERPRINT_SIZE, "SHA256:%s", text);
}

static size_t blanks(const char *text, size_t length)
{
    size_t n = 0;
    while (n < length && (text[n] == ' ' || text[n] == '\t')) {
        n++;
    }
    return n;
}

size_t sshkey_parse(const char *line, size_t length, uint8_t blob[SSHKEY_BLOB_MOST])
{
    size_t at = blanks(line, length), begin = at;
    while (at < length && line[at] > ' ') {
        at++;
    }
    char type[SSHKEY_TYPE_SIZE];
    const char *name = line + begin;
    size_t name_length = at - begin;
    at += blanks(line + at, length - at);
    size_t n = base64_decode(line + at, length - at, blob, SSHKEY_BLOB_MOST);
    if (n == SIZE_MAX || !sshkey_type(blob, n, type) || strlen(type) != name_length ||
        memcmp(type, name, name_length) != 0) {
        return 0;
    }
    return n;
}

const char *sshkey_type_words(const char *type)
{
    static const char *const known[][2] = {{"ssh-ed25519", "Ed25519"}, {"ecdsa-", "ECDSA"},
        {"ssh-rsa", "RSA"}, {"rsa-", "RSA"}, {"ssh-dss", "DSA"}, {"sk-", "security key"}};
    for (size_t i = 0; i < sizeof known / sizeof *known; i++) {
        if (!strncmp(type, known[i][0], strlen(known[i][0]))) {
            return known[i][1];
        }
    }
    return type;
}
