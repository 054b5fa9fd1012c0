/* One SSH server on the way, as a tunnel is told of it: what `ssh -G` and gears.conf say.
 * Travels as the text of a record (common/record.h) in LINK_TAG_SSH_HOP. */
#ifndef COMMON_SSH_HOP_H
#define COMMON_SSH_HOP_H

#include <stdbool.h>
#include <stddef.h>

#include "common/error.h"

enum { SSH_HOP_LIST = 16 };

/* Strings are heap copies, NULL when not said; lists end with NULL. */
struct ssh_hop {
    char *name; /* what the user calls it: the Host of ssh_config; also for messages */
    char *host; /* HostName to connect to */
    int port;   /* 1 to 65535 */
    char *user;
    char *alias; /* whose host key counts (HostKeyAlias); NULL: host, with [host]:port */
    char *agent; /* path of the agent's socket; NULL: none */
    bool agent_of_caller; /* ssh_config leaves the agent to SSH_AUTH_SOCK; gearsd's own use */
    bool proxied; /* reached through a ProxyJump or ProxyCommand, which ssh itself follows */
    bool identities_only;                /* of the agent's keys only those in `identities` */
    char *identities[SSH_HOP_LIST + 1];  /* private key files, those that may be missing too */
    char *known_hosts[SSH_HOP_LIST + 1]; /* files; a confirmed key goes into the first */
    /* "SHA256:…" published by the site: as good as known. */
    char *fingerprints[SSH_HOP_LIST + 1];
};

struct ssh_hop *ssh_hop_create(void);      /* zeroed, port 22; NULL: out of memory */
void ssh_hop_destroy(struct ssh_hop *hop); /* NULL is allowed */
/* Append a copy to one of the lists. 0, -E2BIG, -ENOMEM. */
int ssh_hop_append(char *list[SSH_HOP_LIST + 1], const char *value);
/* Replace a string field by a copy. 0 or -ENOMEM. */
int ssh_hop_put(char **field, const char *value);

/* The text of its record on the heap, the caller frees; NULL when out of memory or too long. */
char *ssh_hop_format(const struct ssh_hop *hop, size_t *length);
/* 0, or -EBADMSG with words; *hop belongs to the caller. */
int ssh_hop_parse(const char *text, size_t length, struct ssh_hop **hop, struct error *err);

#endif
