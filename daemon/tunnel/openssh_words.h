/* What ssh prints, line by line: for the human who is asked next, for the reason of its end.
 * Pure, on memory. */
#ifndef TUNNEL_OPENSSH_WORDS_H
#define TUNNEL_OPENSSH_WORDS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/link_messages.h"

/* REFUSED_MS: whoever waits for the open that was refused learns of its end at once. */
enum { WORDS_SAID_MOST = 4096, REFUSED_MOST = 1024, REFUSED_MS = 1000 };

struct openssh_words {
    char line[1024]; /* the one that is not over yet */
    size_t length;
    char said[WORDS_SAID_MOST]; /* since the last question, as it came */
    size_t said_length;
    char last[300];               /* line, made visible */
    char detail[300];             /* of a changed host key */
    enum link_tunnel_cause cause; /* that some line told; 0: none */
    bool asks_more;               /* "Permission denied" named a method that asks a human */
    unsigned logins;              /* told of by now: of jump hosts, then of the server */
    char address[64], method[32]; /* once logged in */
    int64_t now_ms;               /* CLOCK_MONOTONIC: the caller says before it feeds */
    /* Channels that the server did not open, not yet taken: when that was told, in a ring. */
    int64_t refused_ms[REFUSED_MOST];
    size_t first_refused, refused;
    char reason[160]; /* of the last of them */
};

/* More output. `touch` is called for each line that wants a human's hand at once ("Confirm user
 * presence …"), made visible; NULL is allowed. */
void words_feed(struct openssh_words *words, const char *bytes, size_t length,
    void (*touch)(void *context, const char *line), void *context);
/* Nothing more comes: an unended line counts. */
void words_finish(struct openssh_words *words);
/* Take one of the channels that were refused of late: its reason, or NULL: there is none. */
const char *words_take_refused(struct openssh_words *words);
/* So many at most can be somebody's: drop what is more, the oldest first. */
void words_limit_refused(struct openssh_words *words, size_t most);
/* Whether a prompt asks about a host's key, and not for a secret. */
bool words_is_host_key(const char *prompt);

#endif
