/* A client that cannot be served: one that speaks HTTP gets a page that says why, any other is
 * closed. */
#ifndef TUNNEL_REFUSAL_H
#define TUNNEL_REFUSAL_H

#include <event2/event.h>

#include "common/page503.h"

struct refusals;

struct refusals *refusals_create(struct event_base *base); /* NULL: out of memory */
void refusals_destroy(struct refusals *refusals); /* closes who is left; NULL allowed */
/* Takes the client's socket; `what` is copied. */
void refusal_start(struct refusals *refusals, int fd, const struct page503 *what);
/* Likewise for a client whose first bytes were read already; 0 bytes: none were. */
void refusal_heard(struct refusals *refusals, int fd, const struct page503 *what,
    const char *first, size_t length);
/* Likewise at once, by what the client has said already. */
void refusal_now(int fd, const struct page503 *what);

#endif
