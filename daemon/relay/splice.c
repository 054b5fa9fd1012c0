/* Pipes that carry bulk between two sockets without copying it. Their pages count against a
 * quota that all programs of the user share, so they are few, of a fixed size, and a direction
 * that gets none simply goes on copying. */
#include <errno.h>
#include <fcntl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "common/clock.h"
#include "daemon/relay/connection.h"

enum {
    PIPES = 8,
    PIPE_SIZE = 256 * 1024,   /* as memory of its own; references to larger pages fit too */
    FILL_LIMIT = 1024 * 1024, /* bytes a filling */
    SEND_BUFFER = 208 * 1024, /* the kernel doubles it: room for all a Unix sender has sent */
    SMALL_FILL = 16 * 1024,
    SMALL_FILLS = 4,       /* in a row are no bulk any more */
    IDLE_MS = 1000,        /* an empty pipe unused so long may be closed for another's sake */
    UNAVAILABLE_MS = 1000, /* the quota is used up: ask again after this */
};

struct splice_pipe {
    struct end *owner; /* the end it empties into; NULL: this slot is free */
    int in, out;
    size_t held;
    int small_fills;
    int64_t used_ms;
};

static struct splice_pipe pipes[PIPES];
static int64_t unavailable_until_ms;

bool splice_holds(const struct end *to)
{
    return to->pipe && to->pipe->held;
}

void splice_close(struct end *to)
{
    struct splice_pipe *pipe = to->pipe;
    if (pipe) {
        close(pipe->in);
        close(pipe->out);
        pipe->owner = NULL;
        to->pipe = NULL;
    }
}

/* A free slot, if need be that of an empty pipe nobody used lately. */
static struct splice_pipe *find_slot(int64_t now_ms)
{
    for (int i = 0; i < PIPES; i++) {
        if (!pipes[i].owner) {
            return &pipes[i];
        }
    }
    for (int i = 0; i < PIPES; i++) {
        if (!pipes[i].held && now_ms - pipes[i].used_ms >= IDLE_MS) {
            splice_close(pipes[i].owner);
            return &pipes[i];
        }
    }
    return NULL;
}

static bool make_pipe(int fds[2])
{
    if (pipe2(fds, O_CLOEXEC | O_NONBLOCK)) {
        return false;
    }
    if (fcntl(fds[1], F_SETPIPE_SZ, PIPE_SIZE) < PIPE_SIZE) {
        close(fds[0]);
        close(fds[1]);
        return false;
    }
    return true;
}

void splice_open(struct end *from, struct end *to)
{
    int64_t now_ms = clock_monotonic_ms();
    int fds[2];
    /* From Unix to TCP copying is the faster way: the pages could not be kept anyway. */
    if ((!from->is_tcp && to->is_tcp) || now_ms < unavailable_until_ms) {
        return;
    }
    struct splice_pipe *slot = find_slot(now_ms);
    if (!slot) {
        return;
    }
    if (!make_pipe(fds)) {
        unavailable_until_ms = now_ms + UNAVAILABLE_MS;
        return;
    }
    *slot = (struct splice_pipe){.owner = to, .out = fds[0], .in = fds[1], .used_ms = now_ms};
    to->pipe = slot;
    if (!from->is_tcp && !to->is_tcp) { /* else every second filling would meet a full socket */
        int size = SEND_BUFFER;
        setsockopt(to->source.fd, SOL_SOCKET, SO_SNDBUF, &size, sizeof size);
    }
}

ssize_t splice_fill(struct end *from, struct end *to)
{
    struct splice_pipe *pipe = to->pipe;
    ssize_t n = splice(
        from->source.fd, NULL, pipe->in, NULL, FILL_LIMIT, SPLICE_F_MOVE | SPLICE_F_NONBLOCK);
    if (n < 0 && errno == EINVAL) { /* kernels before 4.2 cannot do it from Unix sockets */
        splice_close(to);
        unavailable_until_ms = INT64_MAX;
        return -EAGAIN;
    }
    if (n > 0) {
        pipe->held = (size_t)n;
        pipe->small_fills = n < SMALL_FILL ? pipe->small_fills + 1 : 0;
        pipe->used_ms = clock_monotonic_ms();
    }
    return n < 0 ? -errno : n;
}

int splice_flush(struct end *to)
{
    struct splice_pipe *pipe = to->pipe;
    while (pipe->held) {
        ssize_t n = splice(pipe->out, NULL, to->source.fd, NULL, pipe->held,
            SPLICE_F_MOVE | SPLICE_F_NONBLOCK);
        if (n <= 0) {
            int code = n ? errno : EIO;
            return code == EAGAIN || code == EINTR ? 0 : -code;
        }
        pipe->held -= (size_t)n;
    }
    if (pipe->small_fills >= SMALL_FILLS) {
        splice_close(to);
    }
    return 0;
}
