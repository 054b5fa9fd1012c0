/* From a connection to an encrypted session. For login_run, before the host key is judged. */
#include "daemon/tunnel/handshake.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "common/text.h"
#include "daemon/tunnel/kexinit.h"

static LIBSSH2_DISCONNECT_FUNC(on_disconnect)
{
    (void)session;
    (void)reason;
    (void)language;
    (void)language_len;
    struct login *login = transport_context(*abstract);
    if (login && message && message_len > 0) {
        visible_format(message, (size_t)message_len, login->goodbye, sizeof login->goodbye);
    }
}

static void set_disconnect(LIBSSH2_SESSION *session)
{
#if LIBSSH2_VERSION_NUM >= 0x010b01
    libssh2_session_callback_set2(
        session, LIBSSH2_CALLBACK_DISCONNECT, (libssh2_cb_generic *)on_disconnect);
#else
    libssh2_session_callback_set(session, LIBSSH2_CALLBACK_DISCONNECT, (void *)on_disconnect);
#endif
}

/* Compare what the server said it offers with what libssh2 has. Words go to `out`. */
static bool lacks_common(struct ssh_link *link, char *out, size_t size)
{
    static const int methods[KEXINIT_CLASSES] = {LIBSSH2_METHOD_KEX, LIBSSH2_METHOD_HOSTKEY,
        LIBSSH2_METHOD_CRYPT_CS, LIBSSH2_METHOD_CRYPT_SC, LIBSSH2_METHOD_MAC_CS,
        LIBSSH2_METHOD_MAC_SC};
    /* libssh2's lists have a count and no end. */
    enum { NAMES_MOST = 64 };
    const char *lists[KEXINIT_CLASSES][NAMES_MOST + 1] = {0};
    const char *const *ours[KEXINIT_CLASSES] = {0};
    const char **given[KEXINIT_CLASSES] = {0};
    struct kexinit kexinit;
    size_t length;
    const uint8_t *bytes = transport_first_bytes(link->transport, &length);
    if (kexinit_parse(bytes, length, &kexinit)) {
        return false;
    }
    for (int i = 0; i < KEXINIT_CLASSES; i++) {
        int count = libssh2_session_supported_algs(link->session, methods[i], &given[i]);
        for (int n = 0; n < count && n < NAMES_MOST; n++) {
            lists[i][n] = given[i][n];
        }
        ours[i] = count > 0 ? lists[i] : NULL;
    }
    int class = kexinit_explain(&kexinit, ours, out, size);
    for (int i = 0; i < KEXINIT_CLASSES; i++) {
        if (ours[i]) {
            libssh2_free(link->session, (void *)given[i]);
        }
    }
    return class >= 0;
}

static bool begins_like_ssh(const struct ssh_link *link, size_t *length)
{
    const uint8_t *bytes = transport_first_bytes(link->transport, length);
    return memmem(bytes, *length, "SSH-", 4) != NULL;
}

static int fail(
    struct login *login, const struct ssh_hop *hop, struct ssh_link *link, const char *detail)
{
    const char *name = login_hop_name(hop);
    char words[320];
    size_t length = 0;
    bool ssh = begins_like_ssh(link, &length);
    int failure = transport_failure(link->transport);
    if (failure == -ECANCELED || (failure == -ETIMEDOUT && !length)) {
        return login_fail_connection(login, hop, link->transport, "waiting for its greeting");
    }
    if (!length) {
        return login_fail(login, LINK_CAUSE_REFUSED,
            "%s took the connection and closed it without a word: too many logins at once, or "
            "this host is blocked there",
            name);
    }
    if (!ssh) {
        visible_format((const char *)transport_first_bytes(link->transport, &length),
            length < 60 ? length : 60, words, sizeof words);
        return login_fail(login, LINK_CAUSE_FAILED,
            "what answers at %s port %d is no SSH server; it says \"%s\"", hop->host, hop->port,
            words);
    }
    if (lacks_common(link, words, sizeof words)) {
        return login_fail(login, LINK_CAUSE_NO_COMMON_ALGORITHM,
            "%s and libssh2 %s have no %s; set transport = openssh in [cluster:%s]", name,
            libssh2_version(0), words, login_cluster(login));
    }
    if (failure || *login->goodbye) {
        return login_fail_connection(login, hop, link->transport, "agreeing on keys");
    }
    return login_fail(login, LINK_CAUSE_FAILED,
        "%s and libssh2 %s could not agree on keys: %s; try transport = openssh in "
        "[cluster:%s]",
        name, libssh2_version(0), detail, login_cluster(login));
}

/* Only names that libssh2 has: 1.10 copies over itself when it drops others. */
static void prefer_host_keys(LIBSSH2_SESSION *session, const char *order)
{
    const char **names = NULL;
    struct text list = {0};
    int count = libssh2_session_supported_algs(session, LIBSSH2_METHOD_HOSTKEY, &names);
    while (*order) {
        size_t length = strcspn(order, ",");
        for (int i = 0; i < count; i++) {
            if (strlen(names[i]) == length && !memcmp(names[i], order, length)) {
                text_printf(&list, "%s%s", list.length ? "," : "", names[i]);
            }
        }
        order += length + (order[length] == ',');
    }
    if (list.length && !list.failed) {
        libssh2_session_method_pref(session, LIBSSH2_METHOD_HOSTKEY, text_string(&list));
    }
    text_finish(&list);
    if (count > 0) {
        libssh2_free(session, (void *)names);
    }
}

int handshake_run(struct login *login, const struct ssh_hop *hop, struct ssh_link *link,
    const char *host_keys)
{
    login_step(login, "greeting %s", login_hop_name(hop));
    transport_set_patience(link->transport, &login->patience);
    transport_set_context(link->transport, login);
    login->goodbye[0] = 0;
    link->session = transport_begin_session(link->transport);
    if (!link->session) {
        return login_fail(login, LINK_CAUSE_FAILED, "out of memory");
    }
    set_disconnect(link->session);
    prefer_host_keys(link->session, host_keys);
    int code;
    do {
        code = libssh2_session_handshake(link->session, transport_fd(link->transport));
    } while (code == LIBSSH2_ERROR_EAGAIN);
    if (code) {
        char *detail = NULL;
        libssh2_session_last_error(link->session, &detail, NULL, 0);
        return fail(login, hop, link, detail ? detail : "no reason given");
    }
    return 0;
}
