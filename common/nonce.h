/* Random identities and secrets from the kernel. */
#ifndef COMMON_NONCE_H
#define COMMON_NONCE_H

#include <stddef.h>

enum { NONCE_TEXT_SIZE = 33 }; /* 128 bits in hex and a NUL */

/* A fresh 128-bit value in lower-case hex. Aborts only if the kernel has no randomness. */
void nonce_make(char out[NONCE_TEXT_SIZE]);
/* `bytes` random bytes in hex: out needs 2 * bytes + 1. */
void nonce_hex(char *out, size_t bytes);

#endif
