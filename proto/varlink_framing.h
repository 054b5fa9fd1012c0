/* Bytes to messages: each ends with a NUL byte. Free of sockets; both ends of a connection
 * read through it. */
#ifndef PROTO_VARLINK_FRAMING_H
#define PROTO_VARLINK_FRAMING_H

#include <stddef.h>

struct varlink_framing {
    char *data;
    size_t length, capacity;
    size_t used;    /* taken by messages that were given out */
    size_t scanned; /* no NUL before here */
    size_t limit;   /* a message and its NUL have at most so many bytes */
};

/* Zero-initialise but for the limit. */
void varlink_framing_finish(struct varlink_framing *framing);

/* Room for `size` more bytes, to be written behind what is there; may move messages given out.
 * NULL: out of memory. */
char *varlink_framing_room(struct varlink_framing *framing, size_t size);
/* So many of them were written. */
void varlink_framing_add(struct varlink_framing *framing, size_t size);

/* The next message, valid until the next call of room or finish, its NUL in place. 1: there it
 * is; 0: not whole yet; -EMSGSIZE: longer than the limit, and so it will stay. */
int varlink_framing_next(struct varlink_framing *framing, char **message, size_t *length);

/* Bytes of what is not given out yet. */
size_t varlink_framing_waiting(const struct varlink_framing *framing);
/* Whether bytes wait that no call of next has seen. */
int varlink_framing_has_news(const struct varlink_framing *framing);

#endif
