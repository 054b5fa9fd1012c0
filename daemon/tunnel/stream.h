/* Bytes between two stream sockets: half-closes, ends and back-pressure pass through, and
 * neither end is read while the other holds back. Pure but for the sockets: who waits for them
 * (epoll) asks what for. */
#ifndef TUNNEL_STREAM_H
#define TUNNEL_STREAM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <event2/event.h>

#include "common/unixsock.h"

enum { STREAM_FIRST_BYTES = 16 };

struct openssh;
struct target;
struct stream;

struct stream_end {
    struct stream *stream;
    int fd;            /* −1: none */
    uint32_t interest; /* what epoll was asked for; 0: not known to it */
    bool readable;     /* it said something, or ended */
    bool eof;          /* it says nothing more */
    bool deaf;         /* it takes nothing more */
    bool shut;         /* it was told that nothing more comes */
    bool hung_up;      /* it is gone altogether */
    char *held;        /* bytes that it did not take */
    uint32_t at, end;
};

struct stream {
    struct openssh *openssh;
    struct stream *next, *previous;
    enum { STREAM_WAITS, STREAM_TRIES, STREAM_RELAYS, STREAM_DEAD } state;
    struct stream_end client, server;
    struct target *target;
    char path[UNIX_PATH_SIZE], service[40];
    char first[STREAM_FIRST_BYTES]; /* of the client's */
    size_t first_length;
    bool answered;    /* the server said something, or it is known that it will not */
    bool tried_again; /* with another socket of ssh */
    bool asked;       /* whether the server still lives, for this one */
    int64_t arrived_ms;
    struct event *late;
};

/* Move what can be moved now, at most a turn's worth each way; adds to the counts. True when
 * there is more to do at once. */
bool stream_pump(struct stream *stream, uint64_t *from_client, uint64_t *from_server);
bool stream_is_done(const struct stream *stream);
/* What epoll is to wait for at this end. */
uint32_t stream_interest(const struct stream *stream, const struct stream_end *end);
/* epoll told of it. */
void stream_event(struct stream_end *end, uint32_t events);
void stream_close_end(struct stream_end *end);

#endif
