/* Bytes to calls and replies to bytes, for one client. */
#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "common/clock.h"
#include "proto/varlink_private.h"

enum {
    READ_CHUNK = 16384,
    KEEP_CAPACITY = 65536,
    UNREAD_LIMIT = 256 * 1024 /* replies nobody reads before further calls must wait */
};

struct varlink_connection *varlink_connection_create(struct varlink_service *service, int fd)
{
    struct varlink_connection *connection = calloc(1, sizeof *connection);
    if (!connection) {
        close(fd);
        return NULL;
    }
    connection->service = service;
    connection->fd = fd;
    connection->deadline = -1;
    return connection;
}

void varlink_connection_destroy(struct varlink_connection *connection)
{
    struct varlink_call *call = connection->call;
    connection->changed = NULL;
    if (call) {
        connection->call = NULL;
        if (call->closed) {
            call->closed(call, call->closed_context);
        }
        varlink_call_destroy(call);
    }
    close(connection->fd);
    free(connection->in);
    text_finish(&connection->out);
    free(connection);
}

/* Whether the next call must wait: one is being served, or its client does not read. */
static bool is_busy(const struct varlink_connection *connection)
{
    return connection->call || connection->out.length - connection->sent >= UNREAD_LIMIT;
}

short varlink_connection_events(const struct varlink_connection *connection)
{
    bool busy = is_busy(connection);
    /* While busy a little is read ahead, to notice that the client left; the rest waits in the
     * kernel. */
    bool reads = !connection->ending && !connection->peer_done &&
                 (!busy || connection->in_length < READ_CHUNK);
    /* Calls read earlier and an end seen earlier: the socket will not tell of them again. */
    bool due = !busy && !connection->ending &&
               (connection->peer_done || connection->in_length > connection->scanned);
    bool writes = connection->out.length > connection->sent || connection->ending || due;
    return (short)((reads ? POLLIN : 0) | (writes ? POLLOUT : 0));
}

void varlink_connection_end(struct varlink_connection *connection)
{
    if (!connection->ending) {
        connection->ending = true;
        connection->deadline = clock_monotonic_ms() + VARLINK_MESSAGE_MS;
    }
}

int64_t varlink_connection_deadline(const struct varlink_connection *connection)
{
    return connection->deadline;
}

void varlink_connection_on_change(
    struct varlink_connection *connection, void (*changed)(void *), void *context)
{
    connection->changed = changed;
    connection->changed_context = context;
}

/* 0: read or nothing to read; 1: the peer will send no more; negative: broken. */
static int fill(struct varlink_connection *connection)
{
    if (connection->in_length + READ_CHUNK > connection->in_capacity) {
        size_t capacity = connection->in_length + READ_CHUNK;
        capacity =
            capacity < 2 * connection->in_capacity ? 2 * connection->in_capacity : capacity;
        char *in = realloc(connection->in, capacity);
        if (!in) {
            return -ENOMEM;
        }
        connection->in = in;
        connection->in_capacity = capacity;
    }
    ssize_t n =
        recv(connection->fd, connection->in + connection->in_length, READ_CHUNK, MSG_DONTWAIT);
    if (n > 0) {
        connection->in_length += (size_t)n;
        return 0;
    }
    return n == 0 ? 1 : errno == EAGAIN || errno == EINTR ? 0 : -errno;
}

/* Serve whole messages until one call stays open, replies pile up or bytes run out. */
static int serve(struct varlink_connection *connection)
{
    while (!is_busy(connection) && !connection->ending) {
        char *zero = connection->in_length > connection->scanned
                         ? memchr(connection->in + connection->scanned, 0,
                               connection->in_length - connection->scanned)
                         : NULL;
        if (!zero) {
            connection->scanned = connection->in_length;
            return connection->in_length >= VARLINK_MESSAGE_LIMIT ? -EMSGSIZE : 0;
        }
        size_t length = (size_t)(zero - connection->in);
        if (length >= VARLINK_MESSAGE_LIMIT) {
            return -EMSGSIZE;
        }
        int code = varlink_serve(connection, connection->in, length);
        size_t used = length + 1;
        memmove(connection->in, connection->in + used, connection->in_length - used);
        connection->in_length -= used;
        connection->scanned = 0;
        if (!connection->ending) {
            connection->deadline = -1;
        }
        if (code) {
            return code;
        }
    }
    return 0;
}

/* A reader that never catches up must not make `out` grow; moving less than was sent is cheap.
 */
static void compact(struct varlink_connection *connection)
{
    struct text *out = &connection->out;
    size_t waiting = out->length - connection->sent;
    if (connection->sent >= waiting && connection->sent > KEEP_CAPACITY) {
        memmove(out->data, out->data + connection->sent, waiting);
        out->length = waiting;
        connection->sent = 0;
    }
}

static int flush(struct varlink_connection *connection)
{
    struct text *out = &connection->out;
    while (out->length > connection->sent) {
        ssize_t n = send(connection->fd, out->data + connection->sent,
            out->length - connection->sent, MSG_NOSIGNAL | MSG_DONTWAIT);
        if (n < 0) {
            int code = errno == EAGAIN || errno == EINTR ? 0 : -errno;
            compact(connection);
            return code;
        }
        connection->sent += (size_t)n;
    }
    out->length = connection->sent = 0;
    if (out->capacity > KEEP_CAPACITY) {
        text_finish(out);
    }
    return 0;
}

/* Memory goes back when a connection is at rest: many may idle. */
static void trim(struct varlink_connection *connection)
{
    if (!connection->in_length) {
        free(connection->in);
        connection->in = NULL;
        connection->in_capacity = 0;
    }
}

int varlink_connection_process(struct varlink_connection *connection, short revents)
{
    int code = 0;
    connection->processing = true;
    if (revents & (POLLIN | POLLHUP | POLLERR)) {
        code = fill(connection);
        if (code == 1) {
            connection->peer_done = true;
            code = 0;
        }
    }
    if (!code) {
        code = serve(connection);
    }
    if (!code) {
        code = flush(connection);
    }
    if (!code) {
        code = serve(connection); /* room again for pipelined calls */
    }
    connection->processing = false;
    bool waiting = connection->in_length && !is_busy(connection);
    if (!connection->ending && !waiting) {
        connection->deadline = -1;
    } else if (connection->deadline < 0) {
        connection->deadline = clock_monotonic_ms() + VARLINK_MESSAGE_MS;
    }
    trim(connection);
    bool drained = connection->out.length == connection->sent;
    if (code || (connection->ending && drained)) {
        return 1;
    }
    /* A client that hung up hears no reply: only a oneway call is seen through. */
    return connection->peer_done && drained && !(connection->call && connection->call->oneway);
}
