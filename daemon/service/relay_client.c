/* Keeping one gears-relay running for this host and telling it what gearsd knows. */
#include "daemon/service/relay_client_private.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include "build_id.h"
#include "common/clock.h"
#include "common/unixsock.h"
#include "daemon/core/log.h"
#include "daemon/core/timer.h"
#include "daemon/service/spawn.h"

enum { RETRY_FIRST_MS = 100, RETRY_MOST_MS = 30000 };

static void connect_or_start(struct relay_client *client);

static void link_path(struct relay_client *client, char path[PATH_MAX])
{
    home_path(&client->manager->home, path, "run", "link/relay.sck");
}

/* The counters of a relay that ended go on counting from where they stood. */
static void unmap_counters(struct relay_client *client)
{
    for (struct service *s = client->manager->services; s; s = s->next) {
        if (client->counters && s->relay_slot >= 0) {
            s->base_in += atomic_load(&client->counters[s->relay_slot].bytes_in);
            s->base_out += atomic_load(&client->counters[s->relay_slot].bytes_out);
        }
        s->relay_slot = -1;
    }
    relay_route_end_counters(client);
    if (client->counters) {
        munmap(client->counters, RELAY_SLOTS * sizeof *client->counters);
        client->counters = NULL;
    }
}

static void on_status(struct relay_client *client, struct link_message *message)
{
    link_find_string(message, LINK_TAG_BUILD, 0, client->build, sizeof client->build);
    unmap_counters(client);
    if (message->fd_count) {
        void *memory = mmap(NULL, RELAY_SLOTS * sizeof *client->counters, PROT_READ, MAP_SHARED,
            message->fds[0], 0);
        client->counters = memory == MAP_FAILED ? NULL : memory;
    }
    client->tries = 0;
    client->feeds = link_u64(message, LINK_TAG_FEEDS, 0) == 1;
    log_line("relay connected build=%s pid=%llu", client->build,
        (unsigned long long)link_u64(message, LINK_TAG_PID, 0));
    relay_orders_put_all(client);
}

/* A service, or a route, has its counters there. */
static void on_slot(struct relay_client *client, const struct link_message *message)
{
    char name[RELAY_NAME_SIZE];
    if (!link_find_string(message, LINK_TAG_SERVICE, 0, name, sizeof name)) {
        snprintf(name, sizeof name, "%s", client->asked[message->request % 256]);
    }
    uint64_t told = link_u64(message, LINK_TAG_SLOT, RELAY_SLOTS);
    int slot = told < RELAY_SLOTS ? (int)told : -1;
    struct service *service = manager_find(client->manager, name);
    struct relay_route *route = service ? NULL : relay_route_find(client, name);
    if (service) {
        service->relay_slot = slot;
    } else if (route) {
        route->slot = slot;
    }
}

static bool is_answer(const struct link_message *message)
{
    return message->type == LINK_RELAY_OK || message->type == LINK_ERROR ||
           message->type == LINK_UNSUPPORTED;
}

static void on_service_message(struct relay_client *client, struct service *service,
    const struct link_message *message, const char *text)
{
    if (message->type == LINK_RELAY_TROUBLE && service) {
        service->probed_ms = 0;
        health_probe(service);
    } else if (message->type == LINK_ERROR) {
        manager_note(client->manager, service, "relay", "the relay refused: %s", text);
    }
}

static void on_message(void *context, struct link_message *message)
{
    struct relay_client *client = context;
    char name[RELAY_NAME_SIZE], text[300];
    link_find_string(message, LINK_TAG_SERVICE, 0, name, sizeof name);
    link_find_string(message, LINK_TAG_TEXT, 0, text, sizeof text);
    struct service *service = name[0] ? manager_find(client->manager, name) : NULL;
    struct relay_route *route = service ? NULL : relay_route_find(client, name);
    bool is_news = message->type != LINK_ERROR || message->request != END_REQUEST;
    if (message->type == LINK_RELAY_STATUS) {
        on_status(client, message);
    } else if (message->type == LINK_RELAY_OK && message->request >= SLOT_REQUEST) {
        on_slot(client, message);
    } else if (message->type == LINK_RELAY_REBOUND) {
        manager_note(client->manager, service, "rebound",
            "the socket file of %s had been deleted and was made again", name);
    } else if (message->type == LINK_RELAY_LOG) {
        log_line("relay %s", text);
    } else if (route && is_news) {
        relay_route_hear(route, message, text);
    } else if (is_news) {
        on_service_message(client, service, message, text);
    }
    if (is_answer(message)) {
        relay_orders_answered(client);
    }
}

static void on_retry(evutil_socket_t fd, short what, void *argument)
{
    (void)fd;
    (void)what;
    struct relay_client *client = argument;
    if (client->ending) {
        return;
    }
    if (!client->peer) {
        connect_or_start(client);
    } else if (client->build[0] && !client->feeds) {
        manager_note(client->manager, NULL, "relay",
            "the relay of build %s cannot serve hops; another takes its place and open "
            "connections go on",
            client->build);
        relay_client_drain(client, true);
    }
}

void relay_client_replace(struct relay_client *client)
{
    event_active(client->retry, EV_TIMEOUT, 0); /* not from within whatever calls this */
}

static void retry_later(struct relay_client *client)
{
    int64_t ms = RETRY_FIRST_MS;
    for (int i = 0; i < client->tries && ms < RETRY_MOST_MS; i++) {
        ms *= 2;
    }
    client->tries++;
    timer_arm(client->retry, ms);
}

static void on_closed(void *context)
{
    struct relay_client *client = context;
    link_peer_destroy(client->peer);
    client->peer = NULL;
    client->build[0] = 0;
    client->feeds = false;
    unmap_counters(client);
    if (!client->ending) {
        manager_note(client->manager, NULL, "relay-died", "the relay ended; starting another");
        if (client->tries) {
            retry_later(client);
        } else {
            client->tries = 1;
            connect_or_start(client);
        }
    }
}

static const struct link_peer_calls calls = {on_message, on_closed};

static int start_relay(struct relay_client *client, struct error *err)
{
    char path[PATH_MAX + 32], run[PATH_MAX], link[PATH_MAX], nonce[NONCE_TEXT_SIZE];
    struct link_frame frame;
    snprintf(path, sizeof path, "%s/gears-relay", client->manager->program_dir);
    int fd = spawn_helper(path, NULL, err);
    if (fd < 0) {
        return fd;
    }
    link_path(client, link);
    home_path(&client->manager->home, run, "run", "%s", "");
    nonce_make(nonce);
    link_frame_start(&frame, LINK_RELAY_START, 1);
    link_frame_string(&frame, LINK_TAG_RUN_DIR, run);
    link_frame_string(&frame, LINK_TAG_LINK_PATH, link);
    link_frame_string(&frame, LINK_TAG_NONCE, nonce);
    link_frame_string(&frame, LINK_TAG_BUILD, GEARS_BUILD_ID);
    int code = link_send(fd, &frame);
    if (code) {
        close(fd);
        return error_errno(err, code, "the relay did not take its orders");
    }
    return fd;
}

static void connect_or_start(struct relay_client *client)
{
    struct error err = {0};
    char path[PATH_MAX];
    link_path(client, path);
    int fd = unix_connect(path, SOCK_SEQPACKET, true, &err);
    struct ucred peer;
    if (fd >= 0 && !unix_peer(fd, &peer) && peer.uid == geteuid()) {
        link_send_empty(fd, LINK_HELLO, 1);
        client->found = true;
    } else {
        if (fd >= 0) {
            close(fd);
        }
        fd = start_relay(client, &err);
    }
    client->peer = fd < 0 ? NULL : link_peer_create(client->manager->base, fd, &calls, client);
    if (!client->peer) {
        log_line("relay not started cause=\"%s\"", err.text);
        retry_later(client);
    }
}

struct relay_client *relay_client_create(struct manager *manager)
{
    struct relay_client *client = calloc(1, sizeof *client);
    if (!client) {
        return NULL;
    }
    client->manager = manager;
    client->retry = evtimer_new(manager->base, on_retry, client);
    client->unanswered = evtimer_new(manager->base, relay_orders_unanswered, client);
    if (!client->retry || !client->unanswered) { /* gearsd ends for it */
        free(client);
        return NULL;
    }
    connect_or_start(client);
    return client;
}

bool relay_client_is_settling(const struct relay_client *client)
{
    bool settling = client->peer && client->found && !client->counters;
    for (struct service *s = client->manager->services; s && client->counters; s = s->next) {
        settling |= client->peer && client->found && s->relay_slot < 0 && service_is_served(s);
    }
    return settling;
}

void relay_client_counters(struct relay_client *client, const struct service *service,
    uint64_t *connections, uint64_t *bytes_in, uint64_t *bytes_out)
{
    *connections = 0;
    *bytes_in = service->base_in;
    *bytes_out = service->base_out;
    if (client && client->counters && service->relay_slot >= 0) {
        struct relay_counters *slot = &client->counters[service->relay_slot];
        *connections = atomic_load(&slot->connections);
        *bytes_in += atomic_load(&slot->bytes_in);
        *bytes_out += atomic_load(&slot->bytes_out);
    }
}

const char *relay_client_build(const struct relay_client *client)
{
    return client ? client->build : "";
}

void relay_client_drain(struct relay_client *client, bool replace)
{
    struct link_frame frame;
    char path[PATH_MAX];
    link_frame_start(&frame, LINK_RELAY_DRAIN, 0);
    relay_send(client, &frame);
    client->ending = true;
    link_peer_destroy(client->peer);
    client->peer = NULL;
    client->build[0] = 0;
    client->feeds = false;
    unmap_counters(client);
    if (replace) {
        client->ending = false;
        link_path(client, path);
        unlink(path);
        connect_or_start(client);
    }
}
