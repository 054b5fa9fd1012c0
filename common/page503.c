/* Tells why nobody serves, and what to do; made by gears-relay and gears-tunnel. */
#include "common/page503.h"

#include <stdio.h>
#include <stdbool.h>
#include <string.h>
#include <sys/utsname.h>

#include "common/clock.h"
#include "common/text.h"

static const char HEAD[] = "<!doctype html><html lang=\"en\"><meta charset=\"utf-8\">"
                           "<meta name=\"viewport\" content=\"width=device-width\"><title>";
static const char STYLE[] =
    "<style>:root{color-scheme:light dark}"
    "body{font:16px/1.6 system-ui,sans-serif;max-width:36em;margin:16vh auto;padding:0 1.5em}"
    "h1{font-size:1.7em}dl{display:grid;grid-template-columns:max-content 1fr;gap:.3em 1.5em}"
    "dt{opacity:.6}dd{margin:0}dl{margin-bottom:2em}"
    "code{background:#8882;padding:.15em .4em;border-radius:4px;white-space:nowrap;"
    "user-select:all}</style>";
/* Who comes back from the terminal finds the service; times are those of the reader. */
static const char SCRIPT[] = "<script>addEventListener('focus',()=>location.reload());"
                             "for(const t of document.querySelectorAll('time'))"
                             "t.textContent=new Date(t.dateTime).toLocaleString()</script>";

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

/* Where a user must type the command: a service lives on one of several login nodes. */
static void add_host(struct text *body)
{
    struct utsname uts;
    if (!uname(&uts)) {
        text_printf(body, " on <b>");
        escape(body, uts.nodename);
        text_printf(body, "</b>");
    }
}

/* "failed: ended with exit code 1" as two rows. */
static void add_cause(struct text *body, const char *cause)
{
    char state[32];
    const char *colon = strstr(cause, ": ");
    size_t length = colon ? (size_t)(colon - cause) : strlen(cause);
    snprintf(state, sizeof state, "%.*s", (int)(length < 31 ? length : 31), cause);
    text_printf(body, "<dt>State<dd><b>");
    escape(body, state);
    text_printf(body, "</b><dt>Cause<dd>");
    escape(body, colon ? colon + 2 : "not known");
}

/* Who has to type nothing has to wait. */
static void add_help(struct text *body, const struct page503 *what, bool is_far)
{
    if (!*what->command) {
        text_printf(body, "<p>It is tried again by itself; then come back to this page.</p>");
        return;
    }
    text_printf(body, "<p>To %s it, run <code>", is_far ? "reach" : "start");
    escape(body, what->command);
    text_printf(body, "</code>");
    add_host(body);
    text_printf(body, ", then come back to this page.</p>");
}

static void add_body(struct text *body, const struct page503 *what)
{
    char since[24];
    bool is_far = strchr(what->name, '@');
    const char *fault = is_far ? "cannot be reached" : "is not running";
    clock_format_utc(what->since_us, since, sizeof since);
    text_printf(body, "%s", HEAD);
    escape(body, what->name);
    text_printf(body, " %s – Gears</title>%s<h1>", fault, STYLE);
    escape(body, what->name);
    text_printf(body, " %s</h1><dl>", fault);
    add_cause(body, what->cause);
    text_printf(body, "<dt>Since<dd><time datetime=\"%s\">%s</time></dl>", since, since);
    add_help(body, what, is_far);
    if (!is_far) { /* what it said is kept where it runs */
        text_printf(body, "<p>What it said last: <code>gearsctl logs ");
        escape(body, what->name);
        text_printf(body, "</code></p>");
    }
    text_printf(body, "%s</html>\n", SCRIPT);
}

char *page503_make(const struct page503 *what, size_t *length)
{
    struct text body = {0}, page = {0};
    add_body(&body, what);
    text_printf(&page,
        "HTTP/1.1 503 Service Unavailable\r\nContent-Type: text/html; charset=utf-8\r\n"
        "Content-Length: %zu\r\nRetry-After: 5\r\nCache-Control: no-store\r\n"
        "Connection: close\r\n\r\n%s",
        body.length, text_string(&body));
    text_finish(&body);
    *length = page.length;
    return text_take(&page);
}
