/* A probe of programs that answer whole, never end, drip, or say nothing: always told, once,
 * and by what was there. */
#include <sys/socket.h>
#include <unistd.h>

#include "common/clock.h"
#include "common/unixsock.h"
#include "daemon/core/probe.h"
#include "tests/unit/scratch.h"

enum { DEADLINE_MS = 300, DRIP_US = 20000, PATIENCE_MS = 20000 };

/* What a program says to whoever connects. */
struct program {
    const char *says;
    bool closes, drips; /* drips: a byte at a time, from the beginning again at the end */
};

static struct event_base *base;
static const struct program *program;
static char path[PATH_MAX + 8], asked[400];
static int listener, peer;
static size_t dripped;
static struct probe_result told;
static char words[200], body[100];
static int calls;

static void on_done(void *context, const struct probe_result *result)
{
    (void)context;
    told = *result;
    snprintf(words, sizeof words, "%s", result->message ? result->message : "");
    snprintf(body, sizeof body, "%s", result->body ? result->body : "");
    calls++;
    event_base_loopbreak(base);
}

static void on_drip(evutil_socket_t fd, short what, void *argument)
{
    (void)fd;
    (void)what;
    (void)argument;
    (void)!send(peer, program->says + dripped % strlen(program->says), 1, MSG_NOSIGNAL);
    dripped++;
}

static void on_asked(evutil_socket_t fd, short what, void *argument)
{
    (void)what;
    (void)argument;
    ssize_t n = recv((int)fd, asked, sizeof asked - 1, 0);
    asked[n > 0 ? n : 0] = 0;
    if (n > 0 && !program->drips) {
        (void)!send((int)fd, program->says, strlen(program->says), MSG_NOSIGNAL);
    }
    if (n > 0 && program->closes) {
        shutdown((int)fd, SHUT_RDWR);
    }
}

static void on_late(evutil_socket_t fd, short what, void *argument)
{
    (void)fd;
    (void)what;
    (void)argument;
    event_base_loopbreak(base);
}

/* How long it took until the probe was told. */
static int64_t ask(const struct program *one, int64_t deadline_ms)
{
    struct probe_target target = {.socket = path, .method = "GET", .path = "/x"};
    int64_t begin = clock_monotonic_ms();
    program = one;
    dripped = 0;
    calls = 0;
    CHECK(probe_start(base, &target, deadline_ms, on_done, NULL) != NULL);
    peer = unix_accept_same_uid(listener, NULL);
    CHECK(peer >= 0);
    struct event *reads = event_new(base, peer, EV_READ | EV_PERSIST, on_asked, NULL);
    struct event *drips = event_new(base, -1, EV_PERSIST, on_drip, NULL);
    struct event *late = evtimer_new(base, on_late, NULL);
    event_add(reads, NULL);
    if (one->drips) {
        event_add(drips, &(struct timeval){0, DRIP_US});
    }
    event_add(late, &(struct timeval){PATIENCE_MS / 1000, 0});
    event_base_dispatch(base);
    event_free(reads);
    event_free(drips);
    event_free(late);
    close(peer);
    CHECK_INT(calls, 1);
    return clock_monotonic_ms() - begin;
}

static void whole_answers_are_judged_at_once(void)
{
    static const struct program keeps_open = {
        .says = "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello"};
    static const struct program fails = {
        .says = "HTTP/1.1 503 No\r\nContent-Length: 0\r\n\r\n"};
    static const struct program closes = {.says = "HTTP/1.0 404 No\r\n\r\nno", .closes = true};
    ask(&keeps_open, PATIENCE_MS);
    CHECK(told.ok && told.status == 200);
    CHECK_STRING(body, "hello");
    CHECK(strstr(asked, "\r\nConnection: close\r\n") != NULL);
    ask(&fails, PATIENCE_MS);
    CHECK(!told.ok);
    CHECK_STRING(words, "answered HTTP 503");
    ask(&closes, PATIENCE_MS);
    CHECK(told.ok && told.status == 404);
    CHECK_STRING(body, "no");
}

static void who_never_ends_is_judged_by_the_head(void)
{
    static const struct program events = {
        .says = "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\ndata: 1\n\n"};
    static const struct program cut = {
        .says = "HTTP/1.1 200 OK\r\nContent-Length: 500\r\n\r\npart"};
    ask(&events, PATIENCE_MS);
    CHECK(told.ok && told.status == 200);
    ask(&cut, DEADLINE_MS);
    CHECK(told.ok && told.status == 200);
    CHECK_STRING(body, "part");
}

static void the_deadline_is_of_the_whole(void)
{
    static const struct program drips = {.says = "HTTP/1.1 200 OK\r\nA: ", .drips = true};
    static const struct program silent = {.says = ""};
    CHECK(ask(&drips, DEADLINE_MS) < PATIENCE_MS / 2);
    CHECK(!told.ok && !told.status && !told.body);
    CHECK_STRING(words, "accepts connections but did not answer in time");
    CHECK(dripped > 1);
    ask(&silent, DEADLINE_MS);
    CHECK(!told.ok);
}

static void who_is_no_http_server_is_named(void)
{
    static const struct program other = {.says = "220 mail\r\n", .closes = true};
    ask(&other, PATIENCE_MS);
    CHECK(!told.ok && !told.status);
    CHECK_STRING(words, "closed the connection without an HTTP answer");
}

int main(void)
{
    char folder[PATH_MAX];
    struct error err;
    scratch_folder(folder);
    snprintf(path, sizeof path, "%s/p.sck", folder);
    base = event_base_new();
    listener = unix_listen(path, SOCK_STREAM, 8, &err);
    CHECK(base && listener >= 0);
    whole_answers_are_judged_at_once();
    who_never_ends_is_judged_by_the_head();
    the_deadline_is_of_the_whole();
    who_is_no_http_server_is_named();
    event_base_free(base);
    close(listener);
    scratch_remove(folder);
    return check_result();
}
