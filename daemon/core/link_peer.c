/* Receiving frames with libevent; used for keepers and the relay. */
#include "daemon/core/link_peer.h"

#include <fcntl.h>
#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>
#include <unistd.h>

enum { MESSAGES_PER_ROUND = 64 };

struct link_peer {
    int fd;
    struct event *event;
    const struct link_peer_calls *calls;
    void *context;
    bool busy, doomed;
};

static uint8_t buffer[LINK_FRAME_LIMIT]; /* one loop, one frame at a time */

static void release(struct link_peer *peer)
{
    event_free(peer->event);
    close(peer->fd);
    free(peer);
}

static void on_readable(evutil_socket_t fd, short what, void *argument)
{
    (void)what;
    struct link_peer *peer = argument;
    bool reset = false;
    peer->busy = true;
    for (int i = 0; i < MESSAGES_PER_ROUND && !peer->doomed; i++) {
        struct link_message message;
        int code = link_receive((int)fd, buffer, &message);
        if (code == 1) {
            peer->calls->message(peer->context, &message);
            link_message_finish(&message);
        } else if (code == -EAGAIN) {
            break;
        } else if (code == 0 && !reset) {
            reset = true; /* who leaves with words unread resets first; its last words follow */
        } else if (code != -EBADMSG) {
            event_del(peer->event);
            peer->calls->closed(peer->context);
            break;
        }
    }
    peer->busy = false;
    if (peer->doomed) {
        release(peer);
    }
}

struct link_peer *link_peer_create(
    struct event_base *base, int fd, const struct link_peer_calls *calls, void *context)
{
    struct link_peer *peer = calloc(1, sizeof *peer);
    if (!peer) {
        close(fd);
        return NULL;
    }
    *peer = (struct link_peer){.fd = fd, .calls = calls, .context = context};
    int flags = fcntl(fd, F_GETFL);
    fcntl(fd, F_SETFL, flags | O_NONBLOCK);
    peer->event = event_new(base, fd, EV_READ | EV_PERSIST, on_readable, peer);
    if (!peer->event || event_add(peer->event, NULL)) {
        if (peer->event) {
            event_free(peer->event);
        }
        close(fd);
        free(peer);
        return NULL;
    }
    return peer;
}

int link_peer_send(struct link_peer *peer, struct link_frame *frame)
{
    return link_send(peer->fd, frame);
}

void link_peer_destroy(struct link_peer *peer)
{
    if (!peer) {
        return;
    }
    peer->doomed = true;
    if (!peer->busy) {
        release(peer);
    }
}
