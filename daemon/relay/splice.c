/* Pipes that carry bulk between two sockets without copying it. Their pages count against a
 * quota that all programs of the user share, so together they have few, and a direction that
 * gets none simply goes on copying. */
#include <errno.h>
#include <fcntl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "common/clock.h"
#include "daemon/relay/connection.h"

enum {
    PIPES = 8,
    PIPE_SIZE = 256 * 1024,
    ALL_SIZE = PIPES * PIPE_SIZE,
    LARGE_SIZE = 1024 * 1024, /* takes in all TCP has: half the work of its acknowledgements */
    LARGE_WHILE = 2 * PIPE_SIZE, /* no more than this is in use: others get theirs, too */
    FILL_LIMIT = 1024 * 1024,    /* bytes a filling; pages may be larger than the pipe's own */
    SEND_BUFFER = 208 * 1024, /* the kernel doubles it: room for all a Unix sender has sent */
    SMALL_FILL = 16 * 1024,
    SMALL_FILLS = 4,       /* in a row are no bulk any more */
    IDLE_MS = 1000,        /* an empty pipe unused so long may be closed for another's sake */
    UNAVAILABLE_MS = 1000, /* the quota is used up: ask again after this */
};

struct splice_pipe {
    struct end *owner; /* the end it empties into; NULL: this slot is free */
    int in, out;
    size_t size, held;
    int small_fills;
    int64_t used_ms;
};

static struct splice_pipe pipes[PIPES];
static size_t used; /* by all of them; at most ALL_SIZE */
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
        used -= pipe->size;
        pipe->owner = NULL;
        to->pipe = NULL;
    }
}

/* A slot with room for a pipe, if need be that of an empty one nobody used lately. */
static struct splice_pipe *find_slot(int64_t now_ms)
{
    for (int i = 0; i < PIPES && used + PIPE_SIZE <= ALL_SIZE; i++) {
        if (!pipes[i].owner) {
            return &pipes[i];
        }
    }
    for (int i = 0; i < PIPES; i++) {
        if (pipes[i].owner && !pipes[i].held && now_ms - pipes[i].used_ms >= IDLE_MS) {
            splice_close(pipes[i].owner);
            return &pipes[i];
        }
    }
    return NULL;
}

/* 0 when there is none to be had. */
static size_t make_pipe(struct splice_pipe *pipe, bool is_large)
{
    int fds[2];
    if (pipe2(fds, O_CLOEXEC | O_NONBLOCK)) {
        return 0;
    }
    pipe->out = fds[0];
    pipe->in = fds[1];
    if (is_large && fcntl(pipe->in, F_SETPIPE_SZ, LARGE_SIZE) >= LARGE_SIZE) {
        return LARGE_SIZE;
    }
    if (fcntl(pipe->in, F_SETPIPE_SZ, PIPE_SIZE) >= PIPE_SIZE) {
        return PIPE_SIZE;
    }
    close(pipe->in);
    close(pipe->out);
    return 0;
}

void splice_open(struct end *from, struct end *to)
{
    int64_t now_ms = clock_monotonic_ms();
    /* From Unix to TCP copying is the faster way: the pages could not be kept anyway. */
    if ((!from->is_tcp && to->is_tcp) || now_ms < unavailable_until_ms) {
        return;
    }
    struct splice_pipe *slot = find_slot(now_ms), pipe = {.owner = to, .used_ms = now_ms};
    if (!slot) {
        return;
    }
    pipe.size = make_pipe(&pipe, from->is_tcp && used <= LARGE_WHILE);
    if (!pipe.size) {
        unavailable_until_ms = now_ms + UNAVAILABLE_MS;
        return;
    }
    *slot = pipe;
    used += pipe.size;
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
