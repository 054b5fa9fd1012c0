/* HTTP heads: the answer a probe hears, the first bytes a relayed client says, and the page it
 * may get for them. */
#include <errno.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/page503.h"
#include "daemon/core/http_answer.h"

/* A copy of exactly this size: reading one byte too far is seen. */
static char *copy_exactly(const uint8_t *data, size_t size)
{
    char *copy = malloc(size ? size : 1);
    if (!copy) {
        exit(2);
    }
    if (size) {
        memcpy(copy, data, size);
    }
    return copy;
}

/* What a part told, the whole does not take back. */
static void check_parts(const char *bytes, size_t size, int whole, struct http_answer answer)
{
    int before = -EAGAIN;
    for (size_t cut = 0; cut < size; cut++) {
        struct http_answer part = {-1, 0, 0};
        int code = http_answer_parse(bytes, cut, &part);
        if ((before != -EAGAIN && code != before) ||
            (!code && (whole || part.status != answer.status || part.body != answer.body ||
                          part.length != answer.length)) ||
            (code == -EBADMSG && whole != -EBADMSG)) {
            abort();
        }
        before = code;
    }
}

static void check_answer(const char *bytes, size_t size)
{
    struct http_answer answer = {-1, 0, 0};
    int code = http_answer_parse(bytes, size, &answer);
    if (code && code != -EAGAIN && code != -EBADMSG) {
        abort();
    }
    if (code ? answer.status != -1
             : answer.status < 100 || answer.status > 599 || answer.body > size ||
                   bytes[answer.body - 1] != '\n') {
        abort(); /* a guess, or out of bounds */
    }
    if (size < 256) {
        check_parts(bytes, size, code, answer);
    }
}

static void check_request(const char *bytes, size_t size)
{
    int before = -1;
    for (size_t n = 1; n <= size && n <= 16; n++) {
        int is_http = page503_is_http(bytes, n);
        if (is_http < -1 || is_http > 1 || (before >= 0 && is_http != before)) {
            abort();
        }
        before = is_http;
    }
}

/* The page says what it is given, and nothing of it becomes markup. */
static void check_page(const char *bytes, size_t size)
{
    char cause[200], command[200];
    struct page503 what = {"lab", cause, command, 1795550000000000};
    struct http_answer answer;
    size_t length = 0, declared = 0, tags = 0;
    snprintf(cause, sizeof cause, "%.*s", (int)(size < 999 ? size : 999), bytes);
    snprintf(command, sizeof command, "run %s", cause);
    char *page = page503_make(&what, &length);
    if (!page) {
        return;
    }
    const char *header = strstr(page, "Content-Length: ");
    if (http_answer_parse(page, length, &answer) || answer.status != 503 || !header ||
        sscanf(header, "Content-Length: %zu", &declared) != 1 ||
        declared != length - answer.body || strlen(page) != length) {
        abort();
    }
    for (const char *at = page + answer.body; (at = strchr(at, '<')); at++) {
        tags++;
    }
    static size_t usual;
    usual = usual ? usual : tags;
    if (tags != usual) {
        abort();
    }
    free(page);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char *bytes = copy_exactly(data, size);
    check_answer(bytes, size);
    check_request(bytes, size);
    check_page(bytes, size);
    free(bytes);
    return 0;
}
