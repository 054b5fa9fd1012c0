/* A connection to the control socket of our ssh, as its PROTOCOL.mux has it: packets with a
 * length before each, on the loop. It begins by itself; then it is used either for forwards or
 * as a proxy for packets of the SSH connection protocol. */
#ifndef TUNNEL_OPENSSH_MUX_H
#define TUNNEL_OPENSSH_MUX_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <event2/event.h>

#include "common/error.h"

enum { MUX_PACKET_MOST = 256 * 1024, MUX_STREAM_PORT = -2 };

enum mux_type {
    MUX_HELLO = 0x00000001,
    MUX_OPEN_FORWARD = 0x10000006,
    MUX_CLOSE_FORWARD = 0x10000007,
    MUX_PROXY = 0x1000000f,
    MUX_OK = (int)0x80000001,
    MUX_DENIED = (int)0x80000002,
    MUX_FAILURE = (int)0x80000003,
    MUX_IS_PROXY = (int)0x8000000f,
    MUX_VERSION = 4,
    MUX_LOCAL = 1 /* a kind of forward */
};

/* A packet being written; it may not grow beyond its room, which is for paths and commands. */
struct mux_packet {
    uint8_t bytes[8192];
    size_t length;
    bool too_long;
};
void mux_put_byte(struct mux_packet *packet, uint8_t value);
void mux_put(struct mux_packet *packet, uint32_t value);
void mux_put_string(struct mux_packet *packet, const char *string);

struct mux;
struct mux_calls {
    /* After the greeting each packet, without its length; valid inside the call. */
    void (*packet)(void *context, const uint8_t *bytes, size_t length);
    void (*ready)(void *context);  /* the greeting is over */
    void (*closed)(void *context); /* destroy it from here or later */
};

/* Takes a connected, non-blocking socket. NULL: out of memory (fd is closed). */
struct mux *mux_create(
    struct event_base *base, int fd, const struct mux_calls *calls, void *context);
void mux_destroy(struct mux *mux); /* NULL is allowed; safe inside its own calls */
/* Take what has come by now, as the loop will do. */
void mux_hear(struct mux *mux);
/* 0; -E2BIG: the packet does not fit; -EAGAIN: ssh does not read. */
int mux_send(struct mux *mux, const struct mux_packet *packet);

#endif
