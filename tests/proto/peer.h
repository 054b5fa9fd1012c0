/* Both ends of one connection in one process: a test speaks raw bytes to a service of its own
 * and hears what comes back. Nothing here waits for time: a pump ends when nothing is ready. */
#ifndef TESTS_PROTO_PEER_H
#define TESTS_PROTO_PEER_H

#include <stdbool.h>
#include <stddef.h>

#include "common/text.h"
#include "proto/varlink_service.h"

enum { HELD_LIMIT = 8 };

/* Zero-initialise, then peer_start. */
struct peer {
    struct varlink_service *service;
    struct varlink_connection *connection; /* NULL once the server's end is over */
    int fd;                                /* the client's end, −1 when closed */
    int server_fd;
    struct text in;
    size_t used;
    struct varlink_call *held[HELD_LIMIT]; /* calls of Hold and Stream, in order */
    int held_count, closed_count, changes, runs;
};

/* The test interface: Echo, Add, Shapes answer at once; Hold and Stream are answered by the
 * test. */
extern const char test_interface[];

/* Exits when the machine lacks memory or descriptors. */
void peer_start(struct peer *peer);
void peer_finish(struct peer *peer);

/* Serve what is ready. */
void peer_pump(struct peer *peer);
/* Send, pumping when the socket is full. False: the server's end is over. */
bool peer_send(struct peer *peer, const void *bytes, size_t length);
/* Send one JSON text and its NUL, and pump. */
bool peer_say(struct peer *peer, const char *json);
/* The next message, pumping; valid until the next call. NULL: there is none now. */
const char *peer_hear(struct peer *peer);
/* Take at most `limit` bytes from the socket and forget them, without pumping. */
size_t peer_skip(struct peer *peer, size_t limit);
void peer_leave(struct peer *peer);
/* Answer the held call `index`: final or not. */
int peer_answer(struct peer *peer, int index, const char *json, bool final);

#endif
