/* What a client of a stopped service is told, and who is told it. */
#include <stdlib.h>

#include "common/page503.h"
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

/* The page's body when the rest of the answer is in order; NULL else. Free `page`. */
static const char *make(const struct page503 *what, char **page)
{
    size_t length;
    *page = page503_make(what, &length);
    if (!CHECK(*page)) {
        return NULL;
    }
    CHECK(strlen(*page) == length);
    CHECK(!strncmp(*page, "HTTP/1.1 503 ", 13));
    const char *body = strstr(*page, "\r\n\r\n"), *told = strstr(*page, "Content-Length: ");
    if (!CHECK(body && told && told < body)) {
        return NULL;
    }
    CHECK(strtoul(told + 16, NULL, 10) == strlen(body + 4));
    return body + 4;
}

static void test_page(void)
{
    struct page503 what = {"lab", "failed: <script>&\"", "gearsctl start lab", 1};
    char *page;
    const char *body = make(&what, &page);
    if (body) {
        CHECK(strstr(body, "<h1>lab is not running</h1>"));
        CHECK(strstr(body, "&lt;script&gt;&amp;&quot;"));
        CHECK(!strstr(body, "<script>&"));
        CHECK(strstr(body, "To start it, run <code>gearsctl start lab</code> on <b>"));
        CHECK(strstr(body, "gearsctl logs lab"));
    }
    free(page);
}

/* Its logs are elsewhere, and it may well be running. */
static void test_page_of_a_hop(void)
{
    struct page503 what = {
        "lab@andes", "auth-needed: andes asks for a code", "gearsctl attach andes", 1};
    char *page;
    const char *body = make(&what, &page);
    if (body) {
        CHECK(strstr(body, "<title>lab@andes cannot be reached"));
        CHECK(strstr(body, "<h1>lab@andes cannot be reached</h1>"));
        CHECK(strstr(body, "<b>auth-needed</b><dt>Cause<dd>andes asks for a code"));
        CHECK(strstr(body, "To reach it, run <code>gearsctl attach andes</code> on <b>"));
        CHECK(!strstr(body, "running") && !strstr(body, "gearsctl logs"));
    }
    free(page);
    what.command = "";
    body = make(&what, &page);
    if (body) {
        CHECK(strstr(body, "tried again by itself") && !strstr(body, "<code></code>"));
    }
    free(page);
}

int main(void)
{
    test_methods();
    test_page();
    test_page_of_a_hop();
    return check_result();
}
