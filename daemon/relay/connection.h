/* A relayed connection, as the files that share the work on it see it: a client, the service,
 * and what is on its way between them. 9 500 idle ones should cost little: keep it small. */
#ifndef RELAY_CONNECTION_H
#define RELAY_CONNECTION_H

#include <stddef.h>
#include <sys/types.h>

#include "daemon/relay/relay.h"

enum phase {
    PHASE_WAITING,    /* for the service: it starts, or has no room */
    PHASE_REACHING,   /* it, or the tunnel, by a path that the thread walks */
    PHASE_CONNECTING, /* to the service, by TCP */
    PHASE_RELAYING,
    PHASE_LINGERING, /* one side left; the last bytes for the other are on their way */
    PHASE_PEEKING,   /* the service is down: does the client speak HTTP? */
    PHASE_LEAVING,   /* the client was told; it may still be talking */
};

struct backlog;
struct splice_pipe;

/* One end. Bytes on their way to it are kept in `backlog` or in `pipe`, never in both. */
struct end {
    struct source source;
    struct backlog *backlog;  /* what a short write left */
    struct splice_pipe *pipe; /* open while bulk flows to this end */
    uint8_t large_reads;      /* from this end, in a row */
    bool is_server, is_tcp;
    bool read_done;  /* its end of file was seen, or reading failed */
    bool write_done; /* the other's end of file was passed on to it */
    bool gone;       /* it takes nothing any more: what is for it is dropped */
};

struct connection {
    struct end client, server;
    struct service *service;
    struct connection *next, **back;
    int64_t deadline_ms; /* of the phase; 0: none */
    enum phase phase;
    bool dead, aborted; /* aborted: an end was reset, so the other will be */
};

static inline struct connection *end_connection(struct end *end)
{
    size_t offset = end->is_server ? offsetof(struct connection, server)
                                   : offsetof(struct connection, client);
    return (struct connection *)(void *)((char *)end - offset);
}

static inline struct end *end_other(struct end *end)
{
    struct connection *connection = end_connection(end);
    return end->is_server ? &connection->client : &connection->server;
}

static inline struct relay_counters *connection_counters(const struct connection *connection)
{
    return &connection->service->relay->counters[connection->service->slot];
}

/* connection.c */
/* Close both ends, as an abort where the socket knows aborts; memory goes after the round. */
void connection_finish(struct connection *connection, bool abort_it);
/* The next one who waits is told to gearsd again. */
void connection_waits_no_more(const struct connection *connection);
/* Ask epoll for what phase and state want of each end. May finish the connection. */
void connection_rearm(struct connection *connection);
/* Enter `phase`, to be left within `ms` (0: no bound). May finish the connection. */
void connection_enter(struct connection *connection, enum phase phase, int64_t ms);

/* connect.c: reaching the service. Each may finish the connection. */
void connect_try(struct connection *connection);
void connect_finished(struct connection *connection, uint32_t events); /* TCP's answer */
void connect_reached(struct connection *connection, int fd); /* the thread's; or an errno */
void connect_give_up(struct connection *connection); /* waited long enough, or it is down */

/* handover.c: give the client to the tunnel that `fd` leads to; takes it. 0: the connection is
 * finished here; -EAGAIN: the tunnel has no room now; or another negative errno. */
int handover_do(struct connection *connection, int fd);

/* reach.c: only where relay->reach is. */
/* Have `path` connected to with a socket of `type`: 0, and connect_reached follows; -EAGAIN:
 * too many are on the way; -ETIMEDOUT: the file server does not answer. */
int reach_submit(struct connection *connection, const char *path, int type);
void reach_forget(const struct connection *connection); /* connect_reached will not follow */
/* When the one that is being reached has taken too long, if it still is by then. */
int64_t reach_due_ms(struct reach *reach);
bool reach_is_stuck(struct reach *reach); /* NULL is never */

/* linger.c: the last bytes for an end, after all was moved. */
/* Whether there is such an end; the connection is then finished when they are delivered, or
 * after a while. May finish it. */
bool linger_start(struct connection *connection);
void linger_ready(struct end *end);

/* refusal.c: what a client gets while the service is down. Each may finish the connection. */
void refusal_start(struct connection *connection);
void refusal_ready(struct connection *connection, uint32_t events);

/* transfer.c */
/* What to wait for at `me` while relaying. */
uint32_t transfer_wants(struct end *me);
/* `events` happened at `me`: move bytes. May finish the connection. */
void transfer_ready(struct end *me, uint32_t events);
void transfer_drop(struct end *to); /* forget what is on its way to `to` */

/* splice.c: pipes for bulk. A pipe belongs to one direction of one connection until it is
 * closed and is never given to another: bytes left in one would reach a stranger. */
/* Give the direction a pipe, when one is to be had and is of use there. */
void splice_open(struct end *from, struct end *to);
void splice_close(struct end *to); /* whatever it holds */
bool splice_holds(const struct end *to);
/* Fill the empty pipe: bytes, 0 at the end of file, or a negative errno (-EAGAIN: no more now,
 * or the pipe was closed because the kernel cannot do this). */
ssize_t splice_fill(struct end *from, struct end *to);
/* Empty it as far as `to` takes it: 0, or a negative errno when it takes no more for good. An
 * empty pipe of a direction that is no bulk any more is closed. */
int splice_flush(struct end *to);

#endif
