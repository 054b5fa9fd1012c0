/* getrandom in hex. */
#include "common/nonce.h"

#include <stdio.h>
#include <stdlib.h>
#include <sys/random.h>

void nonce_hex(char *out, size_t bytes)
{
    for (size_t i = 0; i < bytes; i++) {
        unsigned char byte;
        if (getrandom(&byte, 1, 0) != 1) {
            abort(); /* a broken kernel: no identity may be guessable */
        }
        snprintf(out + 2 * i, 3, "%02x", byte);
    }
}

void nonce_make(char out[NONCE_TEXT_SIZE])
{
    nonce_hex(out, (NONCE_TEXT_SIZE - 1) / 2);
}
