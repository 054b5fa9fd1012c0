/* The heads of private key files, OpenSSH's own format and PEM. Used by auth_keyfile.c. */
#include "daemon/tunnel/keyfile.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "daemon/tunnel/wire.h"

static const char begin[] = "-----BEGIN OPENSSH PRIVATE KEY-----";
static const char magic[] = "openssh-key-v1"; /* with its NUL */

/* The base64 between the armour's lines, decoded into `out`. SIZE_MAX: none. */
static size_t decode_armour(const char *at, const char *end, uint8_t *out, size_t size)
{
    char *joined = malloc((size_t)(end - at) + 1);
    size_t n = 0;
    for (; joined && at < end && *at != '-'; at++) {
        if (*at > ' ') {
            joined[n++] = *at;
        }
    }
    size_t length = joined && n ? base64_decode(joined, n, out, size) : SIZE_MAX;
    if (joined) {
        explicit_bzero(joined, n);
    }
    free(joined);
    return length;
}

/* magic, cipher, kdf, its options, number of keys, public key … */
static int look_openssh(const uint8_t *bytes, size_t length, struct keyfile *keyfile)
{
    if (length < sizeof magic || memcmp(bytes, magic, sizeof magic) != 0) {
        return -EBADMSG;
    }
    struct wire wire = {bytes + sizeof magic, length - sizeof magic, false};
    size_t n, blob_length;
    const uint8_t *cipher = wire_string(&wire, &n);
    keyfile->encrypted = cipher && (n != 4 || memcmp(cipher, "none", 4) != 0);
    wire_string(&wire, &n);
    wire_string(&wire, &n);
    wire_u32(&wire);
    const uint8_t *blob = wire_string(&wire, &blob_length);
    char type[SSHKEY_TYPE_SIZE];
    if (!blob || blob_length > SSHKEY_BLOB_MOST || !sshkey_type(blob, blob_length, type)) {
        return -EBADMSG;
    }
    memcpy(keyfile->blob, blob, blob_length);
    keyfile->blob_length = blob_length;
    return 0;
}

int keyfile_look(const char *text, size_t length, struct keyfile *keyfile)
{
    keyfile->encrypted = keyfile->rsa = false;
    keyfile->blob_length = 0;
    const char *armour = memmem(text, length, begin, sizeof begin - 1);
    if (armour) {
        uint8_t *bytes = malloc(KEYFILE_MOST);
        size_t n =
            bytes ? decode_armour(armour + sizeof begin - 1, text + length, bytes, KEYFILE_MOST)
                  : SIZE_MAX;
        int code = n == SIZE_MAX ? -EBADMSG : look_openssh(bytes, n, keyfile);
        if (bytes) {
            explicit_bzero(bytes, KEYFILE_MOST);
        }
        free(bytes);
        return code;
    }
    if (!memmem(text, length, "PRIVATE KEY-----", 16)) {
        return -EBADMSG;
    }
    keyfile->encrypted = memmem(text, length, "ENCRYPTED", 9) != NULL;
    keyfile->rsa = memmem(text, length, "BEGIN RSA ", 10) != NULL;
    return 0;
}
