/* Bytes from a client: framing, JSON, checks, dispatch, replies. The first byte decides how the
 * rest is cut into reads; calls of Hold end late or with the connection. Every byte the server
 * says must be whole replies. */
#include <fcntl.h>
#include <poll.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "common/text.h"
#include "proto/varlink_depth.h"
#include "proto/varlink_service.h"

enum { PART_MOST = 64, ROUNDS_MOST = 32 };

static const char description[] =
    "interface a.b\n"
    "type P (k: string, v: ?int, p: ?P)\n"
    "method E(t: string) -> (t: string)\n"
    "method S(p: P, k: (up, down), l: ?[]P, m: ?[string]float, o: ?object, b: ?bool) -> ()\n"
    "method H() -> (t: ?string)\n";

static struct varlink_call *held;

static void echo(struct varlink_call *call, const cJSON *parameters, void *context)
{
    (void)context;
    varlink_call_reply(call, cJSON_Duplicate(parameters, true));
    if (!cJSON_IsString(cJSON_GetObjectItemCaseSensitive(parameters, "t"))) {
        abort(); /* parameters outlive the reply */
    }
}

static void shapes(struct varlink_call *call, const cJSON *parameters, void *context)
{
    (void)parameters;
    (void)context;
    varlink_call_reply(call, NULL);
}

static void on_close(struct varlink_call *call, void *context)
{
    (void)context;
    if (call != held) {
        abort();
    }
    held = NULL;
}

static void hold(struct varlink_call *call, const cJSON *parameters, void *context)
{
    (void)parameters;
    (void)context;
    if (held) {
        abort(); /* one at a time */
    }
    held = call;
    varlink_call_on_close(call, on_close, NULL);
}

static const struct varlink_method methods[] = {{"E", echo}, {"S", shapes}, {"H", hold}, {0}};

static struct varlink_service *service_get(void)
{
    static struct varlink_service *service;
    if (!service) {
        service = varlink_service_create("v", "p", "1", "u");
        if (!service || varlink_service_add(service, description, methods, NULL, NULL)) {
            abort();
        }
    }
    return service;
}

static void end_held(bool last)
{
    struct varlink_call *call = held;
    if (call && last) {
        held = NULL;
        varlink_call_reply(call, NULL);
    } else if (call) {
        varlink_call_continue(call, NULL);
    }
}

/* Whole messages of sane JSON, and nothing else. */
static void check_said(const char *said, size_t length)
{
    for (const char *at = said, *end = said + length; at < end;) {
        const char *zero = memchr(at, 0, (size_t)(end - at));
        if (!zero || !varlink_text_is_sane(at, (size_t)(zero - at), VARLINK_DEPTH_LIMIT + 1)) {
            abort();
        }
        cJSON *json = cJSON_ParseWithLengthOpts(at, (size_t)(zero - at) + 1, NULL, true);
        if (!cJSON_IsObject(cJSON_GetObjectItemCaseSensitive(json, "parameters"))) {
            abort();
        }
        cJSON_Delete(json);
        at = zero + 1;
    }
}

static void hear(int fd, struct text *said)
{
    char buffer[16384];
    for (ssize_t n; (n = recv(fd, buffer, sizeof buffer, 0)) > 0;) {
        text_append(said, buffer, (size_t)n);
    }
}

/* As a loop would: process while a wanted event is there. True: the server ended it. */
static bool pump(struct varlink_connection *connection, int server_fd)
{
    for (;;) {
        struct pollfd item = {.fd = server_fd, .events = varlink_connection_events(connection)};
        if (!item.events || poll(&item, 1, 0) <= 0) {
            return false;
        }
        if (varlink_connection_process(connection, item.revents)) {
            return true;
        }
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    int pair[2];
    struct text said = {0};
    if (size < 1 || socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, pair)) {
        return 0;
    }
    size_t part = data[0] & 0x80 ? size : 1 + data[0] % PART_MOST;
    part = part > size / ROUNDS_MOST ? part : size / ROUNDS_MOST; /* each costs system calls */
    bool streams = data[0] & 0x40, ended = false;
    struct varlink_connection *connection = varlink_connection_create(service_get(), pair[1]);
    for (size_t at = 1; connection && at < size && !ended; at += part) {
        size_t length = size - at < part ? size - at : part;
        if (send(pair[0], data + at, length, MSG_NOSIGNAL) != (ssize_t)length) {
            break;
        }
        ended = pump(connection, pair[1]);
        if (!ended && held) {
            end_held(!streams || at % 3 == 0);
            ended = pump(connection, pair[1]);
        }
        hear(pair[0], &said);
    }
    if (connection && !ended && data[size - 1] & 1) { /* time passes as well */
        ended = varlink_connection_expire(connection, INT64_MAX) || pump(connection, pair[1]);
    }
    if (connection) {
        varlink_connection_destroy(connection);
    }
    if (held) {
        abort(); /* its owner was not told */
    }
    hear(pair[0], &said);
    check_said(text_string(&said), said.length);
    text_finish(&said);
    close(pair[0]);
    return 0;
}
