/* The loop's side of a login: starts the thread, passes on what it says, takes answers and the
 * order to stop. The thread's side is login_mail.c, its work login_run.c. */
#include "daemon/tunnel/login.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "common/clock.h"
#include "daemon/core/timer.h"
#include "daemon/tunnel/login_private.h"
#include "daemon/tunnel/thread.h"

/* A file server that does not answer holds the thread where nothing ends its waiting. Then the
 * loop goes on without it, so long after the step's own bound or the order to stop. */
enum { OVERDUE_MS = 10000, CANCEL_MS = 3000 };

static void free_message(struct login_message *message)
{
    free(message->words);
    free(message->prompt);
    free(message);
}

static void destroy(struct login *login)
{
    while (login->first) {
        struct login_message *next = login->first->next;
        free_message(login->first);
        login->first = next;
    }
    for (size_t i = 0; i < login->hop_count; i++) {
        ssh_hop_destroy(login->hops[i]);
    }
    int fds[] = {login->wake_fd, login->answer_fd, login->cancel_fd};
    for (size_t i = 0; i < sizeof fds / sizeof *fds; i++) {
        if (fds[i] >= 0) {
            close(fds[i]);
        }
    }
    answers_finish(&login->answers);
    pthread_mutex_destroy(&login->lock);
    free(login);
}

static void free_events(struct login *login)
{
    if (login->wake) {
        event_free(login->wake);
    }
    if (login->overdue) {
        event_free(login->overdue);
    }
    login->wake = login->overdue = NULL;
}

static void *thread_main(void *argument)
{
    struct login *login = argument;
    login_run(login);
    pthread_mutex_lock(&login->lock);
    login->thread_gone = true;
    bool alone = login->loop_gone;
    if (!alone) {
        uint64_t one = 1;
        (void)!write(login->wake_fd, &one, sizeof one);
    }
    pthread_mutex_unlock(&login->lock);
    if (alone) { /* nobody wants the result any more */
        ssh_link_destroy(login->result.link);
        destroy(login);
    }
    return NULL;
}

/* A step begins, or an answer is on its way. */
static void expect(struct login *login)
{
    login->begun_ms = clock_monotonic_ms();
    timer_arm(login->overdue, login->step_ms + OVERDUE_MS);
}

static void deliver(struct login *login, struct login_message *message)
{
    if (message->prompt) {
        if (!login->cancelled) {
            event_del(login->overdue); /* a human's time has its own bound */
            login->calls.prompt(login->context, message->prompt);
        }
        return;
    }
    snprintf(login->last_words, sizeof login->last_words, "%s", message->words);
    if (!login->cancelled) {
        expect(login);
    }
    login->calls.step(login->context, message->words);
}

static struct login_message *take_message(struct login *login)
{
    pthread_mutex_lock(&login->lock);
    struct login_message *message = login->first;
    if (message) {
        login->first = message->next;
        login->last = login->first ? login->last : &login->first;
        login->waiting--;
    }
    pthread_mutex_unlock(&login->lock);
    return message;
}

static void finish(struct login *login)
{
    pthread_join(login->thread, NULL); /* it has nothing left to do */
    free_events(login);
    struct login_result *result = &login->result;
    if (login->cancelled && (result->link || result->cause == LINK_CAUSE_NONE)) {
        ssh_link_destroy(result->link); /* the order came as it was done */
        *result = (struct login_result){.cause = LINK_CAUSE_CANCELLED, .text = "cancelled"};
    }
    result->human = login->human;
    login->calls.done(login->context, result);
    destroy(login);
}

static void on_wake(evutil_socket_t fd, short what, void *argument)
{
    (void)what;
    struct login *login = argument;
    uint64_t count;
    (void)!read(fd, &count, sizeof count);
    pthread_mutex_lock(&login->lock);
    bool gone = login->thread_gone;
    pthread_mutex_unlock(&login->lock);
    struct login_message *message;
    while ((message = take_message(login))) {
        deliver(login, message);
        free_message(message);
    }
    if (gone) {
        finish(login);
    }
}

static void on_overdue(evutil_socket_t fd, short what, void *argument)
{
    (void)fd;
    (void)what;
    struct login *login = argument;
    struct login_calls calls = login->calls;
    void *context = login->context;
    int64_t now = clock_monotonic_ms(), at = atomic_load(&login->until_ms) + OVERDUE_MS;
    if (!login->cancelled && now < at) { /* the thread has begun to wait anew */
        timer_arm(login->overdue, at - now);
        return;
    }
    struct login_result result = {.cause = LINK_CAUSE_CANCELLED,
        .text = "cancelled",
        .human = login->human,
        .thread_left = true};
    if (!login->cancelled) {
        result.cause = LINK_CAUSE_FAILED;
        snprintf(result.text, sizeof result.text,
            "%s: no end of it after %lld s; does the file server of your home answer?",
            login->last_words, (long long)(now - login->begun_ms) / 1000);
    }
    uint64_t one = 1;
    (void)!write(login->cancel_fd, &one, sizeof one);
    free_events(login);
    pthread_t thread = login->thread;
    pthread_mutex_lock(&login->lock);
    bool gone = login->thread_gone;
    login->loop_gone = !gone;
    pthread_mutex_unlock(&login->lock); /* from here the login may be gone */
    if (gone) {
        finish(login);
        return;
    }
    pthread_detach(thread);
    calls.done(context, &result);
}

static int copy_hops(
    struct login *login, const struct login_request *request, struct error *err)
{
    for (size_t i = 0; i < request->hop_count; i++) {
        size_t length = 0;
        char *text = ssh_hop_format(request->hops[i], &length);
        int code = text ? ssh_hop_parse(text, length, &login->hops[i], err)
                        : error_errno(err, -ENOMEM, "the description of an SSH server");
        free(text);
        if (code) {
            return code;
        }
        login->hop_count++;
    }
    return 0;
}

static struct login *create(const struct login_request *request, struct error *err)
{
    struct login *login = calloc(1, sizeof *login);
    if (!login) {
        error_errno(err, -ENOMEM, "cannot log in");
        return NULL;
    }
    pthread_mutex_init(&login->lock, NULL);
    login->last = &login->first;
    login->unattended = request->unattended;
    snprintf(login->cluster, sizeof login->cluster, "%s", request->cluster);
    login->step_ms = request->step_ms;
    login->human_ms = request->human_ms;
    login->verdict_ms = request->verdict_ms;
    login->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    login->answer_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    login->cancel_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    login->patience.cancel_fd = login->cancel_fd;
    int code = 0;
    if (login->wake_fd < 0 || login->answer_fd < 0 || login->cancel_fd < 0) {
        code = error_errno(err, -errno, "cannot log in");
    }
    if (code || copy_hops(login, request, err)) {
        destroy(login);
        return NULL;
    }
    return login;
}

static void init_library(void)
{
    libssh2_init(0);
}

struct login *login_start(struct event_base *base, const struct login_request *request,
    const struct login_calls *calls, void *context, struct error *err)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    pthread_once(&once, init_library);
    if (!request->hop_count || request->hop_count > HOPS_MOST) {
        error_set(err, -EINVAL, "cannot log in: %zu servers on the way, 1 to %d are possible",
            request->hop_count, HOPS_MOST);
        return NULL;
    }
    struct login *login = create(request, err);
    if (!login) {
        return NULL;
    }
    login->calls = *calls;
    login->context = context;
    login->wake = event_new(base, login->wake_fd, EV_READ | EV_PERSIST, on_wake, login);
    login->overdue = event_new(base, -1, 0, on_overdue, login);
    int code = login->wake && login->overdue && !event_add(login->wake, NULL) ? 0 : -ENOMEM;
    code = code ? code : thread_start(&login->thread, "login", thread_main, login);
    if (code) {
        error_errno(err, code, "cannot start the login's thread");
        free_events(login);
        destroy(login);
        return NULL;
    }
    expect(login);
    return login;
}

static int copy_answers(struct answers *out, const char *const answers[], size_t count)
{
    for (size_t i = 0; i < count; i++) {
        if (strlen(answers[i]) > ANSWER_MOST) {
            return -E2BIG;
        }
    }
    for (size_t i = 0; i < count; i++) {
        out->text[i] = strdup(answers[i]);
        out->count = i + 1;
        if (!out->text[i]) {
            answers_finish(out);
            return -ENOMEM;
        }
    }
    return 0;
}

int login_answer(struct login *login, const char *id, const char *const answers[], size_t count)
{
    pthread_mutex_lock(&login->lock);
    int code = !*login->asked || strcmp(login->asked, id) != 0 ? -ESTALE
               : count != login->asked_count                   ? -EINVAL
                                                               : 0;
    code = code ? code : copy_answers(&login->answers, answers, count);
    if (!code) {
        login->asked[0] = 0;
        login->answered = true;
        login->human = login->human || login->asked_kind != PROMPT_HOST_KEY;
        uint64_t one = 1;
        (void)!write(login->answer_fd, &one, sizeof one);
    }
    pthread_mutex_unlock(&login->lock);
    if (!code) {
        expect(login);
    }
    return code;
}

bool login_human(const struct login *login)
{
    return login->human;
}

void login_cancel(struct login *login)
{
    uint64_t one = 1;
    if (!login->cancelled) {
        login->cancelled = true;
        (void)!write(login->cancel_fd, &one, sizeof one);
        timer_arm(login->overdue, CANCEL_MS);
    }
}
