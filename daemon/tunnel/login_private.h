/* What the files of the login share: the thread's steps talk to the loop through this. */
#ifndef TUNNEL_LOGIN_PRIVATE_H
#define TUNNEL_LOGIN_PRIVATE_H

#include <pthread.h>
#include <stdatomic.h>

#include "common/text.h"
#include "daemon/tunnel/login.h"

/* Answers of a human: wiped when finished. */
struct answers {
    size_t count;
    char *text[PROMPTS_MOST];
};
void answers_finish(struct answers *answers);

/* From the thread to the loop: words of a step, or a prompt. */
struct login_message {
    struct login_message *next;
    char *words;
    struct login_prompt *prompt; /* one block of memory with its texts */
};

struct auth;

struct login {
    /* Set at the start, then only read. */
    struct ssh_hop *hops[HOPS_MOST];
    size_t hop_count;
    char cluster[NAME_TEXT_SIZE];
    bool unattended;
    int64_t step_ms, human_ms, verdict_ms;
    int wake_fd;   /* the loop has something to read */
    int answer_fd; /* the thread has */
    int cancel_fd; /* readable for good once cancelled */

    /* The loop's. */
    struct login_calls calls;
    void *context;
    struct event *wake, *overdue;
    pthread_t thread;
    bool cancelled, human;
    char last_words[256];
    int64_t begun_ms; /* what `overdue` waits for */

    /* Under the lock. */
    pthread_mutex_t lock;
    struct login_message *first, **last;
    size_t waiting;
    char asked[NONCE_TEXT_SIZE]; /* id of the round that waits for answers, "" when none */
    size_t asked_count;
    enum prompt_kind asked_kind;
    struct answers answers;
    bool answered;
    bool thread_gone, loop_gone; /* who is second frees all */

    _Atomic int64_t until_ms; /* when the thread's patience ends, for the loop */

    /* The thread's; the loop's when thread_gone. */
    struct patience patience;
    bool judged; /* the server is to say what it thinks of an answer */
    struct login_result result;
    struct auth *auth; /* for libssh2's callbacks */
    char goodbye[200]; /* what the server said when it disconnected */
};

/* All below is called on the thread. */

/* Begin a step: its words for the loop, its time. */
void login_step(struct login *login, const char *format, ...)
    __attribute__((format(printf, 2, 3)));
/* More words within a step. */
void login_note(struct login *login, const char *format, ...)
    __attribute__((format(printf, 2, 3)));
/* The current step has its whole time again, because a human took some. */
void login_restart_step(struct login *login);

/* Ask and wait for the answers, which the caller finishes; `watch` is the connection that may
 * close meanwhile. The prompt's id is set here. 0; -ECANCELED; -ETIMEDOUT: nobody answered;
 * -ENOTCONN: the server closed; -ENOMEM. On failure the cause is set. */
int login_ask(struct login *login, const struct ssh_hop *hop, struct transport *watch,
    struct login_prompt *prompt, struct answers *answers);

/* Record why the login failed, unless that is known already. Returns -1. */
int login_fail(struct login *login, enum link_tunnel_cause cause, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
/* The same for a connection that ended while `doing` ("logging in"), with the cause and the
 * words that fit how it ended. */
int login_fail_connection(struct login *login, const struct ssh_hop *hop,
    const struct transport *transport, const char *doing);

/* What messages call a server, and what `gearsctl login` and [cluster:…] are told by. */
const char *login_hop_name(const struct ssh_hop *hop);
const char *login_cluster(const struct login *login);

/* The thread's whole work: login->result is filled. */
void login_run(struct login *login);

#endif
