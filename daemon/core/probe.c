/* An HTTP/1.0 request small enough for one buffer, over a non-blocking socket. */
#include "daemon/core/probe.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "common/clock.h"
#include "common/text.h"
#include "common/unixsock.h"
#include "daemon/core/http_answer.h"
#include "daemon/core/timer.h"

/* Who keeps the connection open behind a whole head is judged by that after REST_MS: a stream
 * of events has no end, and closing at once would make others complain of a broken pipe. */
enum { ANSWER_LIMIT = 65536, REST_MS = 1000 };

struct probe {
    int fd;
    struct event *event;
    struct event_base *base;
    int64_t until_ms; /* of the whole, however it drips */
    probe_done *done;
    void *context;
    struct text request, answer;
    size_t sent;
    bool http, head; /* head: the answer's is whole */
};

static void release(struct probe *probe)
{
    if (probe->event) {
        event_free(probe->event);
    }
    if (probe->fd >= 0) {
        close(probe->fd);
    }
    if (probe->request.data) {
        explicit_bzero(probe->request.data, probe->request.capacity); /* it holds the token */
    }
    text_finish(&probe->request);
    text_finish(&probe->answer);
    free(probe);
}

static void finish(struct probe *probe, bool ok, const char *layer, const char *message)
{
    struct probe_result result = {.ok = ok, .layer = layer, .message = message};
    struct http_answer answer;
    if (probe->head &&
        !http_answer_parse(text_string(&probe->answer), probe->answer.length, &answer)) {
        result.status = answer.status;
        result.body = text_string(&probe->answer) + answer.body;
    }
    probe_done *done = probe->done;
    void *context = probe->context;
    done(context, &result);
    release(probe);
}

/* By what came. `without`: why there is no more, when not even the head is whole. */
static void finish_http(struct probe *probe, const char *without)
{
    struct http_answer answer = {0};
    char words[80];
    if (probe->head) {
        http_answer_parse(text_string(&probe->answer), probe->answer.length, &answer);
    }
    snprintf(words, sizeof words, "answered HTTP %d", answer.status);
    finish(probe, probe->head && answer.status < 500, "http",
        !probe->head           ? without
        : answer.status >= 500 ? words
                               : NULL);
}

static void arm(struct probe *probe, short what, event_callback_fn call)
{
    if (probe->event) {
        event_free(probe->event);
    }
    probe->event = event_new(probe->base, probe->fd, what, call, probe);
    if (probe->event) {
        timer_arm(probe->event, probe->until_ms - clock_monotonic_ms());
    }
}

/* Whether all of the answer is there. */
static bool look_at_answer(struct probe *probe)
{
    struct http_answer answer;
    if (http_answer_parse(text_string(&probe->answer), probe->answer.length, &answer)) {
        return false;
    }
    int64_t until_ms = clock_monotonic_ms() + REST_MS;
    if (!probe->head && until_ms < probe->until_ms) {
        probe->until_ms = until_ms;
    }
    probe->head = true;
    return http_answer_is_whole(&answer, probe->answer.length);
}

static void on_readable(evutil_socket_t fd, short what, void *argument)
{
    struct probe *probe = argument;
    char buffer[4096];
    if ((what & EV_TIMEOUT) || clock_monotonic_ms() >= probe->until_ms) {
        finish_http(probe, "accepts connections but did not answer in time");
        return;
    }
    ssize_t n = read((int)fd, buffer, sizeof buffer);
    bool more = n < 0 && (errno == EAGAIN || errno == EINTR);
    if (n > 0 && probe->answer.length + (size_t)n < ANSWER_LIMIT) {
        text_append(&probe->answer, buffer, (size_t)n);
        more = !look_at_answer(probe);
    }
    if (more) {
        arm(probe, EV_READ, on_readable);
    } else {
        finish_http(probe, "closed the connection without an HTTP answer");
    }
}

static void on_writable(evutil_socket_t fd, short what, void *argument)
{
    struct probe *probe = argument;
    int failure = 0;
    socklen_t length = sizeof failure;
    getsockopt((int)fd, SOL_SOCKET, SO_ERROR, &failure, &length);
    if (failure || (what & EV_TIMEOUT)) {
        finish(probe, false, "socket", failure ? strerror(failure) : "did not accept in time");
        return;
    }
    if (!probe->http) {
        finish(probe, true, "socket", NULL);
        return;
    }
    ssize_t n = send((int)fd, probe->request.data + probe->sent,
        probe->request.length - probe->sent, MSG_NOSIGNAL);
    probe->sent += n > 0 ? (size_t)n : 0;
    if (n < 0 && errno != EAGAIN && errno != EINTR) {
        finish(probe, false, "http", strerror(errno));
    } else if (probe->sent < probe->request.length) {
        arm(probe, EV_WRITE, on_writable);
    } else {
        arm(probe, EV_READ, on_readable);
    }
}

static int connect_target(const struct probe_target *target)
{
    if (target->socket) {
        return unix_connect(target->socket, SOCK_STREAM, true, NULL);
    }
    struct sockaddr_in address = {.sin_family = AF_INET,
        .sin_port = htons(target->port),
        .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd >= 0 && connect(fd, (struct sockaddr *)&address, sizeof address) &&
        errno != EINPROGRESS) {
        int code = -errno;
        close(fd);
        return code;
    }
    return fd < 0 ? -errno : fd;
}

static void on_refused(evutil_socket_t fd, short what, void *argument)
{
    (void)fd;
    (void)what;
    struct probe *probe = argument;
    finish(probe, false, "socket", strerror((int)probe->sent));
}

struct probe *probe_start(struct event_base *base, const struct probe_target *target,
    int64_t deadline_ms, probe_done *done, void *context)
{
    struct probe *probe = calloc(1, sizeof *probe);
    if (!probe) {
        return NULL;
    }
    *probe = (struct probe){.base = base, .done = done, .context = context};
    probe->until_ms = clock_monotonic_ms() + deadline_ms;
    probe->fd = connect_target(target);
    if (probe->fd < 0) { /* report from the loop, never from inside this call */
        probe->sent = (size_t)-probe->fd;
        timer_start(&probe->event, base, 0, on_refused, probe);
        return probe;
    }
    if (target->method) {
        probe->http = true;
        text_printf(&probe->request,
            "%s %s HTTP/1.0\r\nHost: localhost\r\nAccept: */*\r\n"
            "Connection: close\r\n",
            target->method, target->path);
        if (target->token) {
            text_printf(&probe->request, "Authorization: token %s\r\n", target->token);
        }
        text_printf(&probe->request, "Content-Length: 0\r\n\r\n");
    }
    arm(probe, EV_WRITE, on_writable);
    return probe;
}

void probe_cancel(struct probe *probe)
{
    if (probe) {
        release(probe);
    }
}
