/* The head of an HTTP answer: whole, not yet whole, none. */
#include <errno.h>

#include "daemon/core/http_answer.h"
#include "tests/unit/check.h"

static void reads_whole_heads(void)
{
    static const struct {
        const char *text;
        int status;
        const char *body;
    } good[] = {{"HTTP/1.1 200 OK\r\nA: b\r\n\r\nbody\r\n\r\n", 200, "body\r\n\r\n"},
        {"HTTP/1.0 302 Found\r\n\r\n", 302, ""}, {"HTTP/1.1 503\r\n\r\n", 503, ""},
        {"HTTP/1.1 404 \n\nx", 404, "x"}, {"HTTP/1.1 100 Go on\r\n\r\n", 100, ""},
        {"HTTP/1.1 599\n\n", 599, ""}};
    for (size_t i = 0; i < sizeof good / sizeof *good; i++) {
        struct http_answer answer = {0};
        const char *text = good[i].text;
        size_t head = strlen(text) - strlen(good[i].body);
        CHECK_INT(http_answer_parse(text, strlen(text), &answer), 0);
        CHECK_INT(answer.status, good[i].status);
        CHECK_STRING(text + answer.body, good[i].body);
        for (size_t cut = 0; cut < head; cut++) {
            CHECK_INT(http_answer_parse(text, cut, &answer), -EAGAIN);
        }
    }
}

static void tells_where_it_ends(void)
{
    static const struct {
        const char *text;
        int64_t length; /* −1: at the end of the connection */
    } heads[] = {{"HTTP/1.1 200 OK\r\nContent-Length: 12\r\n\r\n", 12},
        {"HTTP/1.1 200 OK\r\nA: b\r\ncontent-length:\t 0 \r\nC: d\r\n\r\n", 0},
        {"HTTP/1.1 200 OK\nContent-LENGTH:7\n\n", 7}, {"HTTP/1.1 200 OK\r\n\r\n", -1},
        {"HTTP/1.1 200 OK\r\n\r\nContent-Length: 5\r\n\r\n", -1},
        {"HTTP/1.1 200 OK\r\nX-Content-Length: 5\r\n\r\n", -1},
        {"HTTP/1.1 200 OK\r\nContent-Length: x\r\n\r\n", -1},
        {"HTTP/1.1 200 OK\r\nContent-Length:\r\n\r\n", -1},
        {"HTTP/1.1 200 OK\r\nContent-Length: -5\r\n\r\n", -1},
        {"HTTP/1.1 200 OK\r\nContent-Length: 99999999999999999999\r\n\r\n", -1},
        {"HTTP/1.1 200 OK\r\nContent-Length: 999999999999999999\r\n\r\n", 999999999999999999},
        {"HTTP/1.1 204 No Content\r\nContent-Length: 5\r\n\r\n", 0},
        {"HTTP/1.1 304 Not Modified\r\n\r\n", 0}};
    for (size_t i = 0; i < sizeof heads / sizeof *heads; i++) {
        struct http_answer answer = {0};
        const char *text = heads[i].text;
        CHECK_INT(http_answer_parse(text, strlen(text), &answer), 0);
        if (!CHECK_INT((int64_t)answer.length, heads[i].length)) {
            fprintf(stderr, "    %s\n", text);
        }
    }
    struct http_answer answer = {.status = 200, .body = 30, .length = 5};
    CHECK(!http_answer_is_whole(&answer, 34) && http_answer_is_whole(&answer, 35));
    answer.length = UINT64_MAX;
    CHECK(!http_answer_is_whole(&answer, 60000));
}

static void refuses_what_is_none(void)
{
    static const char *const bad[] = {"x", "HTTP/2 200\r\n\r\n", "http/1.1 200 OK\r\n\r\n",
        "HTTP/1.1 abc OK\r\n\r\n", "HTTP/1.1  200 OK\r\n\r\n", "HTTP/1.1 2000 OK\r\n\r\n",
        "HTTP/1.1 20 OK\r\n\r\n", "HTTP/1.1 000 OK\r\n\r\n", "HTTP/1.1 099 OK\r\n\r\n",
        "HTTP/1.1 600 OK\r\n\r\n", "HTTP/1.1 -20 OK\r\n\r\n", "\r\nHTTP/1.1 200 OK\r\n\r\n",
        "SSH-2.0-OpenSSH_9.2\r\n", "220 mail ESMTP\r\n"};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        struct http_answer answer = {7, 7, 7};
        if (!CHECK_INT(http_answer_parse(bad[i], strlen(bad[i]), &answer), -EBADMSG)) {
            fprintf(stderr, "    %s\n", bad[i]);
        }
        CHECK(answer.status == 7 && answer.body == 7);
    }
    CHECK_INT(
        http_answer_parse("HTTP/1.1 200\0\r\n\r\n", 17, &(struct http_answer){0}), -EBADMSG);
}

int main(void)
{
    reads_whole_heads();
    tells_where_it_ends();
    refuses_what_is_none();
    return check_result();
}
