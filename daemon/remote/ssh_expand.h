/* ~ and %-tokens in the paths that `ssh -G` prints as they were written. */
#ifndef REMOTE_SSH_EXPAND_H
#define REMOTE_SSH_EXPAND_H

#include <stdbool.h>

#include "common/error.h"

/* What the tokens stand for; strings are the caller's and not NULL, but for `alias`. */
struct ssh_tokens {
    const char *original; /* %n, as it was asked for */
    const char *host;     /* %h */
    const char *alias;    /* %k where there is one, else `original` */
    const char *user;     /* %r */
    int port;             /* %p */
};

/* The absolute path that `value` of the key `name` means: ~, ~user, ${VAR} and %-tokens
 * replaced. `lenient`: newer ssh has replaced them already, so that a token nobody knows is
 * part of a name. *out is on the heap. 0, -EINVAL with words, -ENOMEM. Blocking: looks up
 * users. */
int ssh_expand(const char *name, const char *value, const struct ssh_tokens *tokens,
    bool lenient, char **out, struct error *err);

#endif
