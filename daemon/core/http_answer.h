/* The head of an HTTP/1.x answer, as far as a probe needs it. A pure function of bytes. */
#ifndef CORE_HTTP_ANSWER_H
#define CORE_HTTP_ANSWER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct http_answer {
    int status;      /* 100 … 599 */
    size_t body;     /* where it begins */
    uint64_t length; /* of the body; UINT64_MAX: until the connection ends */
};

/* 0: the head is whole; -EAGAIN: so far it may be one, more must come; -EBADMSG: it is none,
 * whatever comes. On failure *answer is untouched. */
int http_answer_parse(const char *bytes, size_t length, struct http_answer *answer);
/* Whether `length` bytes are all of it, head and body. */
bool http_answer_is_whole(const struct http_answer *answer, size_t length);

#endif
