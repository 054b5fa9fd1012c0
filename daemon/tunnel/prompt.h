/* What a server says to a human, made safe to show. Pure. */
#ifndef TUNNEL_PROMPT_H
#define TUNNEL_PROMPT_H

#include <stddef.h>

/* On the heap, at most `most` bytes and cut with "...": as it is, but for control characters,
 * bytes that are no UTF-8 and what turns the direction of writing, which become \xNN. Newlines
 * stay, "\r\n" is one. NULL: out of memory. */
char *prompt_text(const char *bytes, size_t length, size_t most);
/* The same in one line, without blanks at its ends. */
char *prompt_line(const char *bytes, size_t length, size_t most);

#endif
