/* Saying no to clients; for those that come too early, too late, or for what is not there. */
#include "daemon/core/timer.h"
#include "daemon/tunnel/refusal.h"

#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

enum { REFUSALS_MOST = 256, PEEK_MS = 5000, LINGER_MS = 2000 };

struct refusal {
    struct refusals *all;
    struct refusal *next, *previous;
    int fd;
    bool told; /* the client is read to its end, or closing would reset it, page and all */
    struct event *event, *late; /* `late` is the end, however much the client says */
    char *page;
    size_t length;
};

struct refusals {
    struct event_base *base;
    struct refusal *first;
    size_t count;
};

struct refusals *refusals_create(struct event_base *base)
{
    struct refusals *refusals = calloc(1, sizeof *refusals);
    if (refusals) {
        refusals->base = base;
    }
    return refusals;
}

static void finish(struct refusal *refusal)
{
    struct refusals *all = refusal->all;
    *(refusal->previous ? &refusal->previous->next : &all->first) = refusal->next;
    if (refusal->next) {
        refusal->next->previous = refusal->previous;
    }
    all->count--;
    if (refusal->event) {
        event_free(refusal->event);
    }
    if (refusal->late) {
        event_free(refusal->late);
    }
    close(refusal->fd);
    free(refusal->page);
    free(refusal);
}

void refusals_destroy(struct refusals *refusals)
{
    while (refusals && refusals->first) {
        finish(refusals->first);
    }
    free(refusals);
}

static void set_timer(struct refusal *refusal, int64_t ms)
{
    timer_arm(refusal->late, ms);
}

static void read_on(struct refusal *refusal)
{
    char bytes[4096];
    ssize_t n;
    for (int i = 0; i < 64; i++) {
        n = recv(refusal->fd, bytes, sizeof bytes, MSG_DONTWAIT);
        if (n < 0 && (errno == EAGAIN || errno == EINTR)) {
            return;
        }
        if (n <= 0) {
            break;
        }
    }
    finish(refusal); /* ended, or talks without end */
}

/* `http` as page503_is_http says it. */
static void tell(struct refusal *refusal, int http)
{
    if (http == 1) { /* a new client's buffer has room for it */
        (void)!send(refusal->fd, refusal->page, refusal->length, MSG_NOSIGNAL | MSG_DONTWAIT);
    }
    if (http >= 0) {
        shutdown(refusal->fd, SHUT_WR);
        refusal->told = true;
        set_timer(refusal, LINGER_MS);
        read_on(refusal); /* edges come for what is new only */
    }
}

static void peek(struct refusal *refusal)
{
    char bytes[16];
    ssize_t n = recv(refusal->fd, bytes, sizeof bytes, MSG_PEEK | MSG_DONTWAIT);
    if (n == 0 || (n < 0 && errno != EAGAIN && errno != EINTR)) {
        finish(refusal);
        return;
    }
    tell(refusal, n > 0 ? page503_is_http(bytes, (size_t)n) : -1);
}

static void on_client(evutil_socket_t fd, short what, void *argument)
{
    (void)fd;
    (void)what;
    struct refusal *refusal = argument;
    if (!refusal->told) {
        peek(refusal);
    } else {
        read_on(refusal);
    }
}

static void on_late(evutil_socket_t fd, short what, void *argument)
{
    (void)fd;
    (void)what;
    finish(argument);
}

/* NULL: it was closed. */
static struct refusal *create(struct refusals *refusals, int fd, const struct page503 *what)
{
    struct refusal *refusal =
        refusals->count < REFUSALS_MOST ? calloc(1, sizeof *refusal) : NULL;
    if (!refusal) {
        close(fd);
        return NULL;
    }
    *refusal = (struct refusal){.all = refusals, .next = refusals->first, .fd = fd};
    if (refusals->first) {
        refusals->first->previous = refusal;
    }
    refusals->first = refusal;
    refusals->count++;
    refusal->page = page503_make(what, &refusal->length);
    /* By edges: too few bytes to tell would wake the loop again and again. */
    refusal->event =
        event_new(refusals->base, fd, EV_READ | EV_ET | EV_PERSIST, on_client, refusal);
    refusal->late = evtimer_new(refusals->base, on_late, refusal);
    if (!refusal->page || !refusal->event || !refusal->late ||
        event_add(refusal->event, NULL)) {
        finish(refusal);
        return NULL;
    }
    set_timer(refusal, PEEK_MS);
    return refusal;
}

void refusal_start(struct refusals *refusals, int fd, const struct page503 *what)
{
    (void)create(refusals, fd, what);
}

void refusal_heard(struct refusals *refusals, int fd, const struct page503 *what,
    const char *first, size_t length)
{
    struct refusal *refusal = create(refusals, fd, what);
    if (refusal && length) {
        tell(refusal, page503_is_http(first, length) == 1);
    }
}

void refusal_now(int fd, const struct page503 *what)
{
    char bytes[4096];
    size_t length = 0;
    ssize_t n = recv(fd, bytes, sizeof bytes, MSG_DONTWAIT);
    char *page =
        n > 0 && page503_is_http(bytes, (size_t)n) == 1 ? page503_make(what, &length) : NULL;
    if (page) {
        (void)!send(fd, page, length, MSG_NOSIGNAL | MSG_DONTWAIT);
    }
    free(page);
    close(fd);
}
