/* The thread's side of what it and the loop tell each other: steps, prompts, answers, and why a
 * login failed. */
#include <errno.h>
#include <poll.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/clock.h"
#include "common/nonce.h"
#include "common/text.h"
#include "daemon/tunnel/login_private.h"

enum { MESSAGES_MOST = 256, FILL = 64 * 1024 };

void answers_finish(struct answers *answers)
{
    for (size_t i = 0; i < answers->count; i++) {
        if (answers->text[i]) {
            explicit_bzero(answers->text[i], strlen(answers->text[i]));
            free(answers->text[i]);
        }
    }
    *answers = (struct answers){0};
}

/* Takes over the message's parts. A loop that is far behind misses words, never a prompt. */
static void post(struct login *login, char *words, struct login_prompt *prompt)
{
    struct login_message *message = calloc(1, sizeof *message);
    pthread_mutex_lock(&login->lock);
    if (message && (words || prompt) && (prompt || login->waiting < MESSAGES_MOST)) {
        *message = (struct login_message){.words = words, .prompt = prompt};
        *login->last = message;
        login->last = &message->next;
        login->waiting++;
        uint64_t one = 1;
        (void)!write(login->wake_fd, &one, sizeof one);
        message = NULL;
        words = NULL;
        prompt = NULL;
    }
    pthread_mutex_unlock(&login->lock);
    free(message);
    free(words);
    free(prompt);
}

static void post_words(struct login *login, const char *format, va_list args)
{
    char *words = NULL;
    if (vasprintf(&words, format, args) >= 0) {
        post(login, words, NULL);
    }
}

void login_step(struct login *login, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    post_words(login, format, args);
    va_end(args);
    login_restart_step(login);
}

void login_note(struct login *login, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    post_words(login, format, args);
    va_end(args);
}

static void wait_at_most(struct login *login, int64_t ms)
{
    login->patience.until_ms = clock_monotonic_ms() + ms;
    atomic_store(&login->until_ms, login->patience.until_ms);
}

void login_restart_step(struct login *login)
{
    login->judged = false;
    wait_at_most(login, login->step_ms);
}

/* A verdict may wait for a human as well, who confirms the login on another device. */
static void await_verdict(struct login *login)
{
    login->judged = true;
    wait_at_most(
        login, login->verdict_ms > login->step_ms ? login->verdict_ms : login->step_ms);
}

/* One block of memory that holds the prompt and its texts. */
static struct login_prompt *copy_prompt(const struct login_prompt *prompt)
{
    const char *texts[PROMPTS_MOST + 2] = {prompt->name, prompt->instruction};
    size_t size = sizeof *prompt;
    for (size_t i = 0; i < prompt->count; i++) {
        texts[i + 2] = prompt->prompts[i].text;
    }
    for (size_t i = 0; i < prompt->count + 2; i++) {
        size += strlen(texts[i]) + 1;
    }
    struct login_prompt *copy = malloc(size);
    if (!copy) {
        return NULL;
    }
    *copy = *prompt;
    char *at = (char *)(copy + 1);
    for (size_t i = 0; i < prompt->count + 2; i++) {
        size_t length = strlen(texts[i]) + 1;
        memcpy(at, texts[i], length);
        texts[i] = at;
        at += length;
    }
    copy->name = texts[0];
    copy->instruction = texts[1];
    for (size_t i = 0; i < copy->count; i++) {
        copy->prompts[i].text = texts[i + 2];
    }
    return copy;
}

static bool take_answers(struct login *login, struct answers *answers)
{
    uint64_t count;
    (void)!read(login->answer_fd, &count, sizeof count);
    pthread_mutex_lock(&login->lock);
    bool answered = login->answered;
    if (answered) {
        *answers = login->answers;
        login->answers = (struct answers){0};
        login->answered = false;
    }
    pthread_mutex_unlock(&login->lock);
    return answered;
}

/* What comes while a human is asked is kept, and what a jump host asks for is answered: signs
 * of life, or it hangs up. 0; -ENOTCONN. */
static int keep_alive(struct transport *watch)
{
    ssize_t got;
    do {
        got = transport_fill(watch, FILL);
    } while (got > 0);
    int code = transport_flush_now(watch);
    return got != -EAGAIN ? -ENOTCONN : code && code != -EAGAIN ? -ENOTCONN : 0;
}

/* For the answers, and for the end of the connection. */
static int wait_for_answers(
    struct login *login, struct transport *watch, struct answers *answers)
{
    int64_t until = clock_monotonic_ms() + login->human_ms;
    for (;;) {
        short events = (short)(POLLIN | (transport_is_behind(watch) ? POLLOUT : 0));
        struct pollfd fds[3] = {{.fd = login->answer_fd, .events = POLLIN},
            {.fd = login->cancel_fd, .events = POLLIN},
            {.fd = transport_fd(watch), .events = events}};
        int64_t left = until - clock_monotonic_ms();
        int n = poll(fds, 3, left < 0 ? 0 : left > 3600000 ? 3600000 : (int)left);
        if (n < 0 && errno != EINTR) {
            return -errno;
        }
        if (fds[1].revents) {
            return -ECANCELED;
        }
        if (n > 0 && fds[0].revents && take_answers(login, answers)) {
            return 0;
        }
        if (n > 0 && fds[2].revents && keep_alive(watch)) {
            return -ENOTCONN;
        }
        if (left <= 0) {
            return -ETIMEDOUT;
        }
    }
}

/* Whose connection ended: what is nested in one ends with it. */
static const struct ssh_hop *find_lost(
    const struct login *login, const struct ssh_hop *hop, const struct transport *transport)
{
    const struct ssh_hop *lost = hop;
    size_t i = 0;
    while (i < login->hop_count && login->hops[i] != hop) {
        i++;
    }
    while (i-- > 0 && (transport = transport_outer(transport))) {
        lost = transport_failure(transport) ? login->hops[i] : lost;
    }
    return lost;
}

/* Nobody may answer any more. */
static void stop_asking(struct login *login)
{
    pthread_mutex_lock(&login->lock);
    login->asked[0] = 0;
    login->answered = false;
    answers_finish(&login->answers);
    pthread_mutex_unlock(&login->lock);
}

int login_ask(struct login *login, const struct ssh_hop *hop, struct transport *watch,
    struct login_prompt *prompt, struct answers *answers)
{
    nonce_make(prompt->id);
    struct login_prompt *copy = copy_prompt(prompt);
    if (!copy) {
        login_fail(login, LINK_CAUSE_FAILED, "out of memory");
        return -ENOMEM;
    }
    pthread_mutex_lock(&login->lock);
    snprintf(login->asked, sizeof login->asked, "%s", prompt->id);
    login->asked_count = prompt->count;
    login->asked_kind = prompt->kind;
    pthread_mutex_unlock(&login->lock);
    transport_flush(watch);
    post(login, NULL, copy);
    int code = wait_for_answers(login, watch, answers);
    const char *name = login_hop_name(hop);
    if (code) {
        stop_asking(login);
    }
    if (code == -ENOTCONN) {
        const struct ssh_hop *lost = find_lost(login, hop, watch);
        login_fail(login, LINK_CAUSE_AUTH_NEEDED,
            "%s closed the connection while %s waited for an answer; run: gearsctl login %s",
            login_hop_name(lost), lost == hop ? "it" : name, login_cluster(login));
    } else if (code == -ETIMEDOUT) {
        char bound[32];
        duration_format(login->human_ms, bound, sizeof bound);
        login_fail(login, LINK_CAUSE_AUTH_NEEDED,
            "nobody answered what %s asks within %s; run: gearsctl login %s", name, bound,
            login_cluster(login));
    } else if (code == -ECANCELED) {
        login_fail(login, LINK_CAUSE_CANCELLED, "cancelled");
    } else if (code) {
        login_fail(login, LINK_CAUSE_FAILED, "cannot wait for an answer: %s", strerror(-code));
    }
    if (!code && prompt->kind == PROMPT_SERVER) {
        await_verdict(login);
    } else {
        login_restart_step(login);
    }
    return code;
}

int login_fail(struct login *login, enum link_tunnel_cause cause, const char *format, ...)
{
    if (login->result.cause == LINK_CAUSE_NONE) {
        va_list args;
        va_start(args, format);
        vsnprintf(login->result.text, sizeof login->result.text, format, args);
        va_end(args);
        login->result.cause = cause;
    }
    return -1;
}

int login_fail_connection(struct login *login, const struct ssh_hop *hop,
    const struct transport *transport, const char *doing)
{
    const char *name = login_hop_name(find_lost(login, hop, transport));
    int code = transport_failure(transport);
    if (code == -ECANCELED) {
        return login_fail(login, LINK_CAUSE_CANCELLED, "cancelled");
    }
    if (*login->goodbye) {
        return login_fail(login, LINK_CAUSE_NETWORK_DOWN,
            "%s ended the connection while %s: %s", name, doing, login->goodbye);
    }
    if (code == -ETIMEDOUT && login->judged) {
        return login_fail(login, LINK_CAUSE_AUTH_FAILED,
            "%s gave no verdict on the answer in time; does it wait for a confirmation on "
            "another device?",
            name);
    }
    if (code == -ETIMEDOUT) {
        char bound[32];
        duration_format(login->step_ms, bound, sizeof bound);
        return login_fail(login, LINK_CAUSE_NETWORK_DOWN,
            "no answer from %s within %s while %s; is the network up?", name, bound, doing);
    }
    if (!code || code == -ENOTCONN || code == -EPIPE) {
        return login_fail(
            login, LINK_CAUSE_NETWORK_DOWN, "%s closed the connection while %s", name, doing);
    }
    return login_fail(login, LINK_CAUSE_NETWORK_DOWN, "connection to %s lost while %s: %s",
        name, doing, strerror(-code));
}

const char *login_hop_name(const struct ssh_hop *hop)
{
    return hop->name && *hop->name ? hop->name : hop->host;
}

const char *login_cluster(const struct login *login)
{
    return login->cluster;
}
