/* The inside of the connection with gearsd, shared by control.c and control_tell.c. */
#ifndef TUNNEL_CONTROL_PRIVATE_H
#define TUNNEL_CONTROL_PRIVATE_H

#include "common/link_door.h"
#include "common/unixsock.h"
#include "common/nonce.h"
#include "daemon/core/link_peer.h"
#include "daemon/tunnel/tunnel.h"

struct control {
    struct link_door door;
    struct unix_file bound; /* what we made at link_path */
    struct event *door_event;
    struct link_peer *controller; /* NULL: none now */
    int controller_fd;
    struct event *writable; /* NULL without a controller; waits while something is owed */
    unsigned owed;
    struct link_frame ran; /* what is owed */
    struct event *lonely;
    struct link_frame prompt; /* what a human is being asked; length 0: nothing */
    char prompt_id[NONCE_TEXT_SIZE];
};

/* control_tell.c */
void control_status(struct tunnel *tunnel, uint32_t request);
void control_tell_prompt(struct tunnel *tunnel); /* if one waits */
void control_on_writable(evutil_socket_t fd, short what, void *tunnel);
/* After the loop: gearsd is to learn how it ended and whether a human was needed; it has some
 * seconds to read. */
void control_pay_at_last(struct tunnel *tunnel);
/* The controller is gone, or another has come: it is told all by its HELLO, and runs its own
 * command. */
void control_leave(struct control *control);

#endif
