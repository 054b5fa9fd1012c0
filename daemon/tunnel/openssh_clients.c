/* The clients of an ssh: each is connected with ssh's socket for its target, and pumped. ssh
 * takes every connection there and says later, on its standard error, whether the server opened
 * it: then it closes without a byte. feed.c brings clients, openssh_forward.c the sockets. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include "common/clock.h"
#include "common/unixsock.h"
#include "daemon/core/timer.h"
#include "daemon/tunnel/openssh_private.h"
#include "daemon/tunnel/refusal.h"
#include "daemon/tunnel/trouble.h"

/* DOUBT_MS: without a sign of life since a client came the server is asked, and OPEN_MS after
 * it came the client is refused. AGAIN_MS: ssh's backlog was full. */
enum { STREAMS_MOST = 2048, SPARE_FDS = 160, EVENTS = 64, AGAIN_MS = 5 };
enum { OPEN_MS = 30000, DOUBT_MS = 25000 };

static void on_late(evutil_socket_t fd, short what, void *argument);

/* ---- a stream and its end ---- */

static struct stream *create(
    struct openssh *openssh, int fd, const char *target, const char *service)
{
    struct stream *stream = calloc(1, sizeof *stream);
    if (!stream) {
        return NULL;
    }
    stream->openssh = openssh;
    stream->client = (struct stream_end){.stream = stream, .fd = fd};
    stream->server = (struct stream_end){.stream = stream, .fd = -1};
    stream->arrived_ms = clock_monotonic_ms();
    snprintf(stream->path, sizeof stream->path, "%s", target);
    snprintf(stream->service, sizeof stream->service, "%s", service);
    stream->late = evtimer_new(openssh->tunnel->base, on_late, stream);
    if (!stream->late) {
        free(stream);
        return NULL;
    }
    timer_arm(stream->late, DOUBT_MS);
    stream->previous = openssh->last_stream;
    *(stream->previous ? &stream->previous->next : &openssh->streams) = stream;
    openssh->last_stream = stream;
    openssh->stream_count++;
    return stream;
}

/* The client's socket goes to the caller. */
static int take_client(struct stream *stream)
{
    int fd = stream->client.fd;
    if (fd >= 0) {
        if (stream->client.interest) {
            epoll_ctl(stream->openssh->clients, EPOLL_CTL_DEL, fd, NULL);
        }
        TUNNEL_COUNT(stream->openssh->tunnel, connections, -1);
    }
    stream->client.fd = -1;
    return fd;
}

/* Whoever holds a pointer to it from epoll has had its turn: only called from the loop. */
static void finish(struct stream *stream)
{
    struct openssh *openssh = stream->openssh;
    int fd = take_client(stream);
    if (fd >= 0) {
        close(fd);
    }
    stream_close_end(&stream->client);
    stream_close_end(&stream->server);
    *(stream->previous ? &stream->previous->next : &openssh->streams) = stream->next;
    *(stream->next ? &stream->next->previous : &openssh->last_stream) = stream->previous;
    openssh->stream_count--;
    event_free(stream->late);
    free(stream);
    openssh_clients_limit_refused(openssh);
}

/* Freed after this round of events. */
static void kill_stream(struct stream *stream)
{
    stream->state = STREAM_DEAD;
    event_active(stream->openssh->clients_again, EV_TIMEOUT, 0);
}

void openssh_clients_limit_refused(struct openssh *openssh)
{
    size_t waiting = 0;
    const struct stream *stream = openssh->words.refused ? openssh->streams : NULL;
    for (; stream; stream = stream->next) {
        waiting += stream->state == STREAM_RELAYS && !stream->answered;
    }
    words_limit_refused(&openssh->words, waiting);
}

/* Tell gearsd, count, and give the client the page or the end. */
static void refuse(struct stream *stream, int code, const char *why)
{
    struct trouble_page made;
    struct tunnel *tunnel = stream->openssh->tunnel;
    trouble_tell(tunnel, stream->path, stream->service, code, why);
    TUNNEL_COUNT(tunnel, refused, 1);
    trouble_page(&made, stream->service, why);
    int fd = take_client(stream);
    if (fd >= 0) {
        refusal_heard(tunnel->refusals, fd, &made.page, stream->first, stream->first_length);
    }
    kill_stream(stream);
}

/* ssh closed without a byte from the server, after it printed why, if that was the reason. */
static bool was_refused(struct stream *stream)
{
    struct openssh *openssh = stream->openssh;
    char why[400];
    openssh_hear_words(openssh);
    const char *reason = words_take_refused(&openssh->words);
    if (!reason) {
        return false;
    }
    int code = trouble_explain(stream->path, reason, why, sizeof why);
    refuse(stream, code, why);
    return true;
}

/* ---- its bytes ---- */

static int watch(struct openssh *openssh, const struct stream *stream, struct stream_end *end)
{
    uint32_t wanted = stream_interest(stream, end);
    if (end->fd < 0 || wanted == end->interest) {
        return 0;
    }
    struct epoll_event event = {.events = wanted, .data.ptr = end};
    int act = end->interest ? EPOLL_CTL_MOD : EPOLL_CTL_ADD;
    if (epoll_ctl(openssh->clients, act, end->fd, &event)) {
        return -errno;
    }
    end->interest = wanted;
    return 0;
}

/* Give a stream its turn. */
static void serve(struct stream *stream)
{
    struct openssh *openssh = stream->openssh;
    uint64_t in = 0, out = 0;
    bool more = false;
    if (stream->state == STREAM_DEAD) {
        return;
    }
    if (stream->state == STREAM_RELAYS) {
        more = stream_pump(stream, &in, &out);
        TUNNEL_COUNT(openssh->tunnel, bytes_in, in);
        TUNNEL_COUNT(openssh->tunnel, bytes_out, out);
        if (out) {
            openssh_life_heard(openssh);
        }
        if (stream->answered) {
            event_del(stream->late);
        }
        if (stream->server.eof && !stream->answered) {
            if (was_refused(stream)) {
                return;
            }
            stream->answered = true;
            stream_pump(stream, &in, &out);
        }
        if (stream_is_done(stream)) {
            kill_stream(stream);
            return;
        }
    } else if (stream->client.hung_up) {
        kill_stream(stream);
        return;
    }
    if (watch(openssh, stream, &stream->client) || watch(openssh, stream, &stream->server)) {
        kill_stream(stream);
    } else if (more) {
        event_active(openssh->clients_again, EV_TIMEOUT, 0);
    }
}

/* ---- connecting it ---- */

static void connect_stream(struct stream *stream)
{
    char path[64];
    struct error err;
    struct openssh *openssh = stream->openssh;
    struct target *target = openssh_forward_get(openssh, stream->path, &err);
    if (!target) {
        refuse(stream, EAGAIN, err.text);
        return;
    }
    if (target->state == TARGET_ASKED) {
        stream->state = STREAM_WAITS;
        return;
    }
    openssh_folder_path(openssh, target->name, path);
    int fd = unix_connect(path, SOCK_STREAM, true, NULL);
    if (fd == -EAGAIN) {
        stream->state = STREAM_TRIES;
        timer_arm(openssh->clients_again, AGAIN_MS);
    } else if (fd >= 0) {
        stream->server.fd = fd;
        stream->state = STREAM_RELAYS;
        stream->client.readable = true;
        serve(stream);
    } else if (!stream->tried_again) { /* somebody deleted ssh's socket */
        stream->tried_again = true;
        openssh_forward_forget(openssh, target);
        connect_stream(stream);
    } else {
        refuse(stream, -fd, "ssh's own socket for this target does not answer");
    }
}

void openssh_clients_target_ready(struct openssh *openssh, struct target *target)
{
    struct stream *next;
    for (struct stream *stream = openssh->streams; stream; stream = next) {
        next = stream->next;
        if (stream->state == STREAM_WAITS && !strcmp(stream->path, target->path)) {
            connect_stream(stream);
        }
    }
}

void openssh_clients_target_failed(
    struct openssh *openssh, struct target *target, const char *why)
{
    for (struct stream *stream = openssh->streams; stream; stream = stream->next) {
        if (stream->state == STREAM_WAITS && !strcmp(stream->path, target->path)) {
            refuse(stream, EIO, why);
        }
    }
}

static size_t most_streams(void)
{
    struct rlimit limit;
    size_t most = STREAMS_MOST;
    if (!getrlimit(RLIMIT_NOFILE, &limit) && limit.rlim_cur < 2 * most + SPARE_FDS) {
        most = limit.rlim_cur > SPARE_FDS + 2 ? (limit.rlim_cur - SPARE_FDS) / 2 : 1;
    }
    return most;
}

int openssh_add(struct openssh *openssh, int fd, const char *target, const char *service)
{
    struct stream *stream =
        openssh->phase == OPENSSH_UP && openssh->stream_count < most_streams()
            ? create(openssh, fd, target, service)
            : NULL;
    if (!stream) {
        return -EAGAIN;
    }
    TUNNEL_COUNT(openssh->tunnel, connections, 1);
    if (keepalive_doubts(&openssh->silence.keepalive, clock_monotonic_ms())) {
        silence_need(&openssh->silence);
    }
    connect_stream(stream);
    if (stream->state == STREAM_WAITS || stream->state == STREAM_TRIES) {
        serve(stream);
    }
    return 0;
}

/* ---- the loop ---- */

/* Whether the server opened it nobody tells; that it lives, its answers to others do. Where
 * nobody can be asked, no answer tells nothing. */
static void on_late(evutil_socket_t fd, short what, void *argument)
{
    (void)fd;
    (void)what;
    char why[200];
    struct stream *stream = argument;
    struct openssh *openssh = stream->openssh;
    bool waits = stream->state == STREAM_WAITS || stream->state == STREAM_TRIES;
    bool heard = openssh->silence.keepalive.heard_ms >= stream->arrived_ms;
    bool unknown = heard || openssh->channel.refused;
    if (stream->state == STREAM_DEAD || stream->answered || (unknown && !waits)) {
        return;
    }
    if (!stream->asked) {
        stream->asked = true;
        silence_need(&openssh->silence);
        timer_arm(stream->late, OPEN_MS - DOUBT_MS);
        return;
    }
    snprintf(why, sizeof why, "the server did not open %s within %d s", stream->path,
        OPEN_MS / 1000);
    refuse(stream, ETIMEDOUT, why);
}

static void on_clients(evutil_socket_t fd, short what, void *argument)
{
    (void)what;
    (void)argument;
    struct epoll_event events[EVENTS];
    int n = epoll_wait((int)fd, events, EVENTS, 0);
    for (int i = 0; i < n; i++) {
        struct stream_end *end = events[i].data.ptr;
        stream_event(end, events[i].events);
        serve(end->stream);
    }
}

/* Free the dead, go on with those that have more to do. */
static void on_again(evutil_socket_t fd, short what, void *argument)
{
    (void)fd;
    (void)what;
    struct openssh *openssh = argument;
    struct stream *next;
    for (struct stream *stream = openssh->streams; stream; stream = next) {
        next = stream->next;
        if (stream->state == STREAM_TRIES) {
            connect_stream(stream);
        } else if (stream->state == STREAM_RELAYS) {
            serve(stream);
        }
        if (stream->state == STREAM_DEAD) {
            finish(stream);
        }
    }
}

int openssh_clients_start(struct openssh *openssh)
{
    struct event_base *base = openssh->tunnel->base;
    openssh->clients = epoll_create1(EPOLL_CLOEXEC);
    if (openssh->clients < 0) {
        return -errno;
    }
    openssh->clients_event =
        event_new(base, openssh->clients, EV_READ | EV_PERSIST, on_clients, openssh);
    openssh->clients_again = evtimer_new(base, on_again, openssh);
    return openssh->clients_event && openssh->clients_again &&
                   !event_add(openssh->clients_event, NULL)
               ? 0
               : -ENOMEM;
}

/* Those that wait get a page, as far as they take it at once. */
void openssh_clients_stop(struct openssh *openssh)
{
    struct trouble_page made;
    while (openssh->streams) {
        struct stream *stream = openssh->streams;
        if (stream->state == STREAM_WAITS || stream->state == STREAM_TRIES) {
            trouble_page(&made, stream->service, openssh->tunnel->text);
            int fd = take_client(stream);
            if (fd >= 0) {
                refusal_now(fd, &made.page);
            }
        }
        finish(stream);
    }
    if (openssh->clients_event) {
        event_free(openssh->clients_event);
        event_free(openssh->clients_again);
        openssh->clients_event = openssh->clients_again = NULL;
    }
    if (openssh->clients >= 0) {
        close(openssh->clients);
        openssh->clients = -1;
    }
}
