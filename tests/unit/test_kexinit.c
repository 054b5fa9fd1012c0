/* What a server offers, and what it has not in common with us. */
#include <errno.h>

#include "daemon/tunnel/kexinit.h"
#include "tests/unit/scratch.h"

struct bytes {
    uint8_t data[4096];
    size_t length;
};

static void put(struct bytes *bytes, const void *data, size_t length)
{
    memcpy(bytes->data + bytes->length, data, length);
    bytes->length += length;
}

static void put_u32(struct bytes *bytes, size_t value)
{
    const uint8_t big[4] = {
        (uint8_t)(value >> 24), (uint8_t)(value >> 16), (uint8_t)(value >> 8), (uint8_t)value};
    put(bytes, big, sizeof big);
}

/* A greeting with these six lists. */
static struct bytes greet(const char *banner, const char *const lists[KEXINIT_CLASSES])
{
    struct bytes payload = {.length = 17}, all = {.length = 0};
    payload.data[0] = 20;
    for (int i = 0; i < 10; i++) {
        const char *list = i < KEXINIT_CLASSES ? lists[i] : "none";
        put_u32(&payload, strlen(list));
        put(&payload, list, strlen(list));
    }
    put(&payload, "\0\0\0\0\0", 5);
    put(&all, banner, strlen(banner));
    put_u32(&all, payload.length + 1 + 7);
    put(&all, "\7", 1);
    put(&all, payload.data, payload.length);
    put(&all, "\0\0\0\0\0\0\0", 7);
    return all;
}

static const char *const offered[KEXINIT_CLASSES] = {"curve25519-sha256,other",
    "ssh-ed25519,rsa-sha2-512", "aes256-ctr,chacha20-poly1305@openssh.com", "aes256-ctr",
    "hmac-sha2-256", "hmac-sha2-256"};

static void parses(void)
{
    struct bytes bytes = greet("Welcome\r\nSSH-2.0-x\r\n", offered);
    struct kexinit kexinit;
    for (size_t cut = 0; cut < bytes.length; cut++) {
        CHECK_INT(kexinit_parse(bytes.data, cut, &kexinit), -EAGAIN);
    }
    CHECK_INT(kexinit_parse(bytes.data, bytes.length, &kexinit), 0);
    CHECK(kexinit_offers(&kexinit, KEXINIT_KEX, "other"));
    CHECK(kexinit_offers(&kexinit, KEXINIT_KEX, "curve25519-sha256"));
    CHECK(!kexinit_offers(&kexinit, KEXINIT_KEX, "curve25519"));
    CHECK(!kexinit_offers(&kexinit, KEXINIT_KEX, ""));
    CHECK(kexinit_offers(&kexinit, KEXINIT_HOST_KEY, "rsa-sha2-512"));
    CHECK(kexinit_offers(&kexinit, KEXINIT_MAC_IN, "hmac-sha2-256"));
}

static void refuses(void)
{
    struct kexinit kexinit;
    struct bytes bytes = greet("SSH-1.5-old\n", offered);
    CHECK_INT(kexinit_parse(bytes.data, bytes.length, &kexinit), -EBADMSG);
    bytes = greet("SSH-1.99-both\n", offered);
    CHECK_INT(kexinit_parse(bytes.data, bytes.length, &kexinit), 0);
    bytes = greet("SSH-2.0-x\n", offered);
    bytes.data[10 + 5] = 1; /* a disconnect */
    CHECK_INT(kexinit_parse(bytes.data, bytes.length, &kexinit), -EBADMSG);
    bytes = greet("SSH-2.0-x\n", offered);
    bytes.data[10 + 4] = 255; /* more padding than packet */
    CHECK_INT(kexinit_parse(bytes.data, bytes.length, &kexinit), -EBADMSG);
    bytes = greet("SSH-2.0-x\n", offered);
    bytes.data[10] = 1; /* a packet of 16 MB */
    CHECK_INT(kexinit_parse(bytes.data, bytes.length, &kexinit), -EBADMSG);
    bytes = greet("SSH-2.0-x\n", offered);
    bytes.data[10 + 6 + 16 + 1] = 1; /* a list that leaves it */
    CHECK_INT(kexinit_parse(bytes.data, bytes.length, &kexinit), -EBADMSG);
    CHECK_INT(kexinit_parse((const uint8_t *)"", 0, &kexinit), -EAGAIN);
    CHECK_INT(kexinit_parse((const uint8_t *)"HTTP/1.1 400\r\n", 14, &kexinit), -EAGAIN);
}

static int explain(const char *const theirs[KEXINIT_CLASSES], char *out, size_t size)
{
    static const char *const kex[] = {"curve25519-sha256", NULL};
    static const char *const host_key[] = {"ssh-ed25519", "ssh-rsa", NULL};
    static const char *const cipher[] = {"aes256-ctr", "aes256-gcm@openssh.com", NULL};
    static const char *const mac[] = {"hmac-sha2-256", NULL};
    const char *const *const ours[KEXINIT_CLASSES] = {kex, host_key, cipher, cipher, mac, mac};
    struct bytes bytes = greet("SSH-2.0-x\r\n", theirs);
    struct kexinit kexinit;
    out[0] = 0;
    CHECK_INT(kexinit_parse(bytes.data, bytes.length, &kexinit), 0);
    return kexinit_explain(&kexinit, ours, out, size);
}

static void explains(void)
{
    char out[200];
    CHECK_INT(explain(offered, out, sizeof out), -ENOENT);
    const char *lists[KEXINIT_CLASSES];
    memcpy(lists, offered, sizeof lists);
    lists[KEXINIT_HOST_KEY] = "rsa-sha2-512,rsa-sha2-256";
    CHECK_INT(explain(lists, out, sizeof out), KEXINIT_HOST_KEY);
    CHECK_STRING(out, "host key: the server offers rsa-sha2-512,rsa-sha2-256; libssh2 has "
                      "ssh-ed25519,ssh-rsa");
    CHECK_INT(explain(lists, out, 20), KEXINIT_HOST_KEY);
    CHECK_STRING(out, "host key: the serve");
    lists[KEXINIT_KEX] = "";
    CHECK_INT(explain(lists, out, sizeof out), KEXINIT_KEX);
    CHECK_HOLDS(out, "offers none");
    memcpy(lists, offered, sizeof lists);
    lists[KEXINIT_CIPHER_IN] = "\x1b[2J";
    CHECK_INT(explain(lists, out, sizeof out), KEXINIT_CIPHER_IN);
    CHECK_HOLDS(out, "\\x1b[2J");
    /* A cipher that authenticates needs no MAC, in its direction. */
    memcpy(lists, offered, sizeof lists);
    lists[KEXINIT_MAC_OUT] = lists[KEXINIT_MAC_IN] = "umac-64-etm@openssh.com";
    CHECK_INT(explain(lists, out, sizeof out), KEXINIT_MAC_OUT);
    lists[KEXINIT_CIPHER_OUT] = "aes256-gcm@openssh.com";
    CHECK_INT(explain(lists, out, sizeof out), KEXINIT_MAC_IN);
    lists[KEXINIT_CIPHER_IN] = "aes256-gcm@openssh.com";
    CHECK_INT(explain(lists, out, sizeof out), -ENOENT);
}

int main(void)
{
    parses();
    refuses();
    explains();
    return check_result();
}
