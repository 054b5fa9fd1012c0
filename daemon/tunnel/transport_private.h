/* The inside of a transport, shared by transport.c and transport_session.c only. */
#ifndef TUNNEL_TRANSPORT_PRIVATE_H
#define TUNNEL_TRANSPORT_PRIVATE_H

#include "daemon/tunnel/transport.h"

/* Bytes from `start` to `end` of a growing buffer. */
struct transport_bytes {
    uint8_t *data;
    size_t start, end, capacity;
};

struct transport {
    int fd; /* −1: over a channel */
    LIBSSH2_CHANNEL *channel;
    struct transport *outer;
    const struct patience *patience;
    void *context;
    struct transport_bytes in, out;
    int failure;      /* of receiving, or an abort; it stays */
    int send_failure; /* what came before may still be read */
    bool has_session;
    void *minded[8]; /* what libssh2 may forget */
    size_t first_length;
    uint8_t first[TRANSPORT_FIRST_BYTES];
};

/* For libssh2: as recv and send, with a negative errno. */
ssize_t transport_receive(struct transport *transport, void *buffer, size_t length);
ssize_t transport_send(struct transport *transport, const void *bytes, size_t length);

#endif
