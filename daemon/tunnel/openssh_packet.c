/* Writing packets for the session channel; openssh_channel.c decides which. */
#include "daemon/tunnel/openssh_packet.h"

#include <errno.h>

enum { WINDOW = 256 * 1024, PACKET = 32 * 1024 };

void openssh_packet_begin(struct mux_packet *packet, enum message type)
{
    packet->length = 0;
    packet->too_long = false;
    mux_put_byte(packet, 0); /* no padding */
    mux_put_byte(packet, (uint8_t)type);
}

int openssh_send(struct openssh *openssh, const struct mux_packet *packet)
{
    return openssh->channel.mux ? mux_send(openssh->channel.mux, packet) : -ENOTCONN;
}

int openssh_send_plain(struct openssh *openssh, enum message type)
{
    struct mux_packet packet;
    openssh_packet_begin(&packet, type);
    mux_put(&packet, openssh->channel.remote);
    return openssh_send(openssh, &packet);
}

int openssh_send_open(struct openssh *openssh)
{
    struct openssh_channel *channel = &openssh->channel;
    struct mux_packet packet;
    openssh_packet_begin(&packet, MESSAGE_OPEN);
    mux_put_string(&packet, "session");
    mux_put(&packet, ++channel->id);
    mux_put(&packet, WINDOW);
    mux_put(&packet, PACKET);
    int code = openssh_send(openssh, &packet);
    if (!code) {
        channel->state = CHAN_OPENING;
        channel->used = false;
        channel->unread = 0;
        channel->reply_count = 0;
    }
    return code;
}

int openssh_send_request(struct openssh *openssh, const char *name, const char *argument)
{
    struct openssh_channel *channel = &openssh->channel;
    struct mux_packet packet;
    if (channel->reply_count == REPLIES_MOST) {
        return -EAGAIN;
    }
    openssh_packet_begin(&packet, MESSAGE_REQUEST);
    mux_put(&packet, channel->remote);
    mux_put_string(&packet, name);
    mux_put_byte(&packet, 1); /* wants a reply */
    if (argument) {
        mux_put_string(&packet, argument);
    }
    int code = openssh_send(openssh, &packet);
    if (!code) {
        channel->replies[channel->reply_count++] = argument ? REPLY_EXEC : REPLY_LIFE;
    }
    return code;
}
