/* Routes as their owner in gearsd meets them: a relay client without services leads the real
 * gears-relay, and the test is the owner, the tunnel and the clients. */
#include <errno.h>
#include <netinet/in.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/clock.h"
#include "common/unixsock.h"
#include "daemon/service/manager.h"
#include "tests/unit/check.h"

enum { ROUTES = 40, PATIENCE_MS = 20000 };

static struct manager manager;
static struct relay_route routes[ROUTES];
static int demands, troubles, refusals, trouble_code;
static char refusal[300];
static bool is_dropping, is_putting;

static struct relay_client *lead(void)
{
    return manager.relay;
}

static void on_demand(struct relay_route *route, void *context)
{
    (void)route;
    CHECK(context == &manager);
    demands++;
    if (is_putting) { /* allowed, and no reason to be told again */
        relay_client_route_put(lead(), route);
    }
}

static void on_trouble(struct relay_route *route, int code, const char *text, void *context)
{
    (void)context;
    CHECK(text[0]);
    troubles++;
    trouble_code = code;
    if (is_dropping) {
        relay_client_route_drop(lead(), route);
    }
}

static void on_refused(struct relay_route *route, const char *text, void *context)
{
    (void)route;
    (void)context;
    refusals++;
    snprintf(refusal, sizeof refusal, "%s", text);
}

static void on_tick(evutil_socket_t fd, short what, void *argument)
{
    (void)fd;
    (void)what;
    (void)argument;
}

/* Let gearsd's loop run while the condition does not hold. */
#define AWAIT(condition)                                                                       \
    do {                                                                                       \
        int64_t end_ms = clock_monotonic_ms() + PATIENCE_MS;                                   \
        bool holds = false;                                                                    \
        while (!(holds = (condition)) && clock_monotonic_ms() < end_ms) {                      \
            event_base_loop(manager.base, EVLOOP_ONCE);                                        \
        }                                                                                      \
        check_that(holds, __FILE__, __LINE__, #condition);                                     \
    } while (0)

static struct relay_route *make_route(int i, enum link_service_state state)
{
    struct relay_route *route = &routes[i];
    *route = (struct relay_route){.state = state,
        .wait_ms = 60000,
        .since_us = clock_utc_us(),
        .demanded = on_demand,
        .trouble = on_trouble,
        .refused = on_refused,
        .context = &manager};
    snprintf(route->name, sizeof route->name, "lab@c%d", i);
    snprintf(route->target_path, sizeof route->target_path, "/far/lab%d.sck", i);
    snprintf(route->feed_path, sizeof route->feed_path, "%s/feed", manager.home.root);
    snprintf(
        route->listen_path, sizeof route->listen_path, "%s/run/c%d.sck", manager.home.root, i);
    snprintf(route->cause, sizeof route->cause, "down: no network");
    snprintf(route->command, sizeof route->command, "gearsctl login c%d", i);
    return route;
}

static int connect_to(const struct relay_route *route)
{
    return unix_connect(route->listen_path, SOCK_STREAM, false, NULL);
}

static bool is_there(const char *path)
{
    struct stat st;
    return !lstat(path, &st);
}

/* Take one client from the tunnel's listener; whether it is the route's. */
static int take(int feed, const struct relay_route *route)
{
    static uint8_t buffer[LINK_FRAME_LIMIT];
    struct link_message message;
    char name[RELAY_NAME_SIZE], target[UNIX_PATH_SIZE];
    int giver, client = -1;
    AWAIT((giver = unix_accept_same_uid(feed, NULL)) != -EAGAIN);
    struct pollfd wait = {.fd = giver, .events = POLLIN};
    poll(&wait, 1, PATIENCE_MS);
    if (CHECK(giver >= 0) && CHECK_INT(link_receive(giver, buffer, &message), 1)) {
        link_find_string(&message, LINK_TAG_SERVICE, 0, name, sizeof name);
        link_find_string(&message, LINK_TAG_TARGET_PATH, 0, target, sizeof target);
        CHECK_STRING(name, route->name);
        CHECK_STRING(target, route->target_path);
        CHECK_INT((long long)message.fd_count, 1);
        client = message.fds[0];
        message.fds[0] = -1;
        link_message_finish(&message);
    }
    close(giver);
    return client;
}

static void check_counters(
    const struct relay_route *route, uint64_t connections, uint64_t accepted)
{
    uint64_t now, all;
    AWAIT((relay_client_route_counters(lead(), route, &now, &all), now == connections));
    CHECK_INT((long long)all, (long long)accepted);
}

static void test_a_client_reaches_the_tunnel(int feed)
{
    struct relay_route *route = make_route(0, LINK_SERVICE_STARTING);
    relay_client_route_put(lead(), route);
    AWAIT(route->slot >= 0 && is_there(route->listen_path));
    int client = connect_to(route);
    CHECK(client >= 0 && write(client, "hello", 5) == 5);
    is_putting = true;
    AWAIT(demands == 1);
    check_counters(route, 1, 1);
    route->state = LINK_SERVICE_UP;
    relay_client_route_put(lead(), route);
    int end = take(feed, route);
    char bytes[5];
    CHECK(read(end, bytes, 5) == 5 && !memcmp(bytes, "hello", 5));
    CHECK_INT(demands, 1);
    check_counters(route, 0, 1);
    close(end);
    close(client);
}

/* Of more routes than orders may be unanswered every one is served. */
static void test_many(int feed)
{
    for (int i = 1; i < ROUTES; i++) {
        relay_client_route_put(lead(), make_route(i, LINK_SERVICE_STARTING));
        routes[i].state = LINK_SERVICE_UP;
        relay_client_route_put(lead(), &routes[i]);
    }
    for (int i = 0; i < ROUTES; i++) {
        AWAIT(routes[i].slot >= 0 && !routes[i].waits && is_there(routes[i].listen_path));
        int client = connect_to(&routes[i]), end = take(feed, &routes[i]);
        close(client);
        close(end);
    }
}

static void test_a_new_relay_is_told(int feed)
{
    struct relay_route *last = &routes[ROUTES - 1];
    static uint8_t buffer[LINK_FRAME_LIMIT];
    struct link_message message;
    char path[PATH_MAX];
    home_path(&manager.home, path, "run", "link/relay.sck");
    int fd = unix_connect(path, SOCK_SEQPACKET, false, NULL);
    link_send_empty(fd, LINK_HELLO, 1);
    CHECK_INT(link_receive(fd, buffer, &message), 1);
    kill((pid_t)link_u64(&message, LINK_TAG_PID, 0), SIGKILL);
    link_message_finish(&message);
    close(fd);
    AWAIT(last->slot < 0);
    AWAIT(last->slot >= 0 && routes[0].slot >= 0);
    relay_client_route_put(lead(), last); /* answered after the rest: all listen */
    AWAIT(!last->waits);
    int client, end;
    AWAIT((client = connect_to(last)) >= 0);
    end = take(feed, last);
    check_counters(last, 0, 2); /* the dead one's, too */
    close(client);
    close(end);
}

static void test_trouble_and_refusal(void)
{
    struct relay_route *route = &routes[1];
    snprintf(route->feed_path, sizeof route->feed_path, "%s/nobody", manager.home.root);
    relay_client_route_put(lead(), route);
    int client;
    AWAIT((client = connect_to(route)) >= 0);
    is_dropping = true;
    AWAIT(troubles > 0);
    CHECK_INT(trouble_code, ENOENT);
    char byte;
    CHECK_INT(read(client, &byte, 1), 0); /* dropped with the route */
    close(client);
    is_dropping = false;
    AWAIT(!is_there(route->listen_path));
    CHECK(!route->known);
    int taken = socket(AF_INET, SOCK_STREAM, 0);
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(0x7f000001)};
    socklen_t length = sizeof address;
    CHECK(!bind(taken, (struct sockaddr *)&address, length) && !listen(taken, 1) &&
          !getsockname(taken, (struct sockaddr *)&address, &length));
    routes[2].listen_port = ntohs(address.sin_port);
    relay_client_route_put(lead(), &routes[2]);
    AWAIT(refusals == 1);
    CHECK(strstr(refusal, "cannot listen on 127.0.0.1:"));
    close(taken);
    relay_client_route_put(lead(), &routes[2]);
    int fd = -1;
    int64_t end_ms = clock_monotonic_ms() + PATIENCE_MS;
    while (fd < 0 && clock_monotonic_ms() < end_ms) {
        event_base_loop(manager.base, EVLOOP_ONCE);
        fd = socket(AF_INET, SOCK_STREAM, 0);
        if (connect(fd, (struct sockaddr *)&address, length)) {
            close(fd);
            fd = -1;
        }
    }
    CHECK(fd >= 0);
    close(fd);
}

static void test_drop(void)
{
    struct relay_route *route = &routes[3];
    char path[UNIX_PATH_SIZE];
    snprintf(path, sizeof path, "%s", route->listen_path);
    AWAIT(is_there(path));
    relay_client_route_drop(lead(), route);
    AWAIT(!is_there(path));
    relay_client_route_drop(lead(), route); /* nothing to do */
    CHECK_INT(refusals, 1);                 /* no news that it was not there */
}

/* A relay of a build before routes is never told of one, but replaced. */
static void test_an_old_relay_is_replaced(int link)
{
    static uint8_t buffer[LINK_FRAME_LIMIT];
    struct link_message message;
    struct link_frame status;
    int told = -1, relay = unix_accept_same_uid(link, NULL);
    CHECK_INT(link_receive(relay, buffer, &message), 1);
    CHECK_INT(message.type, LINK_HELLO);
    relay_client_route_put(lead(), make_route(0, LINK_SERVICE_STARTING));
    link_frame_start(&status, LINK_RELAY_STATUS, 1);
    link_frame_string(&status, LINK_TAG_BUILD, "0.0.9");
    CHECK_INT(link_send(relay, &status), 0);
    AWAIT((told = link_receive(relay, buffer, &message)) != -EAGAIN);
    CHECK_INT(told, 1);
    CHECK_INT(message.type, LINK_RELAY_DRAIN);
    close(relay);
    close(link);
    AWAIT(routes[0].slot >= 0);
    relay_client_route_drop(lead(), &routes[0]);
}

static bool is_deserted(const char *link)
{
    int fd = unix_connect(link, SOCK_SEQPACKET, true, NULL);
    if (fd >= 0) {
        close(fd);
    }
    return fd == -ECONNREFUSED;
}

static void set_up(char root[64])
{
    struct error err;
    snprintf(root, 64, "/tmp/grXXXXXX");
    const char *bin = getenv("GEARS_BIN");
    if (!CHECK(mkdtemp(root)) || !CHECK(bin)) {
        exit(1);
    }
    setenv("GEARS_HOME", root, 1);
    if (home_init(&manager.home, &err) || home_prepare(&manager.home, &err)) {
        fprintf(stderr, "%s\n", err.text);
        exit(1);
    }
    snprintf(manager.program_dir, sizeof manager.program_dir, "%s", bin);
    manager.base = event_base_new();
    struct event *tick = event_new(manager.base, -1, EV_PERSIST, on_tick, NULL);
    struct timeval often = {0, 10000};
    event_add(tick, &often);
}

int main(void)
{
    char root[64], path[PATH_MAX];
    set_up(root);
    snprintf(path, sizeof path, "%s/feed", root);
    int feed = unix_listen(path, SOCK_SEQPACKET, 100, NULL);
    CHECK(feed >= 0);
    home_path(&manager.home, path, "run", "link/relay.sck");
    int link = unix_listen(path, SOCK_SEQPACKET, 1, NULL);
    manager.relay = relay_client_create(&manager);
    if (!CHECK(manager.relay)) {
        return check_result();
    }
    test_an_old_relay_is_replaced(link);
    test_a_client_reaches_the_tunnel(feed);
    test_many(feed);
    test_a_new_relay_is_told(feed);
    test_trouble_and_refusal();
    test_drop();
    relay_client_drain(manager.relay, false);
    AWAIT(is_deserted(path)); /* else it makes again what is removed */
    snprintf(path, sizeof path, "rm -r %s", root);
    CHECK_INT(system(path), 0);
    return check_result();
}
