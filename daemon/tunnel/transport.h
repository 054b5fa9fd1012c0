/* The bytes below an SSH session: a TCP socket, or a channel of an outer session (ProxyJump).
 * libssh2 always finds room to send (a packet written by halves would forbid every other one)
 * and reads from a buffer that is filled here, so that the caller decides how much a round may
 * take. While logging in, on a thread of its own, reading waits; on the loop nothing does. */
#ifndef TUNNEL_TRANSPORT_H
#define TUNNEL_TRANSPORT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include <libssh2.h>

enum {
    TRANSPORT_HIGH_WATER = 512 * 1024, /* more unsent: write no channel until it has drained */
    TRANSPORT_FIRST_BYTES = 8192       /* of the peer's are kept: its banner and KEXINIT */
};

struct transport;

/* How long a login step may wait: until then (CLOCK_MONOTONIC ms), or until cancel_fd is
 * readable. */
struct patience {
    int cancel_fd;
    int64_t until_ms;
};

/* Take a connected, non-blocking socket. NULL: out of memory (fd is closed). */
struct transport *transport_create(int fd);
/* Over an open channel of the session above `outer`; both stay the caller's and must outlive it.
 */
struct transport *transport_create_channel(LIBSSH2_CHANNEL *channel, struct transport *outer);
void transport_destroy(struct transport *transport); /* NULL is allowed; closes the socket */

/* Make `session` send and receive through it. */
void transport_attach(struct transport *transport, LIBSSH2_SESSION *session);
/* With patience reading and flushing wait, without (NULL) they never do. `patience` is the
 * caller's and is read at each wait. */
void transport_set_patience(struct transport *transport, const struct patience *patience);

/* Take at most `budget` bytes from the peer into the buffer. > 0: bytes; 0: it closed; -EAGAIN;
 * another negative errno. For a channel this fills the outer transport first. */
ssize_t transport_fill(struct transport *transport, size_t budget);
/* Send what is unsent: 0: all; -EAGAIN: some is left; another negative errno. For a channel the
 * outer transport is flushed too. */
int transport_flush(struct transport *transport);
size_t transport_unsent(const struct transport *transport); /* here and in outer ones */
size_t transport_unread(const struct transport *transport); /* received, not read by libssh2 */
/* When bytes last came, CLOCK_MONOTONIC ms; at first the time of creation. */
int64_t transport_heard_ms(const struct transport *transport);
/* The socket at the bottom, to be waited for. */
int transport_fd(const struct transport *transport);
/* What the peer said first, for explaining a failed handshake. */
const uint8_t *transport_first_bytes(const struct transport *transport, size_t *length);
/* Make pending and later reads fail with this negative errno. */
void transport_abort(struct transport *transport, int code);

#endif
