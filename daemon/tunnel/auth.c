/* Chooses the methods of authentication in their order, as long as the server asks for more.
 * Called by login_run, with the host key judged. */
#include "daemon/tunnel/auth_private.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "common/text.h"

static const struct method {
    const char *name;
    bool human;
    enum auth_verdict (*run)(struct auth *auth);
} methods[] = {{"publickey", false, auth_publickey},
    {"keyboard-interactive", true, auth_kbdint}, {"password", true, auth_password}};
enum { METHODS = sizeof methods / sizeof *methods, STAGES_MOST = 100 };

bool auth_takes(const struct auth *auth, const char *method)
{
    size_t length = strlen(method);
    for (const char *at = auth->methods; *at;) {
        size_t n = strcspn(at, ",");
        if (n == length && !memcmp(at, method, n)) {
            return true;
        }
        at += n + (at[n] == ',');
    }
    return false;
}

bool auth_is_over(const struct auth *auth)
{
    return transport_failure(auth->link->transport) || *auth->login->goodbye;
}

bool auth_is_lost(const struct auth *auth)
{
    return auth_is_over(auth) && !*auth->login->goodbye;
}

enum auth_verdict auth_end(struct auth *auth)
{
    struct login *login = auth->login;
    int failure = transport_failure(auth->link->transport);
    unsigned int refused = auth->refused_answers + auth->refused_keys;
    if (!refused || failure == -ECANCELED || failure == -ETIMEDOUT) {
        login_fail_connection(login, auth->hop, auth->link->transport, "logging in");
        return AUTH_ENDED;
    }
    const char *what = !auth->refused_answers ? "key" : auth->refused_keys ? "proof" : "answer";
    login_fail(login, LINK_CAUSE_AUTH_FAILED, "%s ended the login after refusing %u %s%s%s%s%s",
        auth->name, refused, what, refused == 1 ? "" : "s", *login->goodbye ? ": " : "",
        login->goodbye,
        auth->refused_answers ? "" : "; IdentitiesOnly yes in ssh_config offers fewer");
    return AUTH_ENDED;
}

enum auth_verdict auth_list(struct auth *auth)
{
    char *list;
    do {
        list = libssh2_userauth_list(auth->session, auth->user, auth->user_length);
    } while (!list && libssh2_session_last_errno(auth->session) == LIBSSH2_ERROR_EAGAIN);
    if (list) {
        transport_mind(auth->link->transport, list); /* libssh2 forgets all but the last */
        visible_format(list, strlen(list), auth->methods, sizeof auth->methods);
        return AUTH_CHANGED;
    }
    return libssh2_userauth_authenticated(auth->session) ? AUTH_DONE : auth_end(auth);
}

int auth_ask(
    struct auth *auth, enum prompt_kind kind, const char *text, struct answers *answers)
{
    struct login_prompt prompt = {.kind = kind, .name = "", .instruction = "", .count = 1};
    prompt.prompts[0].text = text;
    return login_ask(auth->login, auth->hop, auth->link->transport, &prompt, answers);
}

/* The next method, NULL when there is none. */
static const struct method *choose(const struct auth *auth, unsigned int spent)
{
    for (size_t i = 0; i < METHODS; i++) {
        if (!(spent & 1U << i) && auth_takes(auth, methods[i].name)) {
            return &methods[i];
        }
    }
    return NULL;
}

static int fail_needed(struct auth *auth, const char *what)
{
    return login_fail(auth->login, LINK_CAUSE_AUTH_NEEDED,
        "%s needs a human to log in (%s); run: gearsctl login %s", auth->name, what,
        login_cluster(auth->login));
}

static int fail_spent(struct auth *auth, unsigned int spent)
{
    struct login *login = auth->login;
    const char *last = login_cluster(login);
    if (login->unattended && *auth->locked) {
        char what[340];
        snprintf(what, sizeof what, "the passphrase of %s", auth->locked);
        return fail_needed(auth, what);
    }
    if (!spent) {
        return login_fail(login, LINK_CAUSE_AUTH_FAILED,
            "%s lets %s in only by %s, which libssh2 cannot do; set transport = openssh in "
            "[cluster:%s]",
            auth->name, auth->user, *auth->methods ? auth->methods : "no method at all", last);
    }
    if (!auth->tried_count && !auth->refused_answers) {
        return login_fail(login, LINK_CAUSE_AUTH_FAILED,
            "%s takes %s for %s, but there is no key to offer: none in the agent, and no "
            "usable "
            "IdentityFile",
            auth->name, auth->methods, auth->user);
    }
    return login_fail(login, LINK_CAUSE_AUTH_FAILED,
        "%s refused %s: it takes %s, and none of the %s was accepted", auth->name, auth->user,
        auth->methods, auth->refused_answers ? "answers" : "keys");
}

static int succeed(struct auth *auth, const char *method)
{
    struct login_result *result = &auth->login->result;
    snprintf(result->method, sizeof result->method, "%s", method);
    login_note(auth->login, "logged in to %s as %s (%s)", auth->name, auth->user, method);
    return 0;
}

static int run_methods(struct auth *auth)
{
    unsigned int spent = 0;
    enum auth_verdict verdict = auth_list(auth);
    if (verdict == AUTH_DONE) {
        return succeed(auth, "none");
    }
    for (int stage = 0; verdict != AUTH_ENDED && stage < STAGES_MOST; stage++) {
        const struct method *method = choose(auth, spent);
        if (!method) {
            return fail_spent(auth, spent);
        }
        if (method->human && auth->login->unattended) {
            return fail_needed(auth, method->name);
        }
        login_step(
            auth->login, "logging in to %s as %s: %s", auth->name, auth->user, method->name);
        verdict = method->run(auth);
        if (verdict == AUTH_DONE) {
            return succeed(auth, method->name);
        }
        if (verdict == AUTH_SPENT) {
            spent |= 1U << (method - methods);
        }
    }
    return login_fail(
        auth->login, LINK_CAUSE_AUTH_FAILED, "%s asks without an end", auth->name);
}

int auth_run(struct login *login, const struct ssh_hop *hop, struct ssh_link *link)
{
    struct auth auth = {.login = login,
        .hop = hop,
        .link = link,
        .session = link->session,
        .name = login_hop_name(hop),
        .user = hop->user,
        .user_length = (unsigned int)strlen(hop->user)};
    login_step(login, "asking %s how %s may log in", auth.name, hop->user);
    login->auth = &auth;
    int code = run_methods(&auth);
    login->auth = NULL;
    return code;
}
