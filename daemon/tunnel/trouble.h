/* A client that cannot be connected: what gearsd is told of its target, and the words and the
 * page that the client gets, whatever the transport. */
#ifndef TUNNEL_TROUBLE_H
#define TUNNEL_TROUBLE_H

#include <stddef.h>

#include "common/page503.h"
#include "daemon/tunnel/tunnel.h"

/* Tell gearsd, and count it as failed. `code` is a positive errno. */
void trouble_tell(
    struct tunnel *tunnel, const char *target, const char *service, int code, const char *why);

/* What a server means that refused a channel to `target` with these words: a positive errno and
 * a sentence. */
int trouble_explain(const char *target, const char *words, char *why, size_t size);

/* A page and the texts it points to; not to be copied. */
struct trouble_page {
    char cause[600], command[80];
    struct page503 page;
};
/* The service is not reached, for `why`, since now; its status tells more. The caller may
 * change the command and the time. */
void trouble_page(struct trouble_page *made, const char *service, const char *why);

#endif
