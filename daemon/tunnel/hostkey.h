/* Whether a server is the one it should be: what is known of its host keys, read before the
 * handshake, and the judgement after it. */
#ifndef TUNNEL_HOSTKEY_H
#define TUNNEL_HOSTKEY_H

#include "daemon/tunnel/login_private.h"

struct hostkey_book;

/* Read the hop's known_hosts files; those that are missing know nothing. NULL: the cause is
 * set. */
struct hostkey_book *hostkey_read(struct login *login, const struct ssh_hop *hop);
void hostkey_close(struct hostkey_book *book); /* NULL is allowed */

/* The order in which host key algorithms are asked for: known types first. */
void hostkey_order(const struct hostkey_book *book, char *out, size_t size);

/* After the handshake. 0: it is the server, recorded if it was not known; −1: the cause is set,
 * and nothing secret was sent. May ask. */
int hostkey_check(struct login *login, const struct ssh_hop *hop, struct ssh_link *link,
    const struct hostkey_book *book);

#endif
