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
/* Wait for poll's `events` on fd (−1: only for an end). 0; -ETIMEDOUT; -ECANCELED; another
 * negative errno. */
int patience_wait(const struct patience *patience, int fd, short events);

/* Take a connected, non-blocking socket. NULL: out of memory (fd is closed). */
struct transport *transport_create(int fd);
/* Over an open channel of the session above `outer`; both are the caller's and outlive it. */
struct transport *transport_create_channel(LIBSSH2_CHANNEL *channel, struct transport *outer);
void transport_destroy(struct transport *transport); /* NULL is allowed; closes the socket */

/* A session that sends and receives through it, never blocks by itself and has its memory from
 * here: while there is patience, whatever it gives back is wiped, a human's answers with it.
 * The session's abstract pointer is the transport. Free it with transport_end_session. NULL:
 * out of memory. */
LIBSSH2_SESSION *transport_begin_session(struct transport *transport);
/* Say goodbye as far as that does not block, and free it with its channels. */
void transport_end_session(struct transport *transport, LIBSSH2_SESSION *session);
/* Memory that libssh2 will free. NULL: none. */
void *transport_allocate(struct transport *transport, size_t size);
/* Free this memory of libssh2's at the end unless it did; beyond a few it is not minded. */
void transport_mind(struct transport *transport, void *memory);

/* What a callback of libssh2 needs beside the transport; NULL at first. */
void transport_set_context(struct transport *transport, void *context);
void *transport_context(const struct transport *transport);

/* With patience libssh2's reading and transport_flush wait, without (NULL) they never do; so a
 * call that returns LIBSSH2_ERROR_EAGAIN is just made again. `patience` is the caller's and is
 * read at each wait. */
void transport_set_patience(struct transport *transport, const struct patience *patience);

/* Take at most `budget` bytes from the peer into the buffer; never waits. > 0: bytes; 0: it
 * closed; -EAGAIN; -ENOBUFS: more is unread than any peer may send unasked; another negative
 * errno. For a channel this fills the outer transport first. */
ssize_t transport_fill(struct transport *transport, size_t budget);
/* Send what is unsent: 0: all; -EAGAIN: some is left; another negative errno. For a channel the
 * outer transport is flushed too. */
int transport_flush(struct transport *transport);
/* The same, but it never waits, not even with patience. */
int transport_flush_now(struct transport *transport);
size_t transport_unsent(const struct transport *transport); /* here and in outer ones */
size_t transport_unread(const struct transport *transport); /* received, not read by libssh2 */
/* The socket at the bottom, to be waited for: to be read, and to be written when it has
 * something unsent. */
int transport_fd(const struct transport *transport);
bool transport_is_behind(const struct transport *transport);
/* What it is nested in; NULL: nothing. */
const struct transport *transport_outer(const struct transport *transport);
/* What the peer said first, for explaining a failed handshake. */
const uint8_t *transport_first_bytes(const struct transport *transport, size_t *length);
/* Why nothing more can be received: a negative errno, -ENOTCONN when the peer closed it,
 * -ETIMEDOUT and -ECANCELED when patience ended; 0: it works. */
int transport_failure(const struct transport *transport);
/* Drop what is buffered and make all later reads and sends fail with this negative errno. */
void transport_abort(struct transport *transport, int code);

#endif
