/* Moving a client's bytes through its channel. Bytes go through one shared buffer; only what
 * the other side does not take is kept. Called by session.c in each round.
 *
 * An end that fails is treated as the kernel treats a direct connection: what it said before
 * still reaches the other side, what is for it is dropped. */
#include "daemon/tunnel/channel.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "common/clock.h"
#include "daemon/tunnel/session.h"

/* TURN: bytes each way in a turn, so that others get theirs. QUIET: epoll still tells of a
 * hang-up, and being edge-triggered tells it once. */
enum { SHARED_BUFFER = 64 * 1024, TURN = 128 * 1024 };
#define QUIET ((uint32_t)EPOLLET)

static char shared[SHARED_BUFFER];

struct channel *channel_create(
    struct session *session, int fd, const char *target, const char *service)
{
    struct channel *channel = calloc(1, sizeof *channel);
    if (channel) {
        channel->session = session;
        channel->fd = fd;
        channel->arrived_ms = clock_monotonic_ms();
        snprintf(channel->target, sizeof channel->target, "%s", target);
        snprintf(channel->service, sizeof channel->service, "%s", service);
    }
    return channel;
}

static void drop(struct backlog **backlog)
{
    free(*backlog);
    *backlog = NULL;
}

void channel_free(struct channel *channel)
{
    drop(&channel->to_client);
    drop(&channel->to_server);
    if (channel->fd >= 0) {
        close(channel->fd);
    }
    free(channel);
}

static int keep(struct backlog **backlog, const char *bytes, size_t length)
{
    *backlog = malloc(sizeof **backlog + length);
    if (!*backlog) {
        return -ENOMEM;
    }
    memcpy((*backlog)->bytes, bytes, length);
    (*backlog)->at = 0;
    (*backlog)->end = (uint32_t)length;
    return 0;
}

void channel_opened(struct channel *channel, LIBSSH2_CHANNEL *ssh)
{
    channel->ssh = ssh;
    channel->state = CHANNEL_RELAYING;
    channel->readable = channel->may_read = true;
    session_wake(channel->session);
}

int channel_take_client(struct channel *channel)
{
    int fd = channel->fd;
    if (fd >= 0 && channel->interest) {
        epoll_ctl(channel->session->clients, EPOLL_CTL_DEL, fd, NULL);
    }
    if (fd >= 0) {
        TUNNEL_COUNT(channel->session->tunnel, connections, -1);
    }
    channel->fd = -1;
    channel->interest = 0;
    return fd;
}

/* Freeing closes first, and that takes until the server has answered. */
static void let_go(struct channel *channel)
{
    if (channel->ssh && libssh2_channel_free(channel->ssh) == LIBSSH2_ERROR_EAGAIN) {
        return;
    }
    channel->ssh = NULL;
    channel->state = CHANNEL_DEAD;
}

/* Close the client at once and let go of the server's end. Freed after the round. */
static void abort_channel(struct channel *channel)
{
    int fd = channel_take_client(channel);
    opens_remove(&channel->session->opens, channel);
    if (fd >= 0) {
        close(fd);
    }
    drop(&channel->to_client);
    drop(&channel->to_server);
    channel->state = CHANNEL_CLOSING;
    session_wake(channel->session);
}

void channel_event(struct channel *channel, uint32_t events)
{
    if (events & (EPOLLHUP | EPOLLERR)) {
        channel->hung_up = true;
    }
    channel->readable = true; /* or its end is to be read */
    if (channel->hung_up &&
        (channel->state == CHANNEL_WAITING || channel->state == CHANNEL_OPENING)) {
        abort_channel(channel);
    }
}

/* The client takes nothing any more; what it still says is passed on. */
static void deafen(struct channel *channel)
{
    channel->deaf = true;
    drop(&channel->to_client);
}

/* Bytes taken; 0: the socket is full or the client is deaf by now. */
static size_t send_some(struct channel *channel, const char *bytes, size_t length)
{
    ssize_t n = send(channel->fd, bytes, length, MSG_NOSIGNAL | MSG_DONTWAIT);
    if (n < 0 && errno != EAGAIN && errno != EINTR) {
        deafen(channel);
    }
    return n > 0 ? (size_t)n : 0;
}

static void flush_to_client(struct channel *channel)
{
    struct backlog *backlog = channel->to_client;
    size_t n = send_some(channel, backlog->bytes + backlog->at, backlog->end - backlog->at);
    if (channel->deaf) {
        return; /* it was dropped */
    }
    backlog->at += (uint32_t)n;
    if (backlog->at == backlog->end) {
        drop(&channel->to_client);
    }
}

static void give(struct channel *channel, const char *bytes, size_t length)
{
    TUNNEL_COUNT(channel->session->tunnel, bytes_out, length);
    if (channel->deaf) {
        return;
    }
    size_t n = send_some(channel, bytes, length);
    if (n < length && !channel->deaf && keep(&channel->to_client, bytes + n, length - n)) {
        abort_channel(channel); /* out of memory: an end rather than a gap */
    }
}

/* The server's last byte is read; its end and its close are passed on. */
static void end_from_server(struct channel *channel)
{
    if (!channel->to_client && !channel->shut && !channel->deaf) {
        shutdown(channel->fd, SHUT_WR);
    }
    channel->shut = channel->shut || !channel->to_client;
    channel->server_closed =
        channel->server_closed || libssh2_channel_wait_closed(channel->ssh) == 0;
}

/* Server to client. True when the turn ended before the bytes did. */
static bool pump_out(struct channel *channel)
{
    size_t moved = 0;
    if (channel->to_client) {
        flush_to_client(channel);
    }
    while (channel->may_read && !channel->to_client && !channel->server_eof &&
           channel->state == CHANNEL_RELAYING && moved < TURN) {
        ssize_t n = libssh2_channel_read(channel->ssh, shared, sizeof shared);
        if (n > 0) {
            give(channel, shared, (size_t)n);
            moved += (size_t)n;
        } else if (n == 0 && libssh2_channel_eof(channel->ssh) == 1) {
            channel->server_eof = true;
        } else {
            channel->may_read = false;
            if (session_is_broken(channel->session, (int)n)) {
                return false;
            }
        }
    }
    if (channel->server_eof && channel->state == CHANNEL_RELAYING) {
        end_from_server(channel);
    }
    return moved >= TURN;
}

/* Bytes libssh2 took, or a negative errno: the channel takes no more. */
static ssize_t write_some(struct channel *channel, const char *bytes, size_t length)
{
    size_t done = 0;
    while (done < length) {
        ssize_t n = libssh2_channel_write(channel->ssh, bytes + done, length - done);
        if (n == 0 || n == LIBSSH2_ERROR_EAGAIN) {
            break;
        }
        if (n < 0) {
            session_is_broken(channel->session, (int)n);
            return -EPIPE;
        }
        done += (size_t)n;
    }
    return (ssize_t)done;
}

/* libssh2 wants what it refused for now again, unchanged: it may have begun a packet with it.
 * After new keys were agreed on, what all channels kept meanwhile would be more than is ever
 * unsent. */
static bool flush_to_server(struct channel *channel)
{
    struct backlog *backlog = channel->to_server;
    if (session_is_full(channel->session)) {
        return false; /* a round follows when it has drained */
    }
    ssize_t n = write_some(channel, backlog->bytes + backlog->at, backlog->end - backlog->at);
    if (n < 0) {
        abort_channel(channel);
        return false;
    }
    backlog->at += (uint32_t)n;
    if (backlog->at < backlog->end) {
        return false;
    }
    drop(&channel->to_server);
    return true;
}

/* Read from the client what the window has room for, and write it. False: not now. */
static bool take_some(struct channel *channel, size_t *moved)
{
    size_t room = libssh2_channel_window_write(channel->ssh);
    if (!room || session_is_full(channel->session)) {
        return false;
    }
    ssize_t n =
        recv(channel->fd, shared, room < sizeof shared ? room : sizeof shared, MSG_DONTWAIT);
    if (n <= 0) {
        bool none = n < 0 && (errno == EAGAIN || errno == EINTR);
        channel->readable = false;
        channel->client_eof = !none || channel->hung_up;
        channel->hung_up = channel->hung_up || (n < 0 && !none);
        return false;
    }
    *moved += (size_t)n;
    TUNNEL_COUNT(channel->session->tunnel, bytes_in, n);
    ssize_t taken = write_some(channel, shared, (size_t)n);
    if (taken < 0 ||
        (taken < n && keep(&channel->to_server, shared + taken, (size_t)(n - taken)))) {
        abort_channel(channel);
        return false;
    }
    return taken == n;
}

/* Client to server. True when the turn ended before the bytes did. */
static bool pump_in(struct channel *channel)
{
    size_t moved = 0;
    if (channel->server_closed) {
        return false; /* it takes nothing any more */
    }
    if (channel->to_server && !flush_to_server(channel)) {
        return false;
    }
    while (channel->readable && !channel->client_eof && moved < TURN &&
           take_some(channel, &moved)) {
    }
    if (channel->state == CHANNEL_RELAYING && channel->client_eof && !channel->to_server &&
        !channel->eof_sent) {
        channel->eof_sent = libssh2_channel_send_eof(channel->ssh) == 0;
    }
    return moved >= TURN && channel->readable;
}

static bool is_done(const struct channel *channel)
{
    bool in = channel->eof_sent || channel->server_closed;
    bool out = channel->deaf || channel->hung_up || (channel->server_eof && channel->shut);
    return (in && out) || (channel->server_closed && channel->shut);
}

bool channel_pump(struct channel *channel)
{
    if (channel->state == CHANNEL_CLOSING) {
        let_go(channel);
        return false;
    }
    if (channel->state != CHANNEL_RELAYING) {
        return false;
    }
    bool more = pump_out(channel);
    if (channel->state == CHANNEL_RELAYING) {
        more = pump_in(channel) || more;
    }
    if (channel->state == CHANNEL_RELAYING && is_done(channel)) {
        abort_channel(channel);
        let_go(channel);
    }
    return more && channel->state == CHANNEL_RELAYING;
}

void channel_update(struct channel *channel)
{
    uint32_t wanted = QUIET;
    if (channel->fd < 0) {
        return;
    }
    if (channel->state == CHANNEL_RELAYING && !channel->hung_up) {
        uint32_t reads = !channel->readable && !channel->client_eof ? EPOLLIN : 0;
        uint32_t writes = channel->to_client ? EPOLLOUT : 0;
        wanted = reads | writes ? reads | writes : QUIET;
    }
    if (wanted == channel->interest) {
        return;
    }
    struct epoll_event event = {.events = wanted, .data.ptr = channel};
    int act = channel->interest ? EPOLL_CTL_MOD : EPOLL_CTL_ADD;
    if (epoll_ctl(channel->session->clients, act, channel->fd, &event)) {
        abort_channel(channel);
        return;
    }
    channel->interest = wanted;
}
