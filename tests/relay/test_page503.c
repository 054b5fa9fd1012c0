/* What a client of a stopped service is told, and who is told it. */
#include <stdlib.h>

#include "daemon/relay/relay.h"
#include "tests/unit/check.h"

static int is_http(const char *text)
{
    return page503_is_http(text, strlen(text));
}

/* The answer may change from "too few" only, and only once. */
static void check_prefixes(const char *text, int answer)
{
    int before = -1;
    for (size_t n = 0; n <= strlen(text); n++) {
        int now = page503_is_http(text, n);
        CHECK(before == -1 || now == before);
        before = now;
    }
    CHECK_INT(before, answer);
}

static void test_methods(void)
{
    CHECK_INT(is_http("GET / HTTP/1.1\r\n"), 1);
    CHECK_INT(is_http("GET "), 1);
    CHECK_INT(is_http(""), -1);
    CHECK_INT(is_http("P"), -1);
    CHECK_INT(is_http("OPTIONS"), -1);
    CHECK_INT(is_http("GETS "), 0);
    CHECK_INT(is_http("get "), 0);
    CHECK_INT(is_http("SSH-2.0-OpenSSH"), 0);
    CHECK_INT(page503_is_http("G\0", 2), 0);
    check_prefixes("OPTIONS * HTTP/1.1", 1);
    check_prefixes("PATCH /", 1);
    check_prefixes("PUTTY", 0);
    check_prefixes("\x16\x03\x01", 0);
}

static void test_page(void)
{
    struct service service = {.name = "lab", .since_us = 1};
    size_t length;
    snprintf(service.cause, sizeof service.cause, "failed: <script>&\"");
    snprintf(service.command, sizeof service.command, "gearsctl start lab");
    char *page = page503_make(&service, &length);
    if (!CHECK(page)) {
        return;
    }
    CHECK(strlen(page) == length);
    CHECK(!strncmp(page, "HTTP/1.1 503 ", 13));
    const char *body = strstr(page, "\r\n\r\n"), *told = strstr(page, "Content-Length: ");
    if (CHECK(body && told && told < body)) {
        CHECK(strtoul(told + 16, NULL, 10) == strlen(body + 4));
        CHECK(strstr(body, "&lt;script&gt;&amp;&quot;"));
        CHECK(!strstr(body, "<script>&"));
        CHECK(strstr(body, "gearsctl start lab"));
    }
    free(page);
}

int main(void)
{
    test_methods();
    test_page();
    return check_result();
}
