/* One round of a session: fill from the socket, move the channels' bytes by turns, go on with
 * opens and the command, flush. life.c creates and destroys it. */
#include "daemon/tunnel/session.h"

#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <unistd.h>

#include "common/clock.h"
#include "common/text.h"
#include "daemon/core/timer.h"

enum { EVENTS_PER_ROUND = 64, TURNS = 8 /* of all channels in a round */ };

#ifndef TCP_RTO_MAX_MS
#define TCP_RTO_MAX_MS 44 /* Linux 6.15; elsewhere refused, and then nothing is lost */
#endif

static LIBSSH2_DISCONNECT_FUNC(on_disconnect)
{
    (void)language;
    (void)language_len;
    struct session *current = transport_context(*abstract);
    if (current && current->link->session == session && message && message_len > 0) {
        char words[200];
        visible_format(message, (size_t)message_len, words, sizeof words);
        snprintf(current->why, sizeof current->why, "it said: %s (reason %d)", words, reason);
    }
}

static void hear_disconnect(struct session *session)
{
    LIBSSH2_SESSION *ssh = session->link->session;
    transport_set_context(session->link->transport, session);
#if LIBSSH2_VERSION_NUM >= 0x010b01
    libssh2_session_callback_set2(
        ssh, LIBSSH2_CALLBACK_DISCONNECT, (libssh2_cb_generic *)on_disconnect);
#else
    libssh2_session_callback_set(ssh, LIBSSH2_CALLBACK_DISCONNECT, (void *)on_disconnect);
#endif
}

static void end(struct session *session)
{
    struct tunnel *tunnel = session->tunnel;
    const char *name = tunnel->hops[tunnel->hop_count - 1]->name;
    char text[512];
    if (session->why[0]) {
        snprintf(text, sizeof text, "%s ended the connection; %s", name, session->why);
    } else if (session->lost == 1) {
        snprintf(text, sizeof text, "%s closed the connection", name);
    } else {
        snprintf(text, sizeof text, "the connection to %s is lost: %s", name,
            strerror(-session->lost));
    }
    tunnel_end(tunnel, LINK_CAUSE_NETWORK_DOWN, text);
}

bool session_is_broken(struct session *session, int code)
{
    switch (code) {
    case LIBSSH2_ERROR_SOCKET_SEND:
    case LIBSSH2_ERROR_SOCKET_RECV:
    case LIBSSH2_ERROR_SOCKET_DISCONNECT:
        session->lost = session->lost ? session->lost : 1;
        return true;
    case LIBSSH2_ERROR_INVALID_MAC:
    case LIBSSH2_ERROR_DECRYPT:
    case LIBSSH2_ERROR_ENCRYPT:
    case LIBSSH2_ERROR_PROTO:
    case LIBSSH2_ERROR_OUT_OF_BOUNDARY:
    case LIBSSH2_ERROR_ALLOC:
    case LIBSSH2_ERROR_KEX_FAILURE:
    case LIBSSH2_ERROR_KEY_EXCHANGE_FAILURE:
        if (!session->lost) {
            char words[160];
            session_last_words(session, words, sizeof words);
            snprintf(session->why, sizeof session->why, "libssh2: %s (%d)", words, code);
        }
        session->lost = session->lost ? session->lost : -EPROTO;
        return true;
    default:
        return session->lost != 0;
    }
}

void session_last_words(struct session *session, char *out, size_t size)
{
    char *words = NULL;
    int length = 0;
    libssh2_session_last_error(session->link->session, &words, &length, 0);
    visible_format(words ? words : "", words ? (size_t)length : 0, out, size);
}

bool session_is_full(const struct session *session)
{
    return transport_unsent(session->link->transport) > TRANSPORT_HIGH_WATER;
}

void session_wake(struct session *session)
{
    /* Not event_active: what that adds comes before all the loop has yet to look for. */
    timer_arm(session->again, 0);
}

/* Whether a channel is left that has more to do at once. */
static bool pump_all(struct session *session)
{
    struct channel *channel = session->channels;
    bool more = false;
    for (size_t i = 0, n = session->channel_count; i < n; i++, channel = channel->next) {
        more = channel_pump(channel) || more;
    }
    return more;
}

/* libssh2 reads when some channel is read. When none is, because their clients are blocked or
 * there is none, the server's requests and window adjustments still want to be seen: reading a
 * stream that no such channel has takes nothing from it. */
static void drain(struct session *session)
{
    char byte;
    struct channel *channel = session->channels;
    for (size_t i = 0; i < session->channel_count; i++, channel = channel->next) {
        if (channel->state == CHANNEL_RELAYING) {
            ssize_t n = libssh2_channel_read_ex(channel->ssh, 1, &byte, 1);
            if (n < 0) {
                session_is_broken(session, (int)n);
            }
            return;
        }
    }
    opens_probe(&session->opens);
}

static const struct ssh_link *bottom(const struct session *session)
{
    const struct ssh_link *link = session->link;
    while (link->outer) {
        link = link->outer;
    }
    return link;
}

/* Only what the socket itself has to send waits for it; an outer channel's window does not. */
static void watch_socket(struct session *session)
{
    short wanted = EV_PERSIST;
    if (transport_unread(session->link->transport) < ROUND_BUDGET) {
        wanted |= EV_READ;
    }
    if (transport_unsent(bottom(session)->transport)) {
        wanted |= EV_WRITE;
    }
    if (wanted != session->armed) {
        event_del(session->socket);
        event_assign(session->socket, session->tunnel->base,
            transport_fd(session->link->transport), wanted, event_get_callback(session->socket),
            session);
        if (wanted != EV_PERSIST) {
            event_add(session->socket, NULL);
        }
        session->armed = wanted;
    }
}

static void fill(struct session *session)
{
    struct transport *transport = session->link->transport;
    if (session->lost || transport_unread(transport) >= ROUND_BUDGET) {
        return;
    }
    ssize_t n = transport_fill(transport, ROUND_BUDGET);
    if (n == 0) {
        session->lost = 1;
    } else if (n < 0 && n != -EAGAIN) {
        session->lost = (int)n;
    }
    if (n <= 0) {
        return;
    }
    session->fed = true;
    /* sshd keeps Nagle's rule for connections without a terminal: its next small packet waits
     * for the acknowledgement that our kernel would hold back for 40 ms. */
    setsockopt(transport_fd(transport), IPPROTO_TCP, TCP_QUICKACK, &(int){1}, sizeof(int));
    if (n >= ROUND_BUDGET || session->link->outer) {
        session_wake(session); /* an outer session may hold more than its socket tells */
    }
}

static void heard(struct session *session)
{
    struct channel *channel = session->channels;
    for (size_t i = 0; i < session->channel_count; i++, channel = channel->next) {
        channel->may_read = true;
    }
    silence_heard(&session->silence);
}

void session_round(struct session *session)
{
    bool fed, more = true;
    fill(session);
    fed = session->fed;
    session->fed = false;
    if (fed) {
        heard(session);
    }
    for (int i = 0; i < TURNS && more; i++) {
        more = pump_all(session);
    }
    run_pump(&session->run);
    opens_pump(&session->opens, fed);
    if (fed) {
        silence_answer(&session->silence);
    }
    if (transport_unread(session->link->transport) && !session->lost) {
        drain(session);
    }
    int code = transport_flush(session->link->transport);
    if (code && code != -EAGAIN && !session->lost) {
        session->lost = code;
    }
    clients_settle(session);
    if (session->lost) {
        end(session);
        event_del(session->socket);
        event_del(session->again);
        return;
    }
    if (more) {
        session_wake(session);
    }
    watch_socket(session);
    silence_arm(&session->silence);
}

/* ---- signs of life ---- */

static bool hear(void *context)
{
    struct session *session = context;
    session_round(session);
    return !session->lost;
}

static void ask(void *context)
{
    struct session *session = context;
    if (!opens_probe(&session->opens)) {
        /* A client's open is pending: the server may be slow to reach its target, and no other
         * can be begun. This once its answer may stay in libssh2's memory. An interval of −1
         * seconds, which libssh2 1.10 keeps as an int, has it sent at once. */
        libssh2_keepalive_config(session->link->session, 1, (unsigned)-1);
        libssh2_keepalive_send(session->link->session, &(int){0});
    }
    session_wake(session);
}

static void give_up(void *context, const char *words)
{
    struct session *session = context;
    tunnel_end(session->tunnel, LINK_CAUSE_NETWORK_DOWN, words);
}

static const struct silence_calls silence_calls = {hear, NULL, ask, give_up};

/* ---- the loop ---- */

static void on_round(evutil_socket_t fd, short what, void *argument)
{
    (void)fd;
    (void)what;
    session_round(argument);
}

static void on_clients(evutil_socket_t fd, short what, void *argument)
{
    (void)what;
    struct session *session = argument;
    struct epoll_event events[EVENTS_PER_ROUND];
    int n = epoll_wait((int)fd, events, EVENTS_PER_ROUND, 0);
    for (int i = 0; i < n; i++) {
        channel_event(events[i].data.ptr, events[i].events);
    }
    session_round(session);
}

/* The kernel is to give up no earlier than we do, and not to wait minutes between its tries. */
static void set_up_socket(struct session *session)
{
    const struct tunnel *tunnel = session->tunnel;
    int fd = transport_fd(session->link->transport);
    int64_t patience = tunnel->dead_after_ms ? tunnel->dead_after_ms +
                                                   session->silence.keepalive.silence_ms + 60000
                                             : INT_MAX;
    unsigned timeout = patience < INT_MAX ? (unsigned)patience : INT_MAX;
    int on = 1, rto = 1000; /* the least that it takes */
    setsockopt(fd, IPPROTO_TCP, TCP_USER_TIMEOUT, &timeout, sizeof timeout);
    setsockopt(fd, IPPROTO_TCP, TCP_THIN_LINEAR_TIMEOUTS, &on, sizeof on);
    setsockopt(fd, IPPROTO_TCP, TCP_RTO_MAX_MS, &rto, sizeof rto);
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
}

static int make_events(struct session *session)
{
    struct event_base *base = session->tunnel->base;
    int fd = transport_fd(session->link->transport);
    session->clients = epoll_create1(EPOLL_CLOEXEC);
    if (session->clients < 0) {
        return -errno;
    }
    session->armed = EV_READ | EV_PERSIST;
    session->socket = event_new(base, fd, session->armed, on_round, session);
    session->again = evtimer_new(base, on_round, session);
    session->clients_event =
        event_new(base, session->clients, EV_READ | EV_PERSIST, on_clients, session);
    if (!session->socket || !session->again || !session->clients_event ||
        event_add(session->socket, NULL) || event_add(session->clients_event, NULL)) {
        return -ENOMEM;
    }
    return 0;
}

struct session *session_create(struct tunnel *tunnel, struct ssh_link *link, struct error *err)
{
    struct session *session = calloc(1, sizeof *session);
    if (!session) {
        ssh_link_destroy(link);
        error_set(err, -ENOMEM, "out of memory");
        return NULL;
    }
    session->tunnel = tunnel;
    session->link = link;
    session->clients = -1;
    int code = make_events(session);
    code = code ? code : silence_start(&session->silence, tunnel, &silence_calls, session);
    code = code ? code : opens_init(&session->opens, session);
    code = code ? code : run_init(&session->run, session);
    if (code) {
        error_errno(err, code, "cannot serve the connection");
        session_destroy(session);
        return NULL;
    }
    set_up_socket(session);
    transport_set_patience(link->transport, NULL);
    hear_disconnect(session);
    silence_need(&session->silence); /* how long the way there and back is */
    session_wake(session);
    return session;
}

static void free_event(struct event *event)
{
    if (event) {
        event_free(event);
    }
}

void session_destroy(struct session *session)
{
    if (!session) {
        return;
    }
    clients_close(session);
    run_finish(&session->run);
    opens_finish(&session->opens);
    free_event(session->socket);
    free_event(session->again);
    free_event(session->clients_event);
    silence_stop(&session->silence);
    if (session->clients >= 0) {
        close(session->clients);
    }
    transport_set_context(session->link->transport, NULL);
    ssh_link_destroy(session->link);
    free(session);
}
