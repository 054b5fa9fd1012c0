/* FEED_PATH: gears-relay hands clients over here, one frame with one descriptor each. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/clock.h"
#include "common/unixsock.h"
#include "daemon/core/timer.h"
#include "daemon/tunnel/openssh.h"
#include "daemon/tunnel/refusal.h"
#include "daemon/tunnel/session.h"
#include "daemon/tunnel/trouble.h"
#include "daemon/tunnel/tunnel.h"

enum { FEEDERS_MOST = 64, BACKLOG = 1024, ACCEPTS = 64, FRAMES = 64, IDLE_MS = 5000 };

struct feeder {
    struct feed *feed;
    struct event *event; /* NULL: this place is free */
    int fd;
    int64_t since_ms;
};

struct feed {
    struct tunnel *tunnel;
    int listener, reserve;
    struct unix_file bound;
    struct event *event;
    struct feeder feeders[FEEDERS_MOST];
};

static void leave(struct feeder *feeder)
{
    event_free(feeder->event);
    feeder->event = NULL;
    close(feeder->fd);
}

static void refuse(struct tunnel *tunnel, int fd, const char *service, const char *why)
{
    struct trouble_page made;
    bool down = tunnel->state == LINK_TUNNEL_DOWN;
    TUNNEL_COUNT(tunnel, refused, 1);
    trouble_page(&made, service, why);
    snprintf(made.command, sizeof made.command, "%s%s", down ? "gearsctl login " : "",
        down ? tunnel->cluster : "");
    made.page.since_us = tunnel->since_us;
    refusal_start(tunnel->refusals, fd, &made.page);
}

static void take_client(struct tunnel *tunnel, struct link_message *message)
{
    char target[UNIX_PATH_SIZE], service[40];
    int type = 0, fd = message->fds[0];
    socklen_t size = sizeof type;
    if (message->type != LINK_TUNNEL_OPEN || !message->fd_count ||
        !link_find_string(message, LINK_TAG_TARGET_PATH, 0, target, sizeof target) ||
        getsockopt(fd, SOL_SOCKET, SO_TYPE, &type, &size) || type != SOCK_STREAM) {
        return;
    }
    message->fds[0] = -1;
    link_find_string(message, LINK_TAG_SERVICE, 0, service, sizeof service);
    TUNNEL_COUNT(tunnel, accepted, 1);
    atomic_store_explicit(
        &tunnel->counters->last_used_us, (uint64_t)clock_utc_us(), memory_order_relaxed);
    bool up = tunnel->state == LINK_TUNNEL_UP || tunnel->state == LINK_TUNNEL_DEGRADED;
    if (!up) {
        char why[600];
        snprintf(why, sizeof why, "the connection to %s is not up%s%s", tunnel->cluster,
            tunnel->text[0] ? ": " : "", tunnel->text);
        refuse(tunnel, fd, service, why);
    } else if (tunnel->openssh ? openssh_add(tunnel->openssh, fd, target, service)
                               : session_add(tunnel->session, fd, target, service)) {
        refuse(tunnel, fd, service, "too many connections at once");
    }
}

static void on_feeder(evutil_socket_t fd, short what, void *argument)
{
    static uint8_t buffer[LINK_FRAME_LIMIT];
    struct feeder *feeder = argument;
    struct link_message message;
    if (what & EV_TIMEOUT) {
        leave(feeder);
        return;
    }
    for (int i = 0; i < FRAMES; i++) {
        int code = link_receive((int)fd, buffer, &message);
        if (code == 1) {
            take_client(feeder->feed->tunnel, &message);
            link_message_finish(&message);
        } else if (code == -EAGAIN) {
            return;
        } else if (code != -EBADMSG) {
            leave(feeder);
            return;
        }
    }
}

static struct feeder *find_place(struct feed *feed)
{
    struct feeder *oldest = &feed->feeders[0];
    for (size_t i = 0; i < FEEDERS_MOST; i++) {
        struct feeder *feeder = &feed->feeders[i];
        if (!feeder->event) {
            return feeder;
        }
        oldest = feeder->since_ms < oldest->since_ms ? feeder : oldest;
    }
    leave(oldest);
    return oldest;
}

static void welcome(struct feed *feed, int fd)
{
    struct feeder *feeder = find_place(feed);
    struct timeval idle = timer_after(IDLE_MS);
    *feeder = (struct feeder){.feed = feed, .fd = fd, .since_ms = clock_monotonic_ms()};
    feeder->event = event_new(feed->tunnel->base, fd, EV_READ | EV_PERSIST, on_feeder, feeder);
    if (!feeder->event) {
        close(fd);
    } else if (event_add(feeder->event, &idle)) {
        leave(feeder);
    } else {
        on_feeder(fd, EV_READ, feeder); /* who comes has mostly sent all already */
    }
}

/* No descriptor left: take who waits with the reserve and send it away, or the loop would be
 * woken for it for ever. */
static void turn_away(struct feed *feed)
{
    close(feed->reserve);
    int fd = accept4(feed->listener, NULL, NULL, SOCK_CLOEXEC);
    if (fd >= 0) {
        close(fd);
    }
    feed->reserve = open("/dev/null", O_RDONLY | O_CLOEXEC);
}

/* Whether there may be more. */
static bool accept_some(struct feed *feed)
{
    for (int i = 0; i < ACCEPTS; i++) {
        int fd = unix_accept_same_uid(feed->listener, NULL);
        if (fd >= 0) {
            welcome(feed, fd);
        } else if (fd == -EMFILE || fd == -ENFILE) {
            turn_away(feed);
        } else if (fd == -EAGAIN) {
            return false;
        }
    }
    return true;
}

static void on_listener(evutil_socket_t fd, short what, void *argument)
{
    (void)fd;
    (void)what;
    accept_some(argument);
}

static void stop_listening(struct feed *feed)
{
    if (feed->event) {
        event_free(feed->event);
        feed->event = NULL;
    }
    if (feed->listener >= 0) {
        close(feed->listener);
        feed->listener = -1;
    }
}

/* The path leads to a new socket; who already connected to the one before is taken in first. */
static int listen_at_path(struct feed *feed, struct error *err)
{
    const char *path = feed->tunnel->feed_path;
    int fd = unix_listen(path, SOCK_SEQPACKET, BACKLOG, err);
    if (fd < 0) {
        return fd;
    }
    struct event *event =
        event_new(feed->tunnel->base, fd, EV_READ | EV_PERSIST, on_listener, feed);
    if (!event || event_add(event, NULL)) {
        if (event) {
            event_free(event);
        }
        close(fd);
        return error_set(err, -ENOMEM, "out of memory");
    }
    for (int i = 0; feed->listener >= 0 && i < BACKLOG / ACCEPTS && accept_some(feed); i++) {
    }
    stop_listening(feed);
    feed->listener = fd;
    feed->event = event;
    unix_file_note(path, &feed->bound);
    return 0;
}

int feed_check_path(struct tunnel *tunnel, struct error *err)
{
    bool gone = unix_file_look(tunnel->feed_path, &tunnel->feed->bound) == -ENOENT;
    return gone ? listen_at_path(tunnel->feed, err) : 0;
}

int feed_start(struct tunnel *tunnel, struct error *err)
{
    struct feed *feed = calloc(1, sizeof *feed);
    tunnel->feed = feed;
    if (!feed) {
        return error_set(err, -ENOMEM, "out of memory");
    }
    feed->tunnel = tunnel;
    feed->listener = -1;
    feed->reserve = open("/dev/null", O_RDONLY | O_CLOEXEC);
    return listen_at_path(feed, err);
}

void feed_finish(struct tunnel *tunnel)
{
    struct feed *feed = tunnel->feed;
    unix_file_remove(tunnel->feed_path, &feed->bound);
    for (size_t i = 0; i < FEEDERS_MOST; i++) {
        if (feed->feeders[i].event) {
            leave(&feed->feeders[i]);
        }
    }
    stop_listening(feed);
    close(feed->reserve);
    free(feed);
    tunnel->feed = NULL;
}
