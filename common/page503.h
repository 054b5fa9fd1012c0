/* What a browser gets when nobody can serve it: gears-relay tells it of a stopped service,
 * gears-tunnel of one that cannot be reached through its hop. Needs nothing but libc. */
#ifndef COMMON_PAGE503_H
#define COMMON_PAGE503_H

#include <stddef.h>
#include <stdint.h>

/* No pointer is NULL. A name with '@' is one behind a hop, told to be out of reach. */
struct page503 {
    const char *name;    /* "lab", "lab@andes" */
    const char *cause;   /* "STATE: CAUSE", or "STATE" */
    const char *command; /* what helps, when typed on this host; "": nothing has to be typed */
    int64_t since_us;    /* UTC microseconds */
};

/* The whole HTTP answer; the caller frees. NULL: no memory. */
char *page503_make(const struct page503 *what, size_t *length);
/* Whether the bytes begin an HTTP request: 1 yes, 0 no, −1 too few to tell. */
int page503_is_http(const char *bytes, size_t length);

#endif
