/* Logging in: from nothing to an authenticated session, on a short-lived thread so that the
 * loop never waits for DNS, a key file or libssh2's synchronous prompts. The thread owns
 * everything until it is done; what it says reaches the loop through calls made there. */
#ifndef TUNNEL_LOGIN_H
#define TUNNEL_LOGIN_H

#include <event2/event.h>
#include <libssh2.h>

#include "common/error.h"
#include "common/link_messages.h"
#include "common/nonce.h"
#include "common/ssh_hop.h"
#include "daemon/tunnel/transport.h"

enum { PROMPTS_MOST = 16, HOPS_MOST = 8, ANSWER_MOST = 1024 };
/* For the server's verdict on an answer: as long as sshd's LoginGraceTime, because a human may
 * have to confirm it on another device. Of both transports. */
enum { VERDICT_MS = 120000 };

/* An authenticated session and the sessions it is nested in. */
struct ssh_link {
    LIBSSH2_SESSION *session;
    struct transport *transport;
    LIBSSH2_CHANNEL *through; /* the channel of `outer` that carries it; NULL at the bottom */
    struct ssh_link *outer;
};
/* Free all of it at once, without a goodbye that could block. NULL is allowed. */
void ssh_link_destroy(struct ssh_link *link);

/* Whom an answer is for: the server; the key file it opens; ourselves, on a host key. */
enum prompt_kind { PROMPT_SERVER, PROMPT_PASSPHRASE, PROMPT_HOST_KEY };

/* One round of questions. Texts are made visible (common/text.h) but keep their newlines. */
struct login_prompt {
    char id[NONCE_TEXT_SIZE]; /* random: an answer names the round it is for */
    enum prompt_kind kind;
    /* At most 256 and 4096 bytes; a prompt's text 1024. */
    const char *name, *instruction;
    size_t count; /* 0 never reaches a human */
    struct {
        const char *text;
        bool echo;
    } prompts[PROMPTS_MOST];
};

struct login_result {
    struct ssh_link *link;        /* the callee's; NULL: failed */
    enum link_tunnel_cause cause; /* why not */
    char text[512];               /* why not, in words, with what to try */
    bool human;                   /* as login_human */
    char method[32];              /* that the last server took */
    char address[64];             /* of the last server when reached by TCP; "" behind a jump */
    bool thread_left; /* it stands in a call that nobody can end: leave the process by _exit */
};

struct login_request {
    struct ssh_hop *hops[HOPS_MOST]; /* jump hosts first; copied by login_start */
    size_t hop_count;
    const char *cluster; /* what `gearsctl login` and [cluster:…] are told by; copied */
    bool unattended;  /* no prompt: what needs one ends with auth-needed or host-key-unknown */
    int64_t step_ms;  /* bound of each step, but for a human's answer */
    int64_t human_ms; /* bound of a human's answer */
    int64_t verdict_ms; /* bound of the server's verdict on it, if longer than a step's */
};

/* Called on the loop. */
struct login_calls {
    void (*step)(void *context, const char *words); /* "connecting to andes (10.0.0.3:22)" */
    void (*prompt)(
        void *context, const struct login_prompt *prompt);    /* valid inside the call */
    void (*done)(void *context, struct login_result *result); /* once; frees the login */
};

struct login;
/* NULL with words: nothing was begun. */
struct login *login_start(struct event_base *base, const struct login_request *request,
    const struct login_calls *calls, void *context, struct error *err);
/* Answers to the round `id`; copied, the caller wipes its own. 0; -ESTALE: not asked (any
 * more); -EINVAL: another number of answers than of prompts. */
int login_answer(
    struct login *login, const char *id, const char *const answers[], size_t count);
/* Whether an answer was taken to a prompt other than a host key's. Whatever ends the login, a
 * human's PASSCODE may be spent. */
bool login_human(const struct login *login);
/* done follows with LINK_CAUSE_CANCELLED, soon. */
void login_cancel(struct login *login);

#endif
