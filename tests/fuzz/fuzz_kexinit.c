/* The first bytes of a server that is not trusted yet. */
#include <errno.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "daemon/tunnel/kexinit.h"

static uint8_t *copy_exactly(const uint8_t *data, size_t size)
{
    uint8_t *copy = malloc(size ? size : 1);
    if (!copy) {
        exit(2);
    }
    if (size) {
        memcpy(copy, data, size);
    }
    return copy;
}

static void check_greeting(const uint8_t *bytes, size_t size)
{
    static const char *const names[] = {"ssh-ed25519", "aes256-gcm@openssh.com", NULL};
    const char *const *const ours[KEXINIT_CLASSES] = {names, names, names, NULL, names, names};
    struct kexinit kexinit;
    char words[200];
    int code = kexinit_parse(bytes, size, &kexinit);
    if (code && code != -EAGAIN && code != -EBADMSG) {
        abort();
    }
    if (code) {
        return;
    }
    for (int i = 0; i < KEXINIT_CLASSES; i++) {
        const uint8_t *list = (const uint8_t *)kexinit.offers[i].names;
        if (list < bytes || list + kexinit.offers[i].length > bytes + size) {
            abort();
        }
    }
    int class = kexinit_explain(&kexinit, ours, words, sizeof words);
    if (class >= 0 && strpbrk(words, "\x1b\n\r")) {
        abort();
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    uint8_t *bytes = copy_exactly(data, size);
    check_greeting(bytes, size);
    free(bytes);
    return 0;
}
