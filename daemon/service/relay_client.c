/* Keeping one gears-relay running for this host and telling it what gearsd knows. */
#include "daemon/service/relay_client.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include "build_id.h"
#include "common/clock.h"
#include "common/relay_counters.h"
#include "common/unixsock.h"
#include "daemon/core/log.h"
#include "daemon/service/manager.h"
#include "daemon/service/spawn.h"

enum {
    SLOT_REQUEST = 1 << 24,
    WAIT_MS = 120000,
    RETRY_FIRST_MS = 100,
    RETRY_MOST_MS = 30000,
    ORDERS_MOST = 32,
    UNANSWERED_MS = 1000
};

struct relay_client {
    struct manager *manager;
    struct link_peer *peer;
    struct relay_counters *counters; /* NULL: none mapped */
    char build[48];
    struct event *retry;
    struct event *unanswered; /* armed while services wait for answers to earlier orders */
    int orders;               /* sent and not answered: at most ORDERS_MOST when one is put */
    int tries;
    bool ending;
    bool found; /* the relay was there before this gearsd: it has counters to tell */
    uint32_t request;
    char asked[256][33]; /* for relays that answer without the name: by request % 256 */
};

static void connect_or_start(struct relay_client *client);

static void link_path(struct relay_client *client, char path[PATH_MAX])
{
    home_path(&client->manager->home, path, "run", "link/relay.sck");
}

static enum link_service_state relay_state(const struct service *service)
{
    switch (service->machine.state) {
    case SERVICE_READY:
        return LINK_SERVICE_UP;
    case SERVICE_STARTING:
    case SERVICE_BACKOFF:
        return LINK_SERVICE_STARTING;
    case SERVICE_STOPPING:
        return service->machine.again ? LINK_SERVICE_STARTING : LINK_SERVICE_DOWN;
    default:
        return LINK_SERVICE_DOWN;
    }
}

static void send_frame(struct relay_client *client, struct link_frame *frame)
{
    int code = client->peer ? link_peer_send(client->peer, frame) : -ENOTCONN;
    if (!client->peer) {
        link_frame_finish(frame);
    } else if (code) {
        log_line("relay takes no message cause=\"%s\"", strerror(-code));
    } else {
        client->orders++;
    }
}

static void send_listeners(struct relay_client *client, struct service *service)
{
    struct link_frame frame;
    char path[PATH_MAX];
    const char *name = service->config->name;
    home_path(&client->manager->home, path, "run", "%s.sck", name);
    link_frame_start(&frame, LINK_RELAY_LISTEN, 0);
    link_frame_string(&frame, LINK_TAG_SERVICE, name);
    link_frame_string(&frame, LINK_TAG_LISTEN_PATH, path);
    send_frame(client, &frame);
    if (service->forward_port) {
        link_frame_start(&frame, LINK_RELAY_LISTEN, 0);
        link_frame_string(&frame, LINK_TAG_SERVICE, name);
        link_frame_u64(&frame, LINK_TAG_LISTEN_PORT, service->forward_port);
        send_frame(client, &frame);
    }
}

/* "STATE: CAUSE", for whoever meets the relay instead of the service. */
static void describe(const struct service *service, char *out, size_t size)
{
    const char *cause = service->cause[0] ? service->cause : service->health.message;
    if (!service->cause[0] && service->machine.state == SERVICE_STOPPED) {
        cause = service->exit.note[0]            ? service->exit.note
                : service->exit.how == EXIT_NONE ? "not started yet"
                : service->machine.wanted        ? "it ended by itself"
                                                 : "it was told to stop";
    }
    snprintf(out, size, "%s%s%s", service_state_name(service->machine.state),
        *cause ? ": " : "", cause);
}

static void put(struct relay_client *client, struct service *service)
{
    struct link_frame frame;
    const char *name = service->config->name;
    char path[PATH_MAX], command[80], cause[200];
    uint32_t slot = ++client->request % 256;
    snprintf(client->asked[slot], sizeof client->asked[slot], "%s", name);
    link_frame_start(&frame, LINK_RELAY_SERVICE, SLOT_REQUEST + slot);
    link_frame_string(&frame, LINK_TAG_SERVICE, name);
    if (service->launch.port) {
        link_frame_u64(&frame, LINK_TAG_TARGET_PORT, service->launch.port);
    } else {
        home_path(&client->manager->home, path, "run", "own/%s.sck", name);
        link_frame_string(&frame, LINK_TAG_TARGET_PATH, path);
    }
    snprintf(command, sizeof command, "gearsctl start %s", name);
    link_frame_u64(&frame, LINK_TAG_SERVICE_STATE, (uint64_t)relay_state(service));
    describe(service, cause, sizeof cause);
    link_frame_string(&frame, LINK_TAG_TEXT, cause);
    link_frame_u64(&frame, LINK_TAG_SINCE, (uint64_t)service->since_us);
    link_frame_string(&frame, LINK_TAG_COMMAND, command);
    link_frame_u64(&frame, LINK_TAG_WAIT_MS, WAIT_MS);
    send_frame(client, &frame);
    send_listeners(client, service);
}

/* Neither side's socket can fill: a service waits here, its newest state being sent once
 * earlier orders have been answered. */
static void put_waiting(struct relay_client *client)
{
    struct timeval patience = {UNANSWERED_MS / 1000, UNANSWERED_MS % 1000 * 1000};
    for (struct service *s = client->manager->services; s && client->peer; s = s->next) {
        if (s->relay_waits && client->orders >= ORDERS_MOST) {
            event_add(client->unanswered, &patience);
            return;
        }
        if (s->relay_waits) {
            s->relay_waits = false;
            put(client, s);
        }
    }
    event_del(client->unanswered);
}

/* An answer was lost, as when gearsd stood still for long. */
static void on_unanswered(evutil_socket_t fd, short what, void *argument)
{
    (void)fd;
    (void)what;
    struct relay_client *client = argument;
    client->orders = 0;
    put_waiting(client);
}

static void count_answer(struct relay_client *client)
{
    client->orders -= client->orders > 0;
    if (event_pending(client->unanswered, EV_TIMEOUT, NULL)) {
        put_waiting(client);
    }
}

void relay_client_put(struct relay_client *client, struct service *service)
{
    if (client && client->peer && service_is_served(service)) {
        service->relay_waits = true;
        put_waiting(client);
    }
}

void relay_client_forget(struct relay_client *client, struct service *service)
{
    struct link_frame frame;
    if (!service_is_served(service)) {
        return;
    }
    link_frame_start(&frame, LINK_RELAY_FORGET, 0);
    link_frame_string(&frame, LINK_TAG_SERVICE, service->config->name);
    send_frame(client, &frame);
}

void relay_client_unlisten_port(
    struct relay_client *client, struct service *service, uint16_t port)
{
    struct link_frame frame;
    link_frame_start(&frame, LINK_RELAY_UNLISTEN, 0);
    link_frame_string(&frame, LINK_TAG_SERVICE, service->config->name);
    link_frame_u64(&frame, LINK_TAG_LISTEN_PORT, port);
    send_frame(client, &frame);
}

static void put_all(struct relay_client *client)
{
    client->orders = 0;
    for (struct service *s = client->manager->services; s; s = s->next) {
        s->relay_waits = service_is_served(s);
    }
    put_waiting(client);
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
    log_line("relay connected build=%s pid=%llu", client->build,
        (unsigned long long)link_u64(message, LINK_TAG_PID, 0));
    put_all(client);
}

static void on_message(void *context, struct link_message *message)
{
    struct relay_client *client = context;
    char name[33], text[300];
    link_find_string(message, LINK_TAG_SERVICE, 0, name, sizeof name);
    link_find_string(message, LINK_TAG_TEXT, 0, text, sizeof text);
    struct service *service = name[0] ? manager_find(client->manager, name) : NULL;
    switch (message->type) {
    case LINK_RELAY_STATUS:
        on_status(client, message);
        break;
    case LINK_RELAY_OK:
        if (message->request >= SLOT_REQUEST) {
            service = manager_find(
                client->manager, name[0] ? name : client->asked[message->request % 256]);
            uint64_t slot = link_u64(message, LINK_TAG_SLOT, RELAY_SLOTS);
            if (service) {
                service->relay_slot = slot < RELAY_SLOTS ? (int)slot : -1;
            }
        }
        count_answer(client);
        break;
    case LINK_RELAY_TROUBLE:
        if (service) {
            service->probed_ms = 0;
            health_probe(service);
        }
        break;
    case LINK_RELAY_REBOUND:
        manager_note(client->manager, service, "rebound",
            "the socket file of %s had been deleted and was made again", name);
        break;
    case LINK_RELAY_LOG:
        log_line("relay %s", text);
        break;
    case LINK_ERROR:
        manager_note(client->manager, service, "relay", "the relay refused: %s", text);
        count_answer(client);
        break;
    case LINK_UNSUPPORTED:
        count_answer(client);
        break;
    default:
        break;
    }
}

static void on_retry(evutil_socket_t fd, short what, void *argument)
{
    (void)fd;
    (void)what;
    connect_or_start(argument);
}

static void retry_later(struct relay_client *client)
{
    int64_t ms = RETRY_FIRST_MS;
    for (int i = 0; i < client->tries && ms < RETRY_MOST_MS; i++) {
        ms *= 2;
    }
    client->tries++;
    struct timeval left = {ms / 1000, ms % 1000 * 1000};
    event_add(client->retry, &left);
}

static void on_closed(void *context)
{
    struct relay_client *client = context;
    link_peer_destroy(client->peer);
    client->peer = NULL;
    client->build[0] = 0;
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
    client->unanswered = evtimer_new(manager->base, on_unanswered, client);
    if (!client->retry || !client->unanswered) {
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
    send_frame(client, &frame);
    client->ending = true;
    link_peer_destroy(client->peer);
    client->peer = NULL;
    unmap_counters(client);
    if (replace) {
        client->ending = false;
        link_path(client, path);
        unlink(path);
        connect_or_start(client);
    }
}
