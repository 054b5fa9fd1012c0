/* Name resolution and TCP for the first server on the way. Called by login_run. */
#include "daemon/tunnel/connect.h"

#include <errno.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include "common/clock.h"
#include "common/text.h"
#include "daemon/tunnel/thread.h"

enum { TRY_MS = 700, LONG_TRY_MS = 3000, LONG_TRY_EVERY = 4 };

/* A question to the resolver, which has bounds of its own that nobody can shorten: it is asked
 * on a thread that may be left behind. Who is second frees it. */
struct question {
    pthread_mutex_t lock;
    char host[256], port[8];
    int done_fd;
    int code;
    struct addrinfo *list;
    bool answered, abandoned;
};

static void free_question(struct question *question)
{
    if (question->list) {
        freeaddrinfo(question->list);
    }
    close(question->done_fd);
    pthread_mutex_destroy(&question->lock);
    free(question);
}

static void *resolve_main(void *argument)
{
    struct question *question = argument;
    const struct addrinfo hints = {.ai_family = AF_UNSPEC, .ai_socktype = SOCK_STREAM};
    struct addrinfo *list = NULL;
    int code = getaddrinfo(question->host, question->port, &hints, &list);
    pthread_mutex_lock(&question->lock);
    question->code = code;
    question->list = code ? NULL : list;
    question->answered = true;
    bool abandoned = question->abandoned;
    uint64_t one = 1;
    (void)!write(question->done_fd, &one, sizeof one);
    pthread_mutex_unlock(&question->lock);
    if (abandoned) {
        free_question(question);
    }
    return NULL;
}

static struct question *ask_resolver(const struct ssh_hop *hop)
{
    struct question *question = calloc(1, sizeof *question);
    if (!question) {
        return NULL;
    }
    snprintf(question->host, sizeof question->host, "%s", hop->host);
    snprintf(question->port, sizeof question->port, "%d", hop->port);
    pthread_mutex_init(&question->lock, NULL);
    question->done_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    pthread_t thread;
    if (question->done_fd < 0 || thread_start(&thread, "resolve", resolve_main, question)) {
        free_question(question);
        return NULL;
    }
    pthread_detach(thread);
    return question;
}

static int fail_resolving(
    struct login *login, const struct ssh_hop *hop, int waited, const struct question *question)
{
    if (waited == -ECANCELED) {
        return login_fail(login, LINK_CAUSE_CANCELLED, "cancelled");
    }
    if (waited) {
        char bound[32];
        duration_format(login->step_ms, bound, sizeof bound);
        return login_fail(login, LINK_CAUSE_NETWORK_DOWN,
            "no answer within %s to the question for the address of %s; is the network up?",
            bound, hop->host);
    }
    const char *hint = question->code == EAI_NONAME
                           ? "; is its HostName in ssh_config right, and the network up?"
                           : "; is the network up?";
    return login_fail(login, LINK_CAUSE_NETWORK_DOWN, "no address found for %s: %s%s",
        hop->host, gai_strerror(question->code), hint);
}

/* The addresses, for freeaddrinfo; NULL: the cause is set. */
static struct addrinfo *resolve(struct login *login, const struct ssh_hop *hop)
{
    struct question *question = ask_resolver(hop);
    if (!question) {
        login_fail(login, LINK_CAUSE_FAILED,
            "cannot ask for the address of %s: no memory or "
            "no thread left",
            hop->host);
        return NULL;
    }
    int waited = patience_wait(&login->patience, question->done_fd, POLLIN);
    pthread_mutex_lock(&question->lock);
    question->abandoned = !question->answered;
    bool abandoned = question->abandoned;
    struct addrinfo *list = question->list;
    if (!list) {
        fail_resolving(login, hop, question->answered ? 0 : waited, question);
    }
    question->list = NULL;
    pthread_mutex_unlock(&question->lock);
    if (!abandoned) {
        free_question(question);
    }
    return list;
}

/* 0 or a negative errno. */
static int connect_address(
    const struct addrinfo *address, const struct patience *patience, int *out)
{
    int fd = socket(address->ai_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0) {
        return -errno;
    }
    int code = connect(fd, address->ai_addr, address->ai_addrlen) ? -errno : 0;
    if (code == -EINPROGRESS) {
        code = patience_wait(patience, fd, POLLOUT);
        int error = 0;
        socklen_t size = sizeof error;
        if (!code && !getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &size)) {
            code = -error;
        }
    }
    if (code) {
        close(fd);
        return code;
    }
    int one = 1;
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    *out = fd;
    return 0;
}

/* A lost SYN is repeated by the kernel later and later. Where nobody watches, the way may have
 * been gone for long: a fresh one goes out every so often, so that the connection is there soon
 * after the network is. Some are given the time of a very long way. */
static int connect_soon(
    const struct addrinfo *address, const struct patience *patience, int *out)
{
    for (int number = 1;; number++) {
        int64_t end = clock_monotonic_ms() + (number % LONG_TRY_EVERY ? TRY_MS : LONG_TRY_MS);
        struct patience try = {patience->cancel_fd, patience->until_ms};
        try.until_ms = end < try.until_ms ? end : try.until_ms;
        int code = connect_address(address, &try, out);
        bool last = try.until_ms == patience->until_ms;
        if (last || (code != -ETIMEDOUT && code != -EHOSTUNREACH)) {
            return code;
        }
        if (code == -EHOSTUNREACH && patience_wait(&try, -1, 0) == -ECANCELED) {
            return -ECANCELED;
        }
    }
}

static int fail_connecting(
    struct login *login, const struct ssh_hop *hop, int code, const char *address)
{
    const char *name = login_hop_name(hop);
    if (code == -ECANCELED) {
        return login_fail(login, LINK_CAUSE_CANCELLED, "cancelled");
    }
    if (code == -ECONNREFUSED) {
        return login_fail(login, LINK_CAUSE_REFUSED,
            "%s refused the connection: nobody listens at %s port %d", name, address,
            hop->port);
    }
    if (code == -ETIMEDOUT) {
        char bound[32];
        duration_format(login->step_ms, bound, sizeof bound);
        return login_fail(login, LINK_CAUSE_NETWORK_DOWN,
            "no answer from %s (%s port %d) within %s; is the network up, or a firewall "
            "between?",
            name, address, hop->port, bound);
    }
    if (code == -ENETUNREACH || code == -EHOSTUNREACH || code == -ENETDOWN) {
        return login_fail(login, LINK_CAUSE_NETWORK_DOWN,
            "no route to %s (%s); is the network or the VPN up?", name, address);
    }
    return login_fail(login, LINK_CAUSE_NETWORK_DOWN, "cannot connect to %s (%s port %d): %s",
        name, address, hop->port, strerror(-code));
}

/* What says most about why none of the addresses would do. */
static int worse(int old, int code)
{
    bool says_little = !old || old == -ENETUNREACH || old == -EAFNOSUPPORT ||
                       (old == -ETIMEDOUT && code == -ECONNREFUSED);
    return says_little ? code : old;
}

int connect_hop(struct login *login, const struct ssh_hop *hop, int *fd)
{
    login_step(login, "looking up %s", hop->host);
    struct addrinfo *list = resolve(login, hop);
    if (!list) {
        return -1;
    }
    int left = 0, code = 0;
    char address[64] = "", told[64] = "";
    for (const struct addrinfo *at = list; at; at = at->ai_next) {
        left++;
    }
    login_restart_step(login);
    int64_t until = login->patience.until_ms;
    for (const struct addrinfo *at = list; at && *fd < 0 && code != -ECANCELED;
         at = at->ai_next, left--) {
        getnameinfo(
            at->ai_addr, at->ai_addrlen, address, sizeof address, NULL, 0, NI_NUMERICHOST);
        login_note(
            login, "connecting to %s (%s port %d)", login_hop_name(hop), address, hop->port);
        int64_t now = clock_monotonic_ms();
        struct patience share = {login->cancel_fd, now + (until - now) / left};
        int got =
            login->unattended ? connect_soon(at, &share, fd) : connect_address(at, &share, fd);
        int before = code;
        code = got == -ECANCELED ? got : got ? worse(code, got) : 0;
        if (code != before) {
            snprintf(told, sizeof told, "%s", address);
        }
    }
    freeaddrinfo(list);
    if (*fd < 0) {
        return fail_connecting(login, hop, code, told);
    }
    snprintf(login->result.address, sizeof login->result.address, "%s", address);
    return 0;
}
