/* Packets of the connection protocol (RFC 4254) for the one session channel, as ssh's control
 * socket takes them from a proxy client. */
#ifndef TUNNEL_OPENSSH_PACKET_H
#define TUNNEL_OPENSSH_PACKET_H

#include "daemon/tunnel/openssh_private.h"

enum message {
    MESSAGE_OPEN = 90,
    MESSAGE_CONFIRMED = 91,
    MESSAGE_REFUSED = 92,
    MESSAGE_WINDOW = 93,
    MESSAGE_DATA = 94,
    MESSAGE_MORE_DATA = 95,
    MESSAGE_EOF = 96,
    MESSAGE_CLOSE = 97,
    MESSAGE_REQUEST = 98,
    MESSAGE_YES = 99,
    MESSAGE_NO = 100
};

void openssh_packet_begin(struct mux_packet *packet, enum message type);
/* Each: 0 or a negative errno, and then nothing was sent. */
int openssh_send(struct openssh *openssh, const struct mux_packet *packet);
int openssh_send_plain(struct openssh *openssh, enum message type); /* of the channel alone */
/* Open the channel: CHAN_OPENING. */
int openssh_send_open(struct openssh *openssh);
/* A request that must be answered: "exec" with its argument, or a sign of life without. */
int openssh_send_request(struct openssh *openssh, const char *name, const char *argument);

#endif
