/* Owns a connection's socket, or the channel it is nested in, and the bytes on their way
 * through it. The login thread and later the loop call this, never both. */
#include "daemon/tunnel/transport.h"

#include <errno.h>
#include <limits.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "common/clock.h"
#include "daemon/tunnel/transport_private.h"

enum {
    READ_AT_ONCE = 256 * 1024,
    UNREAD_MOST = 1024 * 1024,
    UNSENT_MOST = 16 * 1024 * 1024,
    KEEP_IN = 16 * 1024,   /* of an idle connection's buffer */
    KEEP_OUT = 1024 * 1024 /* what a burst needed beyond this is given back */
};

static size_t used(const struct transport_bytes *bytes)
{
    return bytes->end - bytes->start;
}

static void release(struct transport_bytes *bytes)
{
    free(bytes->data);
    *bytes = (struct transport_bytes){0};
}

/* Room for `extra` more behind what is there. */
static bool reserve(struct transport_bytes *bytes, size_t extra)
{
    if (bytes->start == bytes->end) {
        bytes->start = bytes->end = 0;
    }
    if (bytes->capacity - bytes->end >= extra) {
        return true;
    }
    if (bytes->start) {
        memmove(bytes->data, bytes->data + bytes->start, used(bytes));
        bytes->end -= bytes->start;
        bytes->start = 0;
    }
    size_t capacity = bytes->capacity ? bytes->capacity : 4096;
    while (capacity - bytes->end < extra) {
        capacity *= 2;
    }
    if (capacity != bytes->capacity) {
        uint8_t *data = realloc(bytes->data, capacity);
        if (!data) {
            return false;
        }
        bytes->data = data;
        bytes->capacity = capacity;
    }
    return true;
}

struct transport *transport_create(int fd)
{
    struct transport *transport = calloc(1, sizeof *transport);
    if (!transport) {
        close(fd);
        return NULL;
    }
    transport->fd = fd;
    return transport;
}

struct transport *transport_create_channel(LIBSSH2_CHANNEL *channel, struct transport *outer)
{
    struct transport *transport = calloc(1, sizeof *transport);
    if (transport) {
        transport->fd = -1;
        transport->channel = channel;
        transport->outer = outer;
    }
    return transport;
}

void transport_destroy(struct transport *transport)
{
    if (!transport) {
        return;
    }
    if (transport->fd >= 0) {
        close(transport->fd);
    }
    release(&transport->in);
    release(&transport->out);
    free(transport);
}

void transport_set_patience(struct transport *transport, const struct patience *patience)
{
    transport->patience = patience;
}

void transport_set_context(struct transport *transport, void *context)
{
    transport->context = context;
}

void *transport_context(const struct transport *transport)
{
    return transport->context;
}

/* As recv: > 0, 0 for closed, a negative errno. */
static ssize_t take(struct transport *transport, uint8_t *buffer, size_t length)
{
    if (transport->channel) {
        ssize_t n = libssh2_channel_read(transport->channel, (char *)buffer, length);
        if (n > 0) {
            return n;
        }
        if (n == LIBSSH2_ERROR_EAGAIN || (!n && !libssh2_channel_eof(transport->channel))) {
            return -EAGAIN;
        }
        if (n == LIBSSH2_ERROR_SOCKET_DISCONNECT && !transport->outer->failure) {
            transport->outer->failure = -ENOTCONN; /* it said goodbye */
        }
        return n ? -ECONNRESET : 0;
    }
    ssize_t n;
    do {
        n = recv(transport->fd, buffer, length, 0);
    } while (n < 0 && errno == EINTR);
    return n < 0 ? -errno : n;
}

static void note_received(struct transport *transport, size_t length)
{
    size_t room = sizeof transport->first - transport->first_length;
    size_t part = length < room ? length : room;
    if (part) {
        memcpy(transport->first + transport->first_length,
            transport->in.data + transport->in.end, part);
        transport->first_length += part;
    }
    transport->in.end += length;
}

ssize_t transport_fill(struct transport *transport, size_t budget)
{
    if (transport->failure) {
        return transport->failure == -ENOTCONN ? 0 : transport->failure;
    }
    ssize_t below = transport->outer ? transport_fill(transport->outer, budget) : -EAGAIN;
    size_t room = UNREAD_MOST - used(&transport->in);
    size_t length = budget < READ_AT_ONCE ? budget : READ_AT_ONCE;
    length = length < room ? length : room;
    if (!length) {
        return -ENOBUFS;
    }
    ssize_t n = -ENOMEM;
    if (reserve(&transport->in, length)) {
        n = take(transport, transport->in.data + transport->in.end, length);
    }
    if (n > 0) {
        note_received(transport, (size_t)n);
        return n;
    }
    if (n == -EAGAIN && !used(&transport->in) && transport->in.capacity > KEEP_IN) {
        release(&transport->in);
    }
    if (n == -EAGAIN && below <= 0) {
        n = below; /* nothing will come through a channel of a connection that ended */
    }
    if (n != -EAGAIN && n <= 0) {
        transport->failure = n ? (int)n : -ENOTCONN;
    }
    return n;
}

/* As send: > 0, or a negative errno. */
static ssize_t give(struct transport *transport, const uint8_t *bytes, size_t length)
{
    if (transport->channel) {
        if (transport_unsent(transport->outer) >= TRANSPORT_HIGH_WATER) {
            return -EAGAIN;
        }
        ssize_t n = libssh2_channel_write(transport->channel, (const char *)bytes, length);
        return n > 0 ? n : n == LIBSSH2_ERROR_EAGAIN || !n ? -EAGAIN : -EPIPE;
    }
    ssize_t n;
    do {
        n = send(transport->fd, bytes, length, MSG_NOSIGNAL);
    } while (n < 0 && errno == EINTR);
    return n < 0 ? -errno : n;
}

int transport_flush_now(struct transport *transport)
{
    struct transport_bytes *out = &transport->out;
    int code = transport->send_failure;
    while (!code && used(out)) {
        ssize_t n = give(transport, out->data + out->start, used(out));
        code = n < 0 ? (int)n : 0;
        out->start += n > 0 ? (size_t)n : 0;
    }
    if (code && code != -EAGAIN) {
        transport->send_failure = code;
    }
    if (!used(out) && out->capacity > KEEP_OUT) {
        release(out);
    }
    int below = transport->outer ? transport_flush_now(transport->outer) : 0;
    return code ? code : below;
}

int patience_wait(const struct patience *patience, int fd, short events)
{
    struct pollfd fds[2] = {
        {.fd = fd, .events = events}, {.fd = patience->cancel_fd, .events = POLLIN}};
    int n = 0;
    do {
        int64_t left = patience->until_ms - clock_monotonic_ms();
        n = poll(fds, 2, left < 0 ? 0 : left > INT_MAX ? INT_MAX : (int)left);
    } while (n < 0 && errno == EINTR);
    return n < 0 ? -errno : fds[1].revents ? -ECANCELED : n ? 0 : -ETIMEDOUT;
}

/* Until the socket can be read, or written when something is unsent. */
static int wait_for_socket(struct transport *transport)
{
    short events = (short)(POLLIN | (transport_is_behind(transport) ? POLLOUT : 0));
    int code = patience_wait(transport->patience, transport_fd(transport), events);
    if (code) {
        transport->failure = code;
    }
    return code;
}

/* > 0: something is there to be read; 0: closed; a negative errno. */
static ssize_t wait_for_bytes(struct transport *transport)
{
    for (;;) {
        int sent = transport_flush_now(transport);
        ssize_t n = transport_fill(transport, READ_AT_ONCE);
        if (n != -EAGAIN) {
            return n;
        }
        int code = sent && sent != -EAGAIN ? sent : wait_for_socket(transport);
        if (code) {
            return code;
        }
    }
}

int transport_flush(struct transport *transport)
{
    int code;
    while ((code = transport_flush_now(transport)) == -EAGAIN && transport->patience) {
        ssize_t n = transport_fill(transport, READ_AT_ONCE); /* it may be what opens a window */
        code = n == -EAGAIN ? wait_for_socket(transport) : n > 0 ? 0 : -EPIPE;
        if (code) {
            break;
        }
    }
    return code;
}

ssize_t transport_receive(struct transport *transport, void *buffer, size_t length)
{
    struct transport_bytes *in = &transport->in;
    if (!used(in) && transport->patience && !transport->failure) {
        ssize_t n = wait_for_bytes(transport);
        if (n < 0) {
            return n;
        }
    }
    if (!used(in)) {
        return transport->failure == -ENOTCONN ? 0
               : transport->failure            ? transport->failure
                                               : -EAGAIN;
    }
    size_t part = used(in) < length ? used(in) : length;
    memcpy(buffer, in->data + in->start, part);
    in->start += part;
    return (ssize_t)part;
}

ssize_t transport_send(struct transport *transport, const void *bytes, size_t length)
{
    int code = transport->send_failure;
    if (!code && transport->failure && transport->failure != -ENOTCONN) {
        code = transport->failure;
    }
    if (!code && used(&transport->out) + length > UNSENT_MOST) {
        code = transport->send_failure = -ENOBUFS;
    }
    if (!code && !reserve(&transport->out, length)) {
        code = transport->send_failure = -ENOMEM;
    }
    if (code) {
        return code;
    }
    memcpy(transport->out.data + transport->out.end, bytes, length);
    transport->out.end += length;
    return (ssize_t)length;
}

size_t transport_unsent(const struct transport *transport)
{
    return used(&transport->out) + (transport->outer ? transport_unsent(transport->outer) : 0);
}

size_t transport_unread(const struct transport *transport)
{
    return used(&transport->in);
}

int transport_fd(const struct transport *transport)
{
    return transport->outer ? transport_fd(transport->outer) : transport->fd;
}

bool transport_is_behind(const struct transport *transport)
{
    return transport->outer ? transport_is_behind(transport->outer) : used(&transport->out) > 0;
}

const struct transport *transport_outer(const struct transport *transport)
{
    return transport->outer;
}

const uint8_t *transport_first_bytes(const struct transport *transport, size_t *length)
{
    *length = transport->first_length;
    return transport->first;
}

int transport_failure(const struct transport *transport)
{
    return transport->failure ? transport->failure : transport->send_failure;
}

void transport_abort(struct transport *transport, int code)
{
    transport->failure = transport->send_failure = code;
    release(&transport->in);
    release(&transport->out);
}
