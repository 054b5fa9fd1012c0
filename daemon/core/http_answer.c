/* Reading the head of an HTTP answer: "HTTP/1.x NNN words", header lines, an empty line. */
#include "daemon/core/http_answer.h"

#include <errno.h>
#include <string.h>
#include <strings.h>

/* '0' stands for any digit, the rest for itself. */
static const char pattern[] = "HTTP/1.0 000";
enum { PATTERN_LENGTH = sizeof pattern - 1, STATUS_AT = PATTERN_LENGTH - 3 };

static bool matches(char byte, char wanted)
{
    return wanted == '0' ? byte >= '0' && byte <= '9' : byte == wanted;
}

/* Behind the empty line, 0 when there is none yet. Lines may end without a carriage return. */
static size_t find_body(const char *bytes, size_t length)
{
    const char *end = bytes + length;
    for (const char *at = bytes; (at = memchr(at, '\n', (size_t)(end - at)));) {
        at++;
        if (end - at >= 1 && at[0] == '\n') {
            return (size_t)(at + 1 - bytes);
        }
        if (end - at >= 2 && at[0] == '\r' && at[1] == '\n') {
            return (size_t)(at + 2 - bytes);
        }
    }
    return 0;
}

/* The value of Content-Length in the lines of a whole head. Whoever sends something else there
 * is read until the connection ends. */
static uint64_t find_length(const char *head, size_t size)
{
    static const char name[] = "Content-Length:";
    enum { NAME_LENGTH = sizeof name - 1, DIGITS_MOST = 18 };
    const char *end = head + size, *at = head;
    while ((at = memchr(at, '\n', (size_t)(end - at))) && end - ++at > NAME_LENGTH) {
        if (strncasecmp(at, name, NAME_LENGTH) != 0) {
            continue;
        }
        uint64_t value = 0;
        int digits = 0;
        for (at += NAME_LENGTH; at < end && (*at == ' ' || *at == '\t'); at++) {
        }
        for (; at < end && *at >= '0' && *at <= '9' && digits <= DIGITS_MOST; at++) {
            value = value * 10 + (uint64_t)(*at - '0');
            digits++;
        }
        return digits && digits <= DIGITS_MOST ? value : UINT64_MAX;
    }
    return UINT64_MAX;
}

bool http_answer_is_whole(const struct http_answer *answer, size_t length)
{
    return answer->length <= length - answer->body;
}

int http_answer_parse(const char *bytes, size_t length, struct http_answer *answer)
{
    for (size_t i = 0; i < length && i < PATTERN_LENGTH; i++) {
        if (!matches(bytes[i], pattern[i])) {
            return -EBADMSG;
        }
    }
    if (length <= PATTERN_LENGTH) {
        return -EAGAIN;
    }
    const char *digits = bytes + STATUS_AT;
    int status = (digits[0] - '0') * 100 + (digits[1] - '0') * 10 + (digits[2] - '0');
    char after = bytes[PATTERN_LENGTH];
    if (status < 100 || status > 599 || (after != ' ' && after != '\r' && after != '\n')) {
        return -EBADMSG;
    }
    size_t body = find_body(bytes, length);
    if (!body) {
        return -EAGAIN;
    }
    bool bare = status < 200 || status == 204 || status == 304;
    *answer = (struct http_answer){status, body, bare ? 0 : find_length(bytes, body)};
    return 0;
}
