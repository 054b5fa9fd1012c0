/* What a browser is told while the service is down. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/clock.h"
#include "common/text.h"
#include "daemon/relay/relay.h"

int page503_is_http(const char *bytes, size_t length)
{
    static const char *const methods[] = {
        "GET ", "HEAD ", "POST ", "PUT ", "PATCH ", "DELETE ", "OPTIONS "};
    int answer = 0;
    for (size_t i = 0; i < sizeof methods / sizeof *methods; i++) {
        size_t want = strlen(methods[i]);
        if (length >= want && !memcmp(bytes, methods[i], want)) {
            return 1;
        }
        if (length < want && !memcmp(bytes, methods[i], length)) {
            answer = -1;
        }
    }
    return answer;
}

static void escape(struct text *out, const char *value)
{
    for (; *value; value++) {
        const char *entity = *value == '<'   ? "&lt;"
                             : *value == '>' ? "&gt;"
                             : *value == '&' ? "&amp;"
                             : *value == '"' ? "&quot;"
                                             : NULL;
        text_append(out, entity ? entity : value, entity ? strlen(entity) : 1);
    }
}

char *page503_make(const struct service *service, size_t *length)
{
    struct text body = {0}, page = {0};
    char since[24];
    clock_format_utc(service->since_us, since, sizeof since);
    text_printf(&body, "<!doctype html><html lang=\"en\"><meta charset=\"utf-8\"><title>");
    escape(&body, service->name);
    text_printf(&body,
        " is down – Gears</title><style>body{font:16px/1.5 system-ui,sans-serif;"
        "max-width:38em;margin:15vh auto;padding:0 1em;color:#223}code{background:"
        "#eef;padding:.2em .4em;border-radius:4px}</style><h1>");
    escape(&body, service->name);
    text_printf(&body, " is not running</h1><p>State: <b>");
    escape(&body, service->cause);
    text_printf(&body, "</b>, since %s.</p><p>To start it, run <code>", since);
    escape(&body, service->command);
    text_printf(&body, "</code> where Gears runs, then reload this page.</p></html>\n");
    text_printf(&page,
        "HTTP/1.1 503 Service Unavailable\r\nContent-Type: text/html; charset=utf-8\r\n"
        "Content-Length: %zu\r\nRetry-After: 5\r\nCache-Control: no-store\r\n"
        "Connection: close\r\n\r\n%s",
        body.length, text_string(&body));
    text_finish(&body);
    *length = page.length;
    return text_take(&page);
}
