/* What a server offers for the key exchange, read from the first bytes it sent, and in words
 * what it has not in common with us. Pure, on memory. */
#ifndef TUNNEL_KEXINIT_H
#define TUNNEL_KEXINIT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum kexinit_class {
    KEXINIT_KEX,
    KEXINIT_HOST_KEY,
    KEXINIT_CIPHER_OUT, /* client to server */
    KEXINIT_CIPHER_IN,
    KEXINIT_MAC_OUT,
    KEXINIT_MAC_IN,
    KEXINIT_CLASSES
};

/* Lists of names with commas between them, where they stand in the bytes read. */
struct kexinit {
    struct {
        const char *names;
        size_t length;
    } offers[KEXINIT_CLASSES];
};

/* Find it behind the banner. 0; -EAGAIN: not all of it is there; -EBADMSG: no SSH 2 server, or
 * something else comes first. */
int kexinit_parse(const uint8_t *bytes, size_t length, struct kexinit *kexinit);
/* Whether a class has the name. */
bool kexinit_offers(const struct kexinit *kexinit, enum kexinit_class class, const char *name);
/* `ours`: for each class names ended by NULL, or NULL when not known. The first class with
 * nothing in common, -ENOENT when there is none; `out` gets what it is called and what each
 * side offers: "cipher: the server offers …; libssh2 has …", cut at its size. */
int kexinit_explain(const struct kexinit *kexinit,
    const char *const *const ours[KEXINIT_CLASSES], char *out, size_t size);

#endif
