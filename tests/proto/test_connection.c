/* One connection: framing, order, errors, and everything a peer may do wrong. */
#include <poll.h>
#include <stdlib.h>
#include <sys/socket.h>

#include "tests/proto/peer.h"
#include "tests/unit/check.h"

#define ECHO(text) "{\"method\":\"org.gears.test.Echo\",\"parameters\":{\"text\":\"" text "\"}}"
#define ECHOED(text) "{\"parameters\":{\"text\":\"" text "\"}}"
#define CALL(method, rest) "{\"method\":\"" method "\"" rest "}"

/* Say, and hear exactly this one answer. */
static void answers(const char *json, const char *answer)
{
    struct peer peer = {0};
    peer_start(&peer);
    peer_say(&peer, json);
    if (!CHECK_STRING(peer_hear(&peer), answer) || !CHECK(!peer_hear(&peer))) {
        fprintf(stderr, "    to %s\n", json);
    }
    CHECK(peer.connection);
    peer_finish(&peer);
}

static void dispatches(void)
{
#define REFUSED(name, key, value)                                                              \
    "{\"error\":\"org.varlink.service." name "\",\"parameters\":{\"" key "\":\"" value "\"}}"
    answers(ECHO("hi"), ECHOED("hi"));
    answers(" \n" ECHO("\\u00e4\\n") " \t\r\n", ECHOED("ä\\n"));
    answers(
        "{\"parameters\":{\"a\":2,\"b\":3},\"method\":\"org.gears.test.Add\",\"more\":false,"
        "\"oneway\":false,\"upgrade\":false,\"unknown\":{}}",
        "{\"parameters\":{\"sum\":5}}");
    answers(CALL("org.gears.test.Echo", ""), REFUSED("InvalidParameter", "parameter", "text"));
    answers(CALL("org.gears.test.Echo", ",\"parameters\":null"),
        REFUSED("InvalidParameter", "parameter", "text"));
    answers(CALL("org.gears.test.Echo", ",\"parameters\":{\"text\":\"a\",\"x\":1}"),
        REFUSED("InvalidParameter", "parameter", "x"));
    answers(CALL("org.gears.test.Hold", ",\"upgrade\":true"),
        REFUSED("InvalidParameter", "parameter", "upgrade"));
    answers(CALL("org.gears.test.Absent", ""), REFUSED("MethodNotFound", "method", "Absent"));
    answers(CALL("org.gears.test", ""), REFUSED("InterfaceNotFound", "interface", "org.gears"));
    answers(CALL("org.gears.tes.Echo", ""),
        REFUSED("InterfaceNotFound", "interface", "org.gears.tes"));
    answers(CALL("org.gears.test.x.Echo", ""),
        REFUSED("InterfaceNotFound", "interface", "org.gears.test.x"));
    answers(CALL("Echo", ""), REFUSED("InterfaceNotFound", "interface", ""));
    answers(
        CALL("org.varlink.service.Absent", ""), REFUSED("MethodNotFound", "method", "Absent"));
    answers(CALL("org.varlink.service.GetInfo", ""),
        "{\"parameters\":{\"vendor\":\"Gears\",\"product\":\"test\",\"version\":\"1\",\"url\":"
        "\"https://"
        "varlink.org\",\"interfaces\":[\"org.varlink.service\",\"org.gears.test\"]}}");
    answers(CALL("org.varlink.service.GetInterfaceDescription", ""),
        REFUSED("InvalidParameter", "parameter", "interface"));
    answers(CALL("org.varlink.service.GetInterfaceDescription",
                ",\"parameters\":{\"interface\":\"org.absent\"}"),
        REFUSED("InterfaceNotFound", "interface", "org.absent"));
}

#define REASON(words)                                                                          \
    "{\"error\":\"org.varlink.service.InvalidParameter\",\"parameters\":{\"parameter\":"       \
    "\"message: " words "\"}}"
#define NO_CALL REASON("not a Varlink call")
#define TOO_LONG REASON("longer than 1 MiB")

/* The reason is all that is answered and the server's end is over; no method ran. */
static void ends(const void *bytes, size_t length, const char *reason, const char *words)
{
    struct peer peer = {0};
    peer_start(&peer);
    peer_send(&peer, bytes, length);
    peer_pump(&peer);
    if (!CHECK(!peer.connection) || !CHECK_STRING(peer_hear(&peer), reason) ||
        !CHECK(!peer_hear(&peer)) || !CHECK_INT(peer.runs, 0)) {
        fprintf(stderr, "    after %s\n", words);
    }
    peer_finish(&peer);
}

static void refuses_garbage(void)
{
    static const char *const bad[] = {"", " ", "x", "{}", "[]", "1", "null", "\"method\"",
        "{\"method\":1}", "{\"method\":null}", "{\"Method\":\"org.gears.test.Hold\"}",
        "[" ECHO("a") "]", ECHO("a") "x", ECHO("a") ECHO("b"), ECHO("a") "}", "{" ECHO("a"),
        CALL("org.gears.test.Echo", ",\"parameters\":1"),
        CALL("org.gears.test.Hold", ",\"parameters\":[]"),
        CALL("org.gears.test.Hold", ",\"parameters\":\"\""),
        CALL("org.gears.test.Hold", ",\"more\":1"),
        CALL("org.gears.test.Hold", ",\"upgrade\":1"),
        CALL("org.gears.test.Hold", ",\"oneway\":\"\""), ECHO("\xff"), ECHO("\xc3"),
        ECHO("\xc0\xaf"), ECHO("\xed\xa0\x80"), ECHO("\xf4\x90\x80\x80"), ECHO("\xe0\x80\x80"),
        ECHO("\\ud800"), ECHO("\\x"), "\x80" ECHO("a"), "{\"method\":\"a.b",
        "GET / HTTP/1.1\r\n\r\n"};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        ends(bad[i], strlen(bad[i]) + 1, NO_CALL, bad[i]);
    }
}

/* `n` levels inside the message's own two. */
static char *nested(size_t n, char open, char close, bool closed)
{
    struct text text = {0};
    text_printf(&text, "%s",
        "{\"method\":\"org.gears.test.Shapes\",\"parameters\":{\"pair\":{\"key\":\"[[[[{{\"},"
        "\"kind\":\"up\",\"any\":");
    for (size_t i = 0; i < n; i++) {
        text_append(&text, open == '[' ? "[" : "{\"a\":", open == '[' ? 1 : 5);
    }
    text_append(&text, "1", 1);
    for (size_t i = 0; closed && i < n; i++) {
        text_append(&text, &close, 1);
    }
    text_append(&text, "}}", closed ? 2 : 0);
    return text_take(&text);
}

static void bounds_nesting(void)
{
    static const size_t levels[] = {1, 30, 31, 1000, 200000};
    for (size_t i = 0; i < 2 * sizeof levels / sizeof *levels; i++) {
        size_t n = levels[i / 2];
        char *text = i % 2 ? nested(n, '{', '}', true) : nested(n, '[', ']', true);
        if (n <= 30) {
            answers(text, "{\"parameters\":{}}");
        } else {
            const char *reason = strlen(text) < VARLINK_MESSAGE_LIMIT ? NO_CALL : TOO_LONG;
            ends(text, strlen(text) + 1, reason, "deep nesting");
        }
        free(text);
        text = i % 2 ? nested(n, '{', '}', false) : nested(n, '[', ']', false);
        ends(text, strlen(text) + 1, NO_CALL, "deep nesting left open");
        free(text);
    }
}

/* An Echo whose message is `length` bytes long, without its NUL. */
static char *sized(size_t length)
{
    char *text = malloc(length + 1);
    size_t head = strlen(ECHO("")) - 3;
    if (!text) {
        exit(2);
    }
    memset(text, 'a', length);
    memcpy(text, ECHO(""), head);
    memcpy(text + length - 3, "\"}}", 4);
    return text;
}

static void bounds_length(void)
{
    char *text = sized(VARLINK_MESSAGE_LIMIT - 1);
    struct peer peer = {0};
    peer_start(&peer);
    CHECK(peer_say(&peer, text));
    const char *answer = peer_hear(&peer);
    CHECK(answer && strlen(answer) == strlen(text) - strlen(ECHO("")) + strlen(ECHOED("")));
    CHECK(peer_say(&peer, ECHO("after")));
    CHECK_STRING(peer_hear(&peer), ECHOED("after"));
    peer_finish(&peer);
    free(text);
    text = sized(VARLINK_MESSAGE_LIMIT);
    ends(text, VARLINK_MESSAGE_LIMIT + 1, TOO_LONG, "1 MiB and its NUL");
    ends(text, VARLINK_MESSAGE_LIMIT, TOO_LONG, "1 MiB without an end");
    free(text);
    peer = (struct peer){0};
    peer_start(&peer);
    char block[65536];
    memset(block, ' ', sizeof block);
    size_t taken = 0;
    while (taken < 64U << 20 && peer_send(&peer, block, sizeof block)) {
        taken += sizeof block;
    }
    CHECK(!peer.connection); /* it was not read to the end of time */
    CHECK(taken <= VARLINK_MESSAGE_LIMIT + (1 << 20));
    peer_finish(&peer);
}

static void ends_who_takes_too_long(void)
{
    struct peer peer = {0};
    peer_start(&peer);
    CHECK_INT(varlink_connection_expire(peer.connection, INT64_MAX), 0); /* at rest: for ever */
    peer_send(&peer, "{", 1);
    peer_pump(&peer);
    int64_t deadline = varlink_connection_deadline(peer.connection);
    CHECK_INT(varlink_connection_expire(peer.connection, deadline - 1), 0);
    CHECK(!peer_hear(&peer));
    CHECK_INT(varlink_connection_expire(peer.connection, deadline), 0);
    CHECK(varlink_connection_deadline(peer.connection) >= deadline); /* to read why */
    CHECK_STRING(peer_hear(&peer), REASON("not whole within 10 seconds"));
    CHECK(!peer.connection);
    peer_finish(&peer);
    peer = (struct peer){0};
    peer_start(&peer);
    peer_send(&peer, "{", 1);
    peer_pump(&peer);
    CHECK_INT(varlink_connection_expire(peer.connection, INT64_MAX), 0);
    CHECK_INT(varlink_connection_expire(peer.connection, INT64_MAX), 1); /* nor does it read */
    peer_finish(&peer);
}

static void takes_halves(void)
{
    const char *whole = ECHO("one");
    struct peer peer = {0};
    peer_start(&peer);
    CHECK_INT(varlink_connection_deadline(peer.connection), -1);
    for (size_t i = 0; i <= strlen(whole); i++) {
        CHECK(!peer_hear(&peer));
        CHECK_INT(peer.runs, 0);
        CHECK(peer_send(&peer, whole + i, 1));
    }
    CHECK_STRING(peer_hear(&peer), ECHOED("one"));
    CHECK_INT(varlink_connection_deadline(peer.connection), -1);
    peer_send(&peer, whole, 5);
    peer_pump(&peer);
    int64_t deadline = varlink_connection_deadline(peer.connection);
    CHECK(deadline > 0);
    peer_send(&peer, whole + 5, 5);
    peer_pump(&peer);
    /* No new lease of life. */
    CHECK_INT(varlink_connection_deadline(peer.connection), deadline);
    peer_send(&peer, whole + 10, strlen(whole) - 9);
    peer_send(&peer, "{", 1);
    CHECK_STRING(peer_hear(&peer), ECHOED("one"));
    CHECK(varlink_connection_deadline(peer.connection) >= deadline);
    peer_leave(&peer);
    peer_pump(&peer);
    CHECK(!peer.connection);
    peer_finish(&peer);
}

static void pipelines(void)
{
    struct peer peer = {0};
    struct text all = {0};
    peer_start(&peer);
    for (int i = 0; i < 500; i++) {
        text_printf(&all, "{\"method\":\"org.gears.test.Add\",\"parameters\":{\"a\":%d}}", i);
        text_append(&all, "", 1);
    }
    CHECK(peer_send(&peer, all.data, all.length));
    for (int i = 0; i < 500; i++) {
        char answer[64];
        snprintf(answer, sizeof answer, "{\"parameters\":{\"sum\":%d}}", i);
        CHECK_STRING(peer_hear(&peer), answer);
    }
    CHECK(!peer_hear(&peer));
    text_finish(&all);
    peer_finish(&peer);
}

/* Far more is asked than may wait to be read: the asker is held back, and nothing is lost. */
static void holds_back_who_does_not_read(void)
{
    enum { CALLS = 200000 };
    struct peer peer = {0};
    peer_start(&peer);
    const char *call = CALL("org.varlink.service.GetInfo", "");
    size_t length = strlen(call) + 1, sent = 0, heard = 0;
    while (sent < CALLS * length) {
        size_t part = sent % length;
        ssize_t n = send(peer.fd, call + part, length - part, MSG_NOSIGNAL);
        if (n > 0) {
            sent += (size_t)n;
            continue;
        }
        peer_pump(&peer);
        n = send(peer.fd, call + part, length - part, MSG_NOSIGNAL);
        if (n > 0) {
            sent += (size_t)n;
        } else if (!CHECK(peer_hear(&peer))) {
            break;
        } else {
            heard++;
        }
    }
    while (peer_hear(&peer)) {
        heard++;
    }
    CHECK_INT((long long)heard, CALLS);
    CHECK(peer.connection);
    peer_finish(&peer);
}

static void honours_oneway(void)
{
    struct peer peer = {0};
    peer_start(&peer);
    peer_say(&peer, CALL("org.gears.test.Add", ",\"oneway\":true,\"parameters\":{\"a\":1}"));
    peer_say(&peer, CALL("org.gears.test.Absent", ",\"oneway\":true"));
    CHECK(!peer_hear(&peer));
    CHECK_INT(peer.runs, 1);
    peer_say(&peer, ECHO("after"));
    CHECK_STRING(peer_hear(&peer), ECHOED("after"));
    peer_finish(&peer);
}

static void answers_after_a_half_close(void)
{
    struct peer peer = {0};
    peer_start(&peer);
    peer_send(&peer, ECHO("a") "\0" ECHO("b"), 2 * strlen(ECHO("a")) + 2);
    shutdown(peer.fd, SHUT_WR);
    CHECK_STRING(peer_hear(&peer), ECHOED("a"));
    CHECK_STRING(peer_hear(&peer), ECHOED("b"));
    peer_pump(&peer);
    CHECK(!peer.connection);
    peer_finish(&peer);
}

static void cuts_names_between_characters(void)
{
    struct text text = {0};
    for (int shift = 0; shift < 3; shift++) {
        text.length = 0;
        text_printf(&text,
            "{\"method\":\"org.gears.test.Echo\",\"parameters\":{\"text\":\"\",\"%.*s", shift,
            "ab");
        for (int i = 0; i < 200; i++) {
            text_append(&text, "€", strlen("€"));
        }
        text_printf(&text, "\":1}}");
        struct peer peer = {0};
        peer_start(&peer);
        peer_say(&peer, text_string(&text));
        const char *answer = peer_hear(&peer), *last = answer ? strrchr(answer, '"') : NULL;
        CHECK(last && last - answer > 100 && !memcmp(last - 3, "€", 3));
        peer_finish(&peer);
    }
    text_finish(&text);
}

int main(void)
{
    dispatches();
    refuses_garbage();
    bounds_nesting();
    bounds_length();
    ends_who_takes_too_long();
    takes_halves();
    pipelines();
    holds_back_who_does_not_read();
    honours_oneway();
    answers_after_a_half_close();
    cuts_names_between_characters();
    return check_result();
}
