/* Calls that outlive their method: late replies, streams, readers that are slow or leave. */
#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <sys/socket.h>

#include "proto/varlink_private.h"
#include "tests/proto/peer.h"
#include "tests/unit/check.h"

#define HOLD "{\"method\":\"org.gears.test.Hold\"}"
#define HOLD_ONEWAY "{\"method\":\"org.gears.test.Hold\",\"oneway\":true}"
#define STREAM "{\"method\":\"org.gears.test.Stream\",\"more\":true}"
#define ECHO "{\"method\":\"org.gears.test.Echo\",\"parameters\":{\"text\":\"e\"}}"
#define ECHOED "{\"parameters\":{\"text\":\"e\"}}"

static char *big_text(size_t length)
{
    struct text text = {0};
    text_printf(&text, "{\"text\":\"");
    for (size_t i = 0; i < length; i++) {
        text_append(&text, "x", 1);
    }
    text_printf(&text, "\"}");
    return text_take(&text);
}

static void replies_late_and_in_order(void)
{
    struct peer peer = {0};
    peer_start(&peer);
    peer_say(&peer, HOLD);
    peer_say(&peer, ECHO);
    peer_say(&peer, HOLD);
    CHECK(!peer_hear(&peer)); /* one at a time */
    CHECK_INT(peer.held_count, 1);
    CHECK_INT(peer.changes, 0);
    CHECK_INT(varlink_connection_deadline(peer.connection), -1);
    CHECK_INT(peer_answer(&peer, 0, "{\"text\":\"late\"}", true), 0);
    CHECK_INT(peer.changes, 1);
    CHECK_STRING(peer_hear(&peer), "{\"parameters\":{\"text\":\"late\"}}");
    CHECK_STRING(peer_hear(&peer), ECHOED);
    CHECK_INT(peer.held_count, 2);
    CHECK_INT(varlink_call_error(peer.held[1], "org.gears.test.Wrong", NULL), 0);
    CHECK_STRING(peer_hear(&peer), "{\"error\":\"org.gears.test.Wrong\",\"parameters\":{}}");
    CHECK_INT(peer.closed_count, 0);
    peer_finish(&peer);
}

static void goes_on_after_a_late_oneway(void)
{
    struct peer peer = {0};
    peer_start(&peer);
    peer_send(&peer, HOLD_ONEWAY "\0" ECHO, strlen(HOLD_ONEWAY) + strlen(ECHO) + 2);
    CHECK(!peer_hear(&peer));
    CHECK(varlink_call_oneway(peer.held[0]));
    CHECK_INT(peer_answer(&peer, 0, "{}", true), 0);
    CHECK_STRING(peer_hear(&peer), ECHOED); /* it was in memory: the socket says nothing */
    peer_say(&peer, HOLD_ONEWAY);
    peer_leave(&peer);
    peer_pump(&peer);
    CHECK(peer.connection); /* a oneway call is not for its caller */
    CHECK_INT(peer_answer(&peer, 1, "{}", true), 0);
    peer_pump(&peer);
    CHECK(!peer.connection);
    peer_finish(&peer);
}

static void streams(void)
{
    struct peer peer = {0};
    peer_start(&peer);
    peer_say(&peer, STREAM);
    CHECK(varlink_call_more(peer.held[0]));
    for (int i = 0; i < 3; i++) {
        CHECK_INT(peer_answer(&peer, 0, "{\"text\":\"n\"}", false), 0);
        CHECK_STRING(peer_hear(&peer), "{\"parameters\":{\"text\":\"n\"},\"continues\":true}");
    }
    CHECK_INT(peer_answer(&peer, 0, "{\"text\":\"end\"}", true), 0);
    CHECK_STRING(peer_hear(&peer), "{\"parameters\":{\"text\":\"end\"}}");
    peer_say(&peer, HOLD); /* without more, only the last reply is heard */
    CHECK_INT(peer_answer(&peer, 1, "{\"text\":\"n\"}", false), 0);
    CHECK_INT(peer_answer(&peer, 1, "{\"text\":\"end\"}", true), 0);
    CHECK_STRING(peer_hear(&peer), "{\"parameters\":{\"text\":\"end\"}}");
    peer_finish(&peer);
}

/* Nobody hears a stream of a oneway call: it is no stream, or it would never end. */
static void a_oneway_call_is_no_stream(void)
{
    struct peer peer = {0};
    peer_start(&peer);
    peer_say(&peer, "{\"method\":\"org.gears.test.Stream\",\"more\":true,\"oneway\":true}");
    CHECK(varlink_call_oneway(peer.held[0]) && !varlink_call_more(peer.held[0]));
    peer_finish(&peer);
}

/* In each way a client can leave, the owner of a held call hears of it once. */
static void tells_when_the_client_leaves(void)
{
    for (int way = 0; way < 4; way++) {
        struct peer peer = {0};
        peer_start(&peer);
        peer_say(&peer, STREAM);
        if (way == 1) {
            peer_send(&peer, "{", 1); /* half a message behind the stream */
            peer_pump(&peer);
        } else if (way == 2) {
            peer_send(&peer, ECHO, strlen(ECHO) + 1);
            peer_pump(&peer);
        } else if (way == 3) {
            shutdown(peer.fd, SHUT_WR);
        }
        CHECK_INT(peer.closed_count, 0);
        if (way != 3) {
            peer_leave(&peer);
        }
        peer_pump(&peer);
        if (!CHECK(!peer.connection) || !CHECK_INT(peer.closed_count, 1)) {
            fprintf(stderr, "    way %d\n", way);
        }
        CHECK_INT(peer_answer(&peer, 0, "{}", false), -EPIPE);
        peer_finish(&peer);
        CHECK_INT(peer.closed_count, 1);
    }
}

static void destroying_tells_too(void)
{
    struct peer peer = {0};
    peer_start(&peer);
    peer_say(&peer, HOLD);
    peer_finish(&peer);
    CHECK_INT(peer.closed_count, 1);
}

static void ends_a_slow_reader(void)
{
    struct peer peer = {0};
    char *text = big_text(100000);
    peer_start(&peer);
    peer_say(&peer, STREAM);
    int code = 0, told = 0;
    while (!code && told < 1000) {
        code = peer_answer(&peer, 0, text, false);
        peer_pump(&peer);
        told++;
    }
    CHECK_INT(code, -ENOBUFS);
    CHECK(told > VARLINK_QUEUE_LIMIT / 100020 && told < 60);
    CHECK_INT(peer.closed_count, 1);
    CHECK(peer.connection); /* what was queued may still be read, for a while */
    CHECK(varlink_connection_deadline(peer.connection) > 0);
    peer_send(&peer, ECHO, strlen(ECHO) + 1);
    const char *message = NULL, *last = NULL;
    int heard = 0;
    char copy[256] = "";
    while ((message = peer_hear(&peer))) {
        heard++;
        last = message;
        snprintf(copy, sizeof copy, "%s", last);
    }
    CHECK(!strncmp(copy, "{\"error\":\"org.gears.test.SlowReader\",", 37));
    CHECK_INT(heard, told);
    CHECK(!peer.connection);
    CHECK_INT(peer.runs, 1);
    CHECK_INT(peer.closed_count, 1);
    peer_finish(&peer);
    free(text);
}

/* A final reply that does not fit ends the connection, and its reader has bounded time. */
static void ends_on_a_reply_too_long(void)
{
    struct peer peer = {0};
    char *text = big_text(VARLINK_QUEUE_LIMIT);
    peer_start(&peer);
    peer_say(&peer, HOLD);
    CHECK_INT(peer_answer(&peer, 0, text, true), -ENOBUFS);
    CHECK(varlink_connection_deadline(peer.connection) > 0);
    CHECK_INT(peer.changes, 1);
    CHECK(!peer_hear(&peer));
    CHECK(!peer.connection);
    peer_finish(&peer);
    free(text);
}

/* A client that says much while its call is under way, then leaves: nobody waits for it. */
static void notices_who_left_behind_a_queue(void)
{
    struct peer peer = {0};
    char block[100000];
    memset(block, ' ', sizeof block);
    peer_start(&peer);
    peer_say(&peer, HOLD);
    peer_send(&peer, block, sizeof block);
    peer_pump(&peer);
    CHECK(peer.connection && peer.held[0]);
    peer_leave(&peer);
    peer_pump(&peer);
    CHECK(!peer.connection);
    CHECK_INT(peer.closed_count, 1);
    peer_finish(&peer);
}

/* A reader that is always a little behind costs no more than the queue's limit allows. */
static void a_lagging_reader_costs_bounded_memory(void)
{
    struct peer peer = {0};
    char *text = big_text(60000);
    size_t wire = strlen("{\"parameters\":,\"continues\":true}") + strlen(text) + 1;
    peer_start(&peer);
    peer_say(&peer, STREAM);
    size_t most = 0;
    for (int i = 0; i < 40; i++) {
        CHECK_INT(peer_answer(&peer, 0, text, false), 0);
        peer_pump(&peer);
    }
    for (int i = 0; i < 1500; i++) {
        CHECK_INT(peer_answer(&peer, 0, text, false), 0);
        for (size_t read = 0, n = 1; n && read < wire; read += n) {
            n = peer_skip(&peer, wire - read);
            peer_pump(&peer);
        }
        size_t capacity = peer.connection->out.capacity;
        most = capacity > most ? capacity : most;
    }
    CHECK(most <= 4 * (size_t)VARLINK_QUEUE_LIMIT);
    peer_finish(&peer);
    free(text);
}

int main(void)
{
    replies_late_and_in_order();
    goes_on_after_a_late_oneway();
    streams();
    a_oneway_call_is_no_stream();
    tells_when_the_client_leaves();
    destroying_tells_too();
    ends_a_slow_reader();
    ends_on_a_reply_too_long();
    notices_who_left_behind_a_queue();
    a_lagging_reader_costs_bounded_memory();
    return check_result();
}
