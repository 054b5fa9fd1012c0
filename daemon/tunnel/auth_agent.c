/* Logging in by the keys of the user's agent, the one the hop names and no other. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "daemon/tunnel/agent.h"
#include "daemon/tunnel/auth_private.h"
#include "daemon/tunnel/prompt.h"
#include "daemon/tunnel/wire.h"

/* What the signing callback needs. */
struct signing {
    struct auth *auth;
    int fd;
    const uint8_t *blob;
    size_t length;
    int code;
};

/* The algorithm that libssh2 will name beside the signature stands in what is signed: session,
 * 50, user, service, "publickey", true, algorithm. */
static uint32_t rsa_flags(const uint8_t *data, size_t length)
{
    struct wire wire = {data, length, false};
    size_t n;
    wire_string(&wire, &n);
    wire_byte(&wire);
    for (int i = 0; i < 3; i++) {
        wire_string(&wire, &n);
    }
    wire_byte(&wire);
    const uint8_t *name = wire_string(&wire, &n);
    return !name || n != 12                    ? 0
           : !memcmp(name, "rsa-sha2-512", 12) ? AGENT_RSA_SHA2_512
           : !memcmp(name, "rsa-sha2-256", 12) ? AGENT_RSA_SHA2_256
                                               : 0;
}

static LIBSSH2_USERAUTH_PUBLICKEY_SIGN_FUNC(on_sign)
{
    (void)session;
    struct signing *signing = *abstract;
    struct auth *auth = signing->auth;
    uint8_t *signature = NULL;
    signing->code = agent_sign(signing->fd, &auth->login->patience, signing->blob,
        signing->length, data, data_len, rsa_flags(data, data_len), &signature, sig_len);
    if (signing->code) {
        return -1;
    }
    *sig = transport_allocate(auth->link->transport, *sig_len);
    if (*sig) {
        memcpy(*sig, signature, *sig_len);
    }
    free(signature);
    return *sig ? 0 : -1;
}

static enum auth_verdict try_key(
    struct auth *auth, int fd, const char *what, const uint8_t *blob, size_t length)
{
    struct signing signing = {auth, fd, blob, length, 0};
    void *context = &signing;
    int code;
    login_step(auth->login, "offering %s to %s", what, auth->name);
    do {
        code = libssh2_userauth_publickey(
            auth->session, auth->user, blob, length, on_sign, &context);
    } while (code == LIBSSH2_ERROR_EAGAIN);
    if (!signing.code || auth_is_over(auth)) {
        return auth_judge_key(auth, what, code);
    }
    if (signing.code == -ECANCELED) {
        login_fail(auth->login, LINK_CAUSE_CANCELLED, "cancelled");
        return AUTH_ENDED;
    }
    login_note(auth->login, "the agent did not sign with %s: %s", what,
        signing.code == -EACCES ? "it refused" : strerror(-signing.code));
    return AUTH_SPENT;
}

static bool is_wanted(const struct auth_wanted *wanted, const uint8_t *blob, size_t length)
{
    for (size_t i = 0; i < wanted->count; i++) {
        if (wanted->keys[i].length == length && !memcmp(wanted->keys[i].blob, blob, length)) {
            return true;
        }
    }
    return false;
}

/* The keys that are wanted, or the others. */
static enum auth_verdict try_keys(struct auth *auth, int fd, const struct agent_keys *all,
    const struct auth_wanted *wanted, bool want)
{
    struct agent_keys keys = *all;
    const uint8_t *blob;
    const char *comment;
    size_t length, comment_length;
    enum auth_verdict verdict = AUTH_SPENT;
    while (
        verdict == AUTH_SPENT && agent_next(&keys, &blob, &length, &comment, &comment_length)) {
        char what[200];
        char *name = prompt_line(comment, comment_length, 128);
        snprintf(what, sizeof what, "the agent's key %s", name && *name ? name : "(unnamed)");
        free(name);
        if (is_wanted(wanted, blob, length) == want &&
            auth_key_is_new(auth, what, blob, length)) {
            verdict = try_key(auth, fd, what, blob, length);
        }
    }
    return verdict;
}

enum auth_verdict auth_agent(struct auth *auth, const struct auth_wanted *wanted)
{
    struct agent_keys keys = {0};
    const char *path = auth->hop->agent;
    if (!path || !*path) {
        return AUTH_SPENT;
    }
    int fd = agent_connect(path);
    int code = fd < 0 ? fd : agent_list(fd, &auth->login->patience, &keys);
    enum auth_verdict verdict = AUTH_SPENT;
    if (code == -ECANCELED) {
        login_fail(auth->login, LINK_CAUSE_CANCELLED, "cancelled");
        verdict = AUTH_ENDED;
    } else if (code) {
        login_note(auth->login, "the agent at %s does not answer: %s", path, strerror(-code));
    } else {
        verdict = try_keys(auth, fd, &keys, wanted, true);
        if (verdict == AUTH_SPENT && !auth->hop->identities_only) {
            verdict = try_keys(auth, fd, &keys, wanted, false);
        }
    }
    agent_finish(&keys);
    if (fd >= 0) {
        close(fd);
    }
    return verdict;
}
