/* Reading known_hosts text as OpenSSH writes it: hashed names, [host]:port, lists, patterns,
 * negation, @revoked, @cert-authority. Pure, on memory; what is no entry is passed over. */
#ifndef TUNNEL_KNOWN_HOSTS_H
#define TUNNEL_KNOWN_HOSTS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "daemon/tunnel/sshkey.h"

enum {
    KNOWN_HOSTS_LINE_MOST = 32 * 1024,       /* longer lines are none */
    KNOWN_HOSTS_FILE_MOST = 16 * 1024 * 1024 /* a reader's bound */
};

enum known_mark { KNOWN_KEY, KNOWN_REVOKED, KNOWN_AUTHORITY };

struct known_entry {
    enum known_mark mark;
    int line; /* from 1 */
    char type[SSHKEY_TYPE_SIZE];
    const uint8_t *blob; /* valid inside the call */
    size_t blob_length;
};

/* Call `each` for every entry that is about `name`: an alias or host as it is, "[host]:port"
 * for another port than 22. Upper and lower case are the same. */
void known_hosts_scan(const char *text, size_t length, const char *name,
    void (*each)(void *context, const struct known_entry *entry), void *context);

/* The name a server is looked up and recorded by: `alias` when there is one. False: it does not
 * fit or could not stand in a line. */
bool known_hosts_name(const char *alias, const char *host, int port, char *out, size_t size);

/* A line to append, with its newline, on the heap; NULL: out of memory. */
char *known_hosts_line(const char *name, const uint8_t *blob, size_t blob_length);

#endif
