/* What the methods of authentication share. */
#ifndef TUNNEL_AUTH_PRIVATE_H
#define TUNNEL_AUTH_PRIVATE_H

#include "daemon/tunnel/auth.h"
#include "daemon/tunnel/sshkey.h"

enum { KEYS_MOST = 64 };

struct auth {
    struct login *login;
    const struct ssh_hop *hop;
    struct ssh_link *link;
    LIBSSH2_SESSION *session;
    const char *name; /* of the server, for words */
    const char *user;
    unsigned int user_length;
    char methods[256];  /* what the server takes now, commas between */
    unsigned int asked; /* rounds of questions to a human in this attempt */
    unsigned int rounds;
    bool refused; /* the last answer, which nobody was told yet */
    unsigned int refused_answers, refused_keys;
    char locked[300]; /* a key that nobody was there to open, "" when none */
    size_t tried_count;
    char tried[KEYS_MOST][SSHKEY_FINGERPRINT_SIZE];
};

enum auth_verdict {
    AUTH_DONE,    /* logged in */
    AUTH_SPENT,   /* this method is of no more use */
    AUTH_CHANGED, /* the server may take others now: `methods` says which */
    AUTH_ENDED    /* the cause is set */
};

enum auth_verdict auth_publickey(struct auth *auth);
enum auth_verdict auth_kbdint(struct auth *auth); /* keyboard-interactive */
enum auth_verdict auth_password(struct auth *auth);

/* Ask what the server takes. AUTH_CHANGED: `methods` says it; AUTH_DONE: none was needed. */
enum auth_verdict auth_list(struct auth *auth);
bool auth_takes(const struct auth *auth, const char *method);
/* The connection is no more: AUTH_ENDED is all that is left, and auth_end sets the cause. */
bool auth_is_over(const struct auth *auth);
/* The same, and the server did not say why: it may not have judged what it was sent last. */
bool auth_is_lost(const struct auth *auth);
enum auth_verdict auth_end(struct auth *auth);

/* One question with its answer, which the caller wipes with answers_finish. As login_ask. */
int auth_ask(
    struct auth *auth, enum prompt_kind kind, const char *text, struct answers *answers);

/* One key file. AUTH_SPENT: go on with the next. */
enum auth_verdict auth_keyfile(struct auth *auth, const char *path);
/* The agent's keys; those that are in `wanted` first, or only those. */
struct auth_wanted {
    size_t count;
    struct {
        uint8_t *blob;
        size_t length;
    } keys[SSH_HOP_LIST];
};
enum auth_verdict auth_agent(struct auth *auth, const struct auth_wanted *wanted);

/* Remember these bytes of a key, or of its path. False: they were there before, or too many
 * are. */
bool auth_is_first(struct auth *auth, const void *bytes, size_t length);
/* Whether libssh2 can use such a key, and it was not tried before; says why not. */
bool auth_key_is_new(struct auth *auth, const char *what, const uint8_t *blob, size_t length);
/* What became of an offered key, by libssh2's code. */
enum auth_verdict auth_judge_key(struct auth *auth, const char *what, int code);

#endif
