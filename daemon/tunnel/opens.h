/* libssh2 opens one channel of a session at a time: the queue of clients that wait for theirs,
 * the session channel, and questions for a sign of life, which are opens as well: of a type no
 * server knows, so that it says no. (The answers to libssh2's own keepalives stay in its memory
 * for ever and slow down every read; and without a channel only an open makes it read.) */
#ifndef TUNNEL_OPENS_H
#define TUNNEL_OPENS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <event2/event.h>
#include <libssh2.h>

#include "common/error.h"
#include "daemon/tunnel/rtt.h"

struct session;
struct channel;

enum { OPENS_WAITING_MOST = 1024, OPEN_DEADLINE_MS = 30000 };

struct opens {
    struct session *session;
    enum open_kind { OPEN_NONE, OPEN_CLIENT, OPEN_RUN, OPEN_PROBE } pending;
    struct channel *channel;      /* of a pending OPEN_CLIENT; NULL: it left meanwhile */
    struct channel *first, *last; /* clients that wait */
    size_t waiting;
    bool wants_run, wants_probe;
    bool run_closed; /* and nothing was answered since */
    bool asked;      /* the pending one was handed to libssh2 */
    int64_t sent_ms, settle_ms;
    char message[128]; /* of the pending one */
    unsigned length, window;
    struct event *timer; /* the next deadline */
    struct rtt rtt;
};

/* 0 or -ENOMEM. */
int opens_init(struct opens *opens, struct session *session);
void opens_finish(struct opens *opens);
/* Queue a client. 0, or -EAGAIN when too many wait. */
int opens_add(struct opens *opens, struct channel *channel);
/* The client leaves the queue; safe when it is not in it. */
void opens_remove(struct opens *opens, struct channel *channel);
/* Open the session channel next; run_opened follows. */
void opens_run(struct opens *opens);
void opens_forget_run(struct opens *opens);
/* The session channel was closed. sshd counts it until it comes round to freeing it: another
 * answer is awaited before the next one is opened. */
void opens_run_closed(struct opens *opens);
/* Ask for a sign of life. False when the answer to something else is awaited already. */
bool opens_probe(struct opens *opens);
/* Go on with the pending open and begin the next. `fed`: bytes came since the last call. */
void opens_pump(struct opens *opens, bool fed);

#endif
