/* The one line that `gearsctl daemon report` prints on a login node, found behind whatever the
 * shell's start-up files print there. Pure: bytes in, a text out; read and fuzzed without a
 * server. The line is
 *
 *     @gears-report 1 {json}
 *
 * and counts only when the word stands at the line's start (a line starts after \n or \r), the
 * rest is one object in braces without control characters, and a newline ends it. Anything else
 * is noise, of which the end is kept for the error message. */
#ifndef TUNNEL_REPORT_H
#define TUNNEL_REPORT_H

#include <stdbool.h>
#include <stddef.h>

enum {
    REPORT_NOISE_MOST = 64 * 1024, /* bytes before the line */
    REPORT_TEXT_MOST = 64 * 1024,  /* of {json} */
    REPORT_LAST_MOST = 4096        /* of the noise that are kept */
};

struct report {
    enum report_place { REPORT_WORD, REPORT_SKIP, REPORT_TEXT, REPORT_CR, REPORT_FOUND } place;
    size_t matched;     /* bytes of the word, while at its place */
    char *text;         /* {json}, NUL-terminated, once found; owned by the report */
    size_t length;      /* of text */
    size_t noise;       /* bytes seen that are not the report */
    char *last;         /* a ring of what came last */
    size_t last_length; /* ever put there */
};

/* 0 or -ENOMEM. */
int report_init(struct report *report);
void report_finish(struct report *report);
/* More output. 1: `text` has the report (what follows is ignored); 0: not yet; -EMSGSIZE: more
 * noise than is sensible. */
int report_feed(struct report *report, const char *bytes, size_t length);
/* Copy the end of the output so far into `out` (REPORT_LAST_MOST bytes); its length. */
size_t report_last(const struct report *report, char *out);

#endif
