/* A logged-in link on the loop: reading and writing its socket within budgets, its channels,
 * the queue of opens, the one session channel, the keepalive. */
#ifndef TUNNEL_SESSION_H
#define TUNNEL_SESSION_H

#include <stdbool.h>
#include <stdint.h>

#include "daemon/tunnel/channel.h"
#include "daemon/tunnel/opens.h"
#include "daemon/tunnel/run.h"
#include "daemon/tunnel/silence.h"
#include "daemon/tunnel/tunnel.h"

enum { ROUND_BUDGET = 256 * 1024 }; /* bytes read from the server in a round */

struct session {
    struct tunnel *tunnel;
    struct ssh_link *link;
    struct event *socket; /* the socket at the bottom */
    short armed;          /* what `socket` waits for */
    struct event *again;  /* run another round at once */
    int clients;          /* epoll: the clients' sockets, see channel.c */
    struct event *clients_event;
    struct channel *channels; /* a ring, from whose turn is first in the next round */
    size_t channel_count;
    uint64_t moved; /* bytes until memory was last given back */
    struct opens opens;
    struct run run;
    struct silence silence;
    bool fed; /* bytes came from the server since the last round */
    int lost; /* 0, or why the connection ended: a negative errno, or 1 when it was closed */
    char why[256]; /* what the server said when it ended it */
};

/* session.c */
/* Takes the link. NULL with words. */
struct session *session_create(struct tunnel *tunnel, struct ssh_link *link, struct error *err);
/* Close all clients, those that wait for their open with a page; at once. NULL is allowed. */
void session_destroy(struct session *session);
void session_round(struct session *session); /* do all that can be done now; a bounded while */
void session_wake(struct session *session);  /* a round follows soon */
/* libssh2 gave this code for something that fails only when the session does; true when the
 * session is over. EAGAIN and the channel's own errors are not. */
bool session_is_broken(struct session *session, int code);
/* No channel may be written: too much is unsent. */
bool session_is_full(const struct session *session);
/* libssh2's words for what went wrong last, made visible. */
void session_last_words(struct session *session, char *out, size_t size);

/* clients.c */
/* Take a client's socket and connect it with `target` on the server. 0, or a negative errno:
 * no room, the socket stays the caller's. */
int session_add(struct session *session, int fd, const char *target, const char *service);
/* The client cannot be connected: it gets a page if it speaks HTTP, and is closed. */
void session_refuse(struct session *session, struct channel *channel, const char *why);
/* A channel was opened for a client that has left: close it. */
void session_orphan(struct session *session, LIBSSH2_CHANNEL *ssh);
void clients_settle(struct session *session); /* free the dead, wait for what the others need */
void clients_close(struct session *session);  /* all of them, at once */

#endif
