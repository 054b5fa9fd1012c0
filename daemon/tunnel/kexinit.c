/* Explains a handshake that failed because the two sides share no algorithm. */
#include "daemon/tunnel/kexinit.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "common/text.h"
#include "daemon/tunnel/wire.h"

enum { MSG_KEXINIT = 20, COOKIE = 16, PACKET_MOST = 35000 /* RFC 4253, 6.1 */ };

/* The bytes behind the line that begins with "SSH-". */
static int skip_banner(const uint8_t *bytes, size_t length, struct wire *wire)
{
    while (length) {
        const uint8_t *newline = memchr(bytes, '\n', length);
        if (!newline) {
            return -EAGAIN;
        }
        size_t line = (size_t)(newline + 1 - bytes);
        bool banner = line >= 4 && !memcmp(bytes, "SSH-", 4);
        if (banner && (line < 8 || (memcmp(bytes, "SSH-2.0-", 8) != 0 &&
                                       memcmp(bytes, "SSH-1.99", 8) != 0))) {
            return -EBADMSG;
        }
        bytes += line;
        length -= line;
        if (banner) {
            *wire = (struct wire){bytes, length, false};
            return 0;
        }
    }
    return -EAGAIN;
}

int kexinit_parse(const uint8_t *bytes, size_t length, struct kexinit *kexinit)
{
    struct wire packet;
    int code = skip_banner(bytes, length, &packet);
    if (code) {
        return code;
    }
    if (packet.left < 6) {
        return -EAGAIN;
    }
    uint32_t size = wire_u32(&packet);
    uint8_t padding = wire_byte(&packet);
    if (size > PACKET_MOST || size < padding + 2U || *packet.at != MSG_KEXINIT) {
        return -EBADMSG;
    }
    if (packet.left < size - 1) {
        return -EAGAIN;
    }
    struct wire wire = {packet.at + 1, size - padding - 2U, false};
    for (int i = 0; i < COOKIE; i++) {
        wire_byte(&wire);
    }
    for (int i = 0; i < KEXINIT_CLASSES; i++) {
        kexinit->offers[i].names = (const char *)wire_string(&wire, &kexinit->offers[i].length);
    }
    return wire.bad ? -EBADMSG : 0;
}

bool kexinit_offers(const struct kexinit *kexinit, enum kexinit_class class, const char *name)
{
    const char *at = kexinit->offers[class].names;
    size_t left = kexinit->offers[class].length, wanted = strlen(name);
    while (left) {
        const char *comma = memchr(at, ',', left);
        size_t n = comma ? (size_t)(comma - at) : left;
        if (n == wanted && !memcmp(at, name, n)) {
            return true;
        }
        n += comma != NULL;
        at += n;
        left -= n;
    }
    return false;
}

/* The name both would agree on, NULL when there is none: our order counts. */
static const char *common_name(
    const struct kexinit *kexinit, enum kexinit_class class, const char *const *ours)
{
    for (; *ours; ours++) {
        if (kexinit_offers(kexinit, class, *ours)) {
            return *ours;
        }
    }
    return NULL;
}

/* AES-GCM needs no MAC; with ChaCha20-Poly1305 libssh2 wants a common one all the same. */
static bool needs_mac(const struct kexinit *kexinit, enum kexinit_class class,
    const char *const *const ours[KEXINIT_CLASSES])
{
    enum kexinit_class cipher =
        class == KEXINIT_MAC_OUT ? KEXINIT_CIPHER_OUT : KEXINIT_CIPHER_IN;
    const char *name = ours[cipher] ? common_name(kexinit, cipher, ours[cipher]) : NULL;
    return !name || !strstr(name, "gcm");
}

static void describe(
    const struct kexinit *kexinit, int class, const char *const *ours, char *out, size_t size)
{
    static const char *const words[KEXINIT_CLASSES] = {
        "key exchange", "host key", "cipher", "cipher", "MAC", "MAC"};
    char theirs[256];
    struct text list = {0};
    visible_format(
        kexinit->offers[class].names, kexinit->offers[class].length, theirs, sizeof theirs);
    for (size_t i = 0; ours[i]; i++) {
        text_printf(&list, "%s%s", i ? "," : "", ours[i]);
    }
    snprintf(out, size, "%s: the server offers %s; libssh2 has %s", words[class],
        *theirs ? theirs : "none", *text_string(&list) ? text_string(&list) : "none");
    text_finish(&list);
}

int kexinit_explain(const struct kexinit *kexinit,
    const char *const *const ours[KEXINIT_CLASSES], char *out, size_t size)
{
    for (int i = 0; i < KEXINIT_CLASSES; i++) {
        bool mac = i == KEXINIT_MAC_OUT || i == KEXINIT_MAC_IN;
        if (!ours[i] || (mac && !needs_mac(kexinit, (enum kexinit_class)i, ours)) ||
            common_name(kexinit, (enum kexinit_class)i, ours[i])) {
            continue;
        }
        describe(kexinit, i, ours[i], out, size);
        return i;
    }
    return -ENOENT;
}
