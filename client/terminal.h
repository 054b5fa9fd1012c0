/* The terminal of whoever sits at it, /dev/tty: questions, answers that nobody sees, keys. It
 * is set back by terminal_close, and by ^C through watch.h. */
#ifndef CLIENT_TERMINAL_H
#define CLIENT_TERMINAL_H

#include <stdbool.h>
#include <stddef.h>
#include <termios.h>

#include "common/error.h"

struct terminal {
    int fd;      /* −1: closed */
    bool unseen; /* what is typed now is not shown */
    struct termios before;
};

/* 0, or a negative errno: there is none. */
int terminal_open(struct terminal *terminal, struct error *err);
/* What was typed unseen and not read is forgotten: half a PASSCODE is no command. */
void terminal_close(struct terminal *terminal);

/* Print what a peer said: newlines and tabs stay, other control characters and broken UTF-8
 * become visible. */
void terminal_print(const struct terminal *terminal, const char *text);
/* Whether what is typed is shown; what was typed before is forgotten. */
void terminal_set_echo(struct terminal *terminal, bool echo);
/* Single keys, unseen, instead of lines. */
void terminal_set_keys(const struct terminal *terminal);

/* One line without its newline; `size` counts a NUL. 0; 1: `other` (a descriptor, −1 for none)
 * is readable, and what was typed so far is not lost; -EMSGSIZE: longer, all of it dropped;
 * -ENODATA: end of file (^D). Waits for ever. */
int terminal_read_line(const struct terminal *terminal, char *out, size_t size, int other);
/* A question without echo and its answer, which the caller wipes. 0 or a negative errno. */
int terminal_ask_secret(const char *question, char *out, size_t size, struct error *err);

#endif
