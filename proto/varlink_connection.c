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
    connection->in.limit = VARLINK_MESSAGE_LIMIT;
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
    varlink_framing_finish(&connection->in);
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
    /* While busy a little is read ahead; the rest waits in the kernel. That the client left is
     * always noticed. */
    bool hears = !connection->ending && !connection->peer_done;
    bool reads = hears && (!busy || varlink_framing_waiting(&connection->in) < READ_CHUNK);
    /* Calls read earlier and an end seen earlier: the socket will not tell of them again. */
    bool due = !busy && !connection->ending &&
               (connection->peer_done || varlink_framing_has_news(&connection->in));
    bool writes = connection->out.length > connection->sent || connection->ending || due;
    return (short)((reads ? POLLIN : hears ? POLLRDHUP : 0) | (writes ? POLLOUT : 0));
}

bool varlink_connection_is_idle(const struct varlink_connection *connection)
{
    return !connection->call && !connection->ending &&
           connection->out.length == connection->sent &&
           !varlink_framing_waiting(&connection->in);
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

int varlink_connection_expire(struct varlink_connection *connection, int64_t now_ms)
{
    if (connection->deadline < 0 || now_ms < connection->deadline) {
        return 0;
    }
    if (connection->ending) {
        return 1;
    }
    varlink_connection_refuse(connection, "message: not whole within 10 seconds");
    return 0;
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
    char *room = varlink_framing_room(&connection->in, READ_CHUNK);
    if (!room) {
        return -ENOMEM;
    }
    ssize_t n = recv(connection->fd, room, READ_CHUNK, MSG_DONTWAIT);
    if (n > 0) {
        varlink_framing_add(&connection->in, (size_t)n);
        return 0;
    }
    return n == 0 ? 1 : errno == EAGAIN || errno == EINTR ? 0 : -errno;
}

void varlink_connection_put(struct varlink_connection *connection, cJSON *message)
{
    char *text = cJSON_PrintUnformatted(message);
    cJSON_Delete(message);
    if (text) {
        text_append(&connection->out, text, strlen(text) + 1);
        free(text);
    } else {
        varlink_connection_end(connection);
    }
}

void varlink_connection_refuse(struct varlink_connection *connection, const char *words)
{
    cJSON *message = cJSON_CreateObject();
    cJSON_AddStringToObject(message, "error", "org.varlink.service.InvalidParameter");
    cJSON *parameters = cJSON_AddObjectToObject(message, "parameters");
    cJSON_AddStringToObject(parameters, "parameter", words);
    varlink_connection_put(connection, message);
    varlink_connection_end(connection);
}

/* Serve whole messages until one call stays open, replies pile up or bytes run out. */
static int serve(struct varlink_connection *connection)
{
    while (!is_busy(connection) && !connection->ending) {
        char *message = NULL;
        size_t length = 0;
        int code = varlink_framing_next(&connection->in, &message, &length);
        if (code <= 0) {
            if (code) {
                varlink_connection_refuse(connection, "message: longer than 1 MiB");
            }
            return 0;
        }
        code = varlink_serve(connection, message, length);
        if (!connection->ending) {
            connection->deadline = -1;
        }
        if (code == -EBADMSG) {
            varlink_connection_refuse(connection, "message: not a Varlink call");
        } else if (code) {
            return code;
        }
    }
    return 0;
}

/* A reader that never catches up must not make `out` grow; to move less than sent is cheap. */
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
    if (!varlink_framing_waiting(&connection->in)) {
        varlink_framing_finish(&connection->in);
    }
}

int varlink_connection_process(struct varlink_connection *connection, short revents)
{
    int code = 0;
    connection->processing = true;
    if (revents & POLLRDHUP) {
        connection->peer_done = true;
    }
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
    bool waiting = varlink_framing_waiting(&connection->in) && !is_busy(connection);
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
