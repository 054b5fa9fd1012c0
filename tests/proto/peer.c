/* The test interface and the pump between the two ends of a socket pair. */
#include "tests/proto/peer.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

const char test_interface[] =
    "interface org.gears.test\n"
    "type Pair (key: string, value: ?int)\n"
    "method Echo(text: string) -> (text: string)\n"
    "method Add(a: int, b: ?int) -> (sum: int)\n"
    "method Shapes(pair: Pair, kind: (up, down), pairs: ?[]Pair, map: ?[string]float,\n"
    "  any: ?object, set: ?[string]()) -> ()\n"
    "method Hold(text: ?string) -> (text: ?string)\n"
    "method Stream() -> (text: ?string)\n"
    "error Wrong (text: string)\n";

static void echo(struct varlink_call *call, const cJSON *parameters, void *context)
{
    ((struct peer *)context)->runs++;
    varlink_call_reply(call, cJSON_Duplicate(parameters, true));
    /* Still there: many methods refuse first and look at the rest later. */
    const cJSON *text = cJSON_GetObjectItemCaseSensitive(parameters, "text");
    if (!cJSON_IsString(text) || strlen(text->valuestring) > VARLINK_MESSAGE_LIMIT) {
        abort();
    }
}

static void add(struct varlink_call *call, const cJSON *parameters, void *context)
{
    ((struct peer *)context)->runs++;
    const cJSON *b = cJSON_GetObjectItemCaseSensitive(parameters, "b");
    cJSON *reply = cJSON_CreateObject();
    cJSON_AddNumberToObject(reply, "sum",
        cJSON_GetNumberValue(cJSON_GetObjectItemCaseSensitive(parameters, "a")) +
            (cJSON_IsNumber(b) ? b->valuedouble : 0));
    varlink_call_reply(call, reply);
}

static void shapes(struct varlink_call *call, const cJSON *parameters, void *context)
{
    (void)parameters;
    ((struct peer *)context)->runs++;
    varlink_call_reply(call, NULL);
}

static void on_close(struct varlink_call *call, void *context)
{
    struct peer *peer = context;
    for (int i = 0; i < peer->held_count; i++) {
        if (peer->held[i] == call) {
            peer->held[i] = NULL;
            peer->closed_count++;
        }
    }
}

static void hold(struct varlink_call *call, const cJSON *parameters, void *context)
{
    (void)parameters;
    struct peer *peer = context;
    if (peer->held_count == HELD_LIMIT) {
        varlink_call_error(call, "org.gears.test.Wrong", NULL);
        return;
    }
    peer->runs++;
    peer->held[peer->held_count++] = call;
    varlink_call_on_close(call, on_close, peer);
}

static const struct varlink_method methods[] = {
    {"Echo", echo}, {"Add", add}, {"Shapes", shapes}, {"Hold", hold}, {"Stream", hold}, {0}};

static void on_change(void *context)
{
    ((struct peer *)context)->changes++;
}

void peer_start(struct peer *peer)
{
    int pair[2];
    struct error err = {""};
    peer->service = varlink_service_create("Gears", "test", "1", "https://varlink.org");
    if (!peer->service ||
        varlink_service_add(peer->service, test_interface, methods, peer, &err) ||
        socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, pair) ||
        !(peer->connection = varlink_connection_create(peer->service, pair[1]))) {
        fprintf(stderr, "cannot start a peer: %s\n", err.text);
        exit(2);
    }
    peer->fd = pair[0];
    peer->server_fd = pair[1];
    varlink_connection_on_change(peer->connection, on_change, peer);
}

static void end_connection(struct peer *peer)
{
    varlink_connection_destroy(peer->connection);
    peer->connection = NULL;
}

void peer_finish(struct peer *peer)
{
    if (peer->connection) {
        end_connection(peer);
    }
    peer_leave(peer);
    varlink_service_destroy(peer->service);
    text_finish(&peer->in);
}

void peer_leave(struct peer *peer)
{
    if (peer->fd >= 0) {
        close(peer->fd);
        peer->fd = -1;
    }
}

/* As the daemon's loop does it: a connection that wants no event is not looked at. */
static bool pump_once(struct peer *peer)
{
    short events = peer->connection ? varlink_connection_events(peer->connection) : 0;
    struct pollfd item = {.fd = peer->server_fd, .events = events};
    if (!events || poll(&item, 1, 0) <= 0) {
        return false;
    }
    if (varlink_connection_process(peer->connection, item.revents)) {
        end_connection(peer);
    }
    return true;
}

void peer_pump(struct peer *peer)
{
    while (pump_once(peer)) {
    }
}

bool peer_send(struct peer *peer, const void *bytes, size_t length)
{
    const char *at = bytes;
    while (length) {
        ssize_t n = send(peer->fd, at, length, MSG_NOSIGNAL);
        if (n > 0) {
            at += n;
            length -= (size_t)n;
        } else if (n < 0 && errno == EAGAIN) {
            if (!pump_once(peer)) {
                return false; /* the server does not want it */
            }
        } else {
            return false;
        }
    }
    return true;
}

bool peer_say(struct peer *peer, const char *json)
{
    bool sent = peer_send(peer, json, strlen(json) + 1);
    peer_pump(peer);
    return sent;
}

const char *peer_hear(struct peer *peer)
{
    struct text *in = &peer->in;
    for (;;) {
        char *start = in->length > peer->used ? in->data + peer->used : NULL;
        char *zero = start ? memchr(start, 0, in->length - peer->used) : NULL;
        if (zero) {
            peer->used = (size_t)(zero + 1 - in->data);
            return start;
        }
        if (start && peer->used) {
            memmove(in->data, start, in->length - peer->used);
        }
        in->length -= peer->used;
        peer->used = 0;
        peer_pump(peer);
        char buffer[65536];
        ssize_t n = recv(peer->fd, buffer, sizeof buffer, 0);
        if (n <= 0) {
            return NULL;
        }
        text_append(in, buffer, (size_t)n);
    }
}

size_t peer_skip(struct peer *peer, size_t limit)
{
    char buffer[65536];
    ssize_t n = recv(peer->fd, buffer, limit < sizeof buffer ? limit : sizeof buffer, 0);
    return n > 0 ? (size_t)n : 0;
}

int peer_answer(struct peer *peer, int index, const char *json, bool final)
{
    struct varlink_call *call = peer->held[index];
    if (!call) {
        return -EPIPE;
    }
    if (!final) {
        return varlink_call_continue(call, cJSON_Parse(json));
    }
    peer->held[index] = NULL;
    varlink_call_on_close(call, NULL, NULL);
    return varlink_call_reply(call, cJSON_Parse(json));
}
