/* One internal-protocol connection on gearsd's loop. */
#ifndef CORE_LINK_PEER_H
#define CORE_LINK_PEER_H

#include <event2/event.h>

#include "common/link.h"

struct link_peer;

struct link_peer_calls {
    void (*message)(void *context, struct link_message *message);
    void (*closed)(void *context); /* the peer is gone; destroy the object from here or later */
};

/* Takes `fd` (SEQPACKET, made non-blocking). NULL when out of memory (fd is then closed). */
struct link_peer *link_peer_create(
    struct event_base *base, int fd, const struct link_peer_calls *calls, void *context);
/* 0 or a negative errno; the frame is finished. -EAGAIN: the peer does not read (stopped). */
int link_peer_send(struct link_peer *peer, struct link_frame *frame);
/* Safe inside its own calls. */
void link_peer_destroy(struct link_peer *peer);

#endif
