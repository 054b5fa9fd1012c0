/* Moving bytes between the two ends. Bytes are read into one shared buffer and written at once;
 * only what the other side does not take is kept, on the heap, and then nothing more is read
 * for it: a blocked reader stalls its own connection only. Bulk goes through pipes (splice.c).
 *
 * An end that fails is treated as the kernel treats a direct connection: what it said before
 * still reaches the other side, what is for it is dropped. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "daemon/relay/connection.h"

enum {
    SHARED_BUFFER = 128 * 1024,
    ROUND_BUDGET = 256 * 1024, /* bytes a callback, so that others get their turn */
    LARGE_READ = 32 * 1024,
    LARGE_READS = 4, /* in a row are bulk */
};

struct backlog {
    uint32_t at, end;
    char bytes[];
};

static char shared[SHARED_BUFFER];

static bool is_owed(const struct end *to)
{
    return to->backlog || splice_holds(to);
}

void transfer_drop(struct end *to)
{
    free(to->backlog);
    to->backlog = NULL;
    splice_close(to);
}

uint32_t transfer_wants(struct end *me)
{
    uint32_t events = 0;
    if (!me->read_done && !is_owed(end_other(me))) {
        events |= EPOLLIN;
    }
    if (is_owed(me)) {
        events |= EPOLLOUT;
    }
    return events ? events : SOURCE_QUIET;
}

/* `end` takes nothing any more. What the other side says from now on is read and dropped; a
 * Unix socket can tell it so. */
static void give_up(struct end *end)
{
    struct end *other = end_other(end);
    if (end->gone) {
        return;
    }
    end->gone = true;
    transfer_drop(end);
    if (!other->is_tcp && !other->read_done) {
        shutdown(other->source.fd, SHUT_RD);
    }
}

static int keep(struct end *to, const char *bytes, size_t length)
{
    to->backlog = malloc(sizeof *to->backlog + length);
    if (!to->backlog) {
        return -ENOMEM;
    }
    memcpy(to->backlog->bytes, bytes, length);
    to->backlog->at = 0;
    to->backlog->end = (uint32_t)length;
    return 0;
}

/* As send, but 0 when the socket is full. */
static ssize_t send_some(struct end *to, const char *bytes, size_t length)
{
    ssize_t n = send(to->source.fd, bytes, length, MSG_NOSIGNAL);
    if (n < 0) {
        return errno == EAGAIN || errno == EINTR ? 0 : -errno;
    }
    return n;
}

static int flush_backlog(struct end *to)
{
    struct backlog *backlog = to->backlog;
    while (backlog->at < backlog->end) {
        ssize_t n = send_some(to, backlog->bytes + backlog->at, backlog->end - backlog->at);
        if (n <= 0) {
            return (int)n;
        }
        backlog->at += (uint32_t)n;
    }
    free(backlog);
    to->backlog = NULL;
    return 0;
}

static void write_failed(struct end *to, ssize_t code)
{
    if (code != -EPIPE) {
        end_connection(to)->aborted = true;
    }
    give_up(to);
}

static void flush(struct end *to)
{
    int code = to->backlog ? flush_backlog(to) : splice_flush(to);
    if (code) {
        write_failed(to, code);
    }
}

/* Before they are written: who has seen bytes finds them counted. */
static void count(struct end *from, size_t length)
{
    struct relay_counters *counters = connection_counters(end_connection(from));
    atomic_fetch_add_explicit(from->is_server ? &counters->bytes_out : &counters->bytes_in,
        length, memory_order_relaxed);
}

/* Through the shared buffer: as splice_fill, and what was read is written or kept. */
static ssize_t copy(struct end *from, struct end *to)
{
    ssize_t n = recv(from->source.fd, shared, sizeof shared, 0);
    if (n <= 0) {
        return n < 0 ? -errno : 0;
    }
    count(from, (size_t)n);
    if (to->gone) {
        return n;
    }
    ssize_t sent = send_some(to, shared, (size_t)n);
    if (sent < 0) {
        write_failed(to, sent);
    } else if (sent < n && keep(to, shared + sent, (size_t)(n - sent))) {
        return -ENOMEM;
    }
    from->large_reads = n >= LARGE_READ ? (uint8_t)(from->large_reads + 1) : 0;
    if (from->large_reads >= LARGE_READS && !is_owed(to) && !to->gone) {
        from->large_reads = 0;
        splice_open(from, to);
    }
    return n;
}

static ssize_t pass_by_pipe(struct end *from, struct end *to)
{
    ssize_t n = splice_fill(from, to);
    if (n > 0) {
        count(from, (size_t)n);
        flush(to);
    }
    return n;
}

static void pump(struct end *from, struct end *to)
{
    size_t budget = ROUND_BUDGET;
    while (budget && !is_owed(to) && !from->read_done) {
        ssize_t n = to->pipe ? pass_by_pipe(from, to) : copy(from, to);
        if (n == -EAGAIN || n == -EINTR) {
            return;
        }
        if (n <= 0) {
            from->read_done = true;
            if (n < 0) {
                end_connection(from)->aborted = true;
                give_up(from);
            }
            return;
        }
        if ((size_t)n < sizeof shared / 2) {
            return; /* probably empty now; epoll tells if not */
        }
        budget -= (size_t)n < budget ? (size_t)n : budget;
    }
}

/* Half-close: the end of one side's bytes becomes the end of what the other reads. */
static void pass_end(struct end *from, struct end *to)
{
    if (from->read_done && !is_owed(to) && !to->write_done && !to->gone) {
        to->write_done = true;
        shutdown(to->source.fd, SHUT_WR);
    }
}

static bool is_done(const struct end *from, const struct end *to)
{
    return (from->read_done || to->gone) && !is_owed(to);
}

void transfer_ready(struct end *me, uint32_t events)
{
    struct connection *connection = end_connection(me);
    struct end *other = end_other(me);
    if (is_owed(me) && events & (EPOLLOUT | EPOLLHUP | EPOLLERR)) {
        flush(me);
    }
    if (events & (EPOLLIN | EPOLLHUP | EPOLLERR)) {
        pump(me, other);
    }
    if ((events & EPOLLHUP) && me->read_done) {
        give_up(me); /* closed both ways */
    }
    if (is_done(me, other) && is_done(other, me)) {
        if (!linger_start(connection)) {
            connection_finish(connection, connection->aborted);
        }
        return;
    }
    pass_end(me, other);
    pass_end(other, me);
    connection_rearm(connection);
}
