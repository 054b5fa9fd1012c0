/* The pump between two sockets; openssh_clients.c owns the streams. As in channel.c an end that
 * fails is treated as the kernel treats a direct connection: what it said before still reaches
 * the other, what is for it is dropped. */
#include "daemon/tunnel/stream.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

enum { SHARED_BUFFER = 64 * 1024, TURN = 256 * 1024 };

static char shared[SHARED_BUFFER];

static void drop_held(struct stream_end *end)
{
    free(end->held);
    end->held = NULL;
}

static void deafen(struct stream_end *end)
{
    end->deaf = true;
    drop_held(end);
}

/* Bytes taken; 0: it is full, or deaf by now. */
static size_t send_some(struct stream_end *to, const char *bytes, size_t length)
{
    ssize_t n = send(to->fd, bytes, length, MSG_NOSIGNAL | MSG_DONTWAIT);
    if (n < 0 && errno != EAGAIN && errno != EINTR) {
        deafen(to);
    }
    return n > 0 ? (size_t)n : 0;
}

static void flush(struct stream_end *to)
{
    to->at += (uint32_t)send_some(to, to->held + to->at, to->end - to->at);
    if (to->held && to->at == to->end) {
        drop_held(to);
    }
}

static void give(struct stream_end *to, const char *bytes, size_t length)
{
    size_t n = send_some(to, bytes, length);
    if (n == length || to->deaf) {
        return;
    }
    to->held = malloc(length - n);
    if (!to->held) { /* an end rather than a gap */
        deafen(to);
        return;
    }
    memcpy(to->held, bytes + n, length - n);
    to->at = 0;
    to->end = (uint32_t)(length - n);
}

static void note(struct stream *stream, const struct stream_end *from, size_t length)
{
    size_t room = sizeof stream->first - stream->first_length;
    if (from == &stream->server) {
        stream->answered = true;
    } else if (room) {
        size_t n = length < room ? length : room;
        memcpy(stream->first + stream->first_length, shared, n);
        stream->first_length += n;
    }
}

/* False: nothing more now. */
static bool take_some(struct stream_end *from, struct stream_end *to, uint64_t *count)
{
    ssize_t n = recv(from->fd, shared, sizeof shared, MSG_DONTWAIT);
    if (n > 0) {
        note(from->stream, from, (size_t)n);
        *count += (uint64_t)n;
        give(to, shared, (size_t)n);
        return true;
    }
    bool none = n < 0 && (errno == EAGAIN || errno == EINTR);
    from->readable = false;
    from->eof = !none || from->hung_up;
    from->hung_up = from->hung_up || (n < 0 && !none);
    return false;
}

/* True when the turn ended before the bytes did. */
static bool move(struct stream_end *from, struct stream_end *to, uint64_t *count)
{
    uint64_t before = *count;
    if (to->held) {
        flush(to);
    }
    while (from->readable && !from->eof && !to->held && !to->deaf && *count - before < TURN &&
           take_some(from, to, count)) {
    }
    /* A server that ends without a word may never have been reached: see openssh_clients.c. */
    bool known = from == &from->stream->client || from->stream->answered;
    if (from->eof && known && !to->held && !to->deaf && !to->shut) {
        shutdown(to->fd, SHUT_WR);
        to->shut = true;
    }
    return from->readable && !from->eof && !to->held && !to->deaf;
}

bool stream_pump(struct stream *stream, uint64_t *from_client, uint64_t *from_server)
{
    bool more = move(&stream->server, &stream->client, from_server);
    return move(&stream->client, &stream->server, from_client) || more;
}

bool stream_is_done(const struct stream *stream)
{
    const struct stream_end *client = &stream->client, *server = &stream->server;
    bool in = server->deaf || server->hung_up || (client->eof && server->shut);
    bool out = client->deaf || client->hung_up || (server->eof && client->shut);
    bool said = !server->hung_up || server->eof || client->deaf; /* all that it had to say */
    return in && out && said && (!client->hung_up || client->eof || server->deaf);
}

uint32_t stream_interest(const struct stream *stream, const struct stream_end *end)
{
    const struct stream_end *other = end == &stream->client ? &stream->server : &stream->client;
    uint32_t wanted = EPOLLET; /* a hang-up is told in any case, and so once */
    if (stream->state == STREAM_RELAYS && !end->hung_up) {
        uint32_t reads =
            !end->readable && !end->eof && !other->held && !other->deaf ? EPOLLIN : 0;
        uint32_t writes = end->held ? EPOLLOUT : 0;
        wanted = reads | writes ? reads | writes : wanted;
    }
    return wanted;
}

void stream_event(struct stream_end *end, uint32_t events)
{
    if (events & (EPOLLHUP | EPOLLERR)) {
        end->hung_up = true;
    }
    end->readable = true; /* or its end is to be read */
}

void stream_close_end(struct stream_end *end)
{
    if (end->fd >= 0) {
        close(end->fd);
    }
    end->fd = -1;
    end->interest = 0;
    drop_held(end);
}
