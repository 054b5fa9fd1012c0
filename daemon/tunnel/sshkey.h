/* Public keys as SSH writes them: blobs, base64 lines, fingerprints. Pure, on memory. */
#ifndef TUNNEL_SSHKEY_H
#define TUNNEL_SSHKEY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
    SSHKEY_BLOB_MOST = 16 * 1024, /* longer keys count as none */
    SSHKEY_FINGERPRINT_SIZE = 52, /* "SHA256:", 43 characters and a NUL */
    SSHKEY_TYPE_SIZE = 64
};

/* Decode base64 up to the first other character; `=` may be missing. The number of bytes, or
 * SIZE_MAX when there are more than `size` or the last group is torn. */
size_t base64_decode(const char *text, size_t length, uint8_t *out, size_t size);
/* With `=`; `out` needs (length + 2) / 3 * 4 + 1 bytes. */
void base64_encode(const uint8_t *bytes, size_t length, char *out);

/* The type a blob names itself, such as "ssh-ed25519". False: it is none. */
bool sshkey_type(const uint8_t *blob, size_t length, char type[SSHKEY_TYPE_SIZE]);
/* "SHA256:…" as ssh-keygen -l shows it. */
void sshkey_fingerprint(const uint8_t *blob, size_t length, char out[SSHKEY_FINGERPRINT_SIZE]);
/* "type base64 comment": the blob's length, 0 when the line is no public key. */
size_t sshkey_parse(const char *line, size_t length, uint8_t blob[SSHKEY_BLOB_MOST]);
/* "Ed25519", "ECDSA", "RSA" … for people. */
const char *sshkey_type_words(const char *type);

#endif
