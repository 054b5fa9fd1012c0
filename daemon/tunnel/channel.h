/* One relayed client: from its arrival through the queue of opens to the end of both halves. */
#ifndef TUNNEL_CHANNEL_H
#define TUNNEL_CHANNEL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <libssh2.h>

#include "common/unixsock.h"

struct session;

enum channel_state {
    CHANNEL_WAITING, /* for its turn to be opened */
    CHANNEL_OPENING, /* the server was asked */
    CHANNEL_RELAYING,
    CHANNEL_CLOSING, /* the client is gone, the server does not know yet */
    CHANNEL_DEAD     /* freed after the round */
};

/* Bytes one end did not take; nothing more is read for it meanwhile. */
struct backlog {
    uint32_t at, end;
    char bytes[];
};

struct channel {
    struct session *session;
    struct channel *next, *previous; /* the session's ring; `next` alone when dead */
    struct channel *behind;          /* in the queue of opens */
    enum channel_state state;
    int fd;            /* the client's; −1: gone */
    uint32_t interest; /* what epoll was asked for; 0: not known to it */
    LIBSSH2_CHANNEL *ssh;
    struct backlog *to_client, *to_server;
    int64_t arrived_ms;
    bool readable;             /* the client said something, or ended */
    bool may_read;             /* the server may have said something */
    bool hung_up;              /* the client is gone altogether: nobody reads what is for it */
    bool deaf;                 /* likewise, but it may go on saying something */
    bool client_eof, eof_sent; /* towards the server */
    bool server_eof, shut, server_closed;
    char target[UNIX_PATH_SIZE], service[40];
};

struct channel *channel_create(
    struct session *session, int fd, const char *target, const char *service);
/* epoll told of its client. */
void channel_event(struct channel *channel, uint32_t events);
/* Its open succeeded. */
void channel_opened(struct channel *channel, LIBSSH2_CHANNEL *ssh);
/* Move bytes, a turn's worth each way. True when there is more to do at once. */
bool channel_pump(struct channel *channel);
/* Have epoll wait for what the state needs. */
void channel_update(struct channel *channel);
/* Hand the client's socket to the caller; the channel is dead. */
int channel_take_client(struct channel *channel);
void channel_free(struct channel *channel); /* only the session calls it */

#endif
