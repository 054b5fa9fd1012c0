/* One connection for each gearsd, all in one poll; nothing is asked twice. */
#include "client/watcher.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "client/target.h"
#include "client/tunnels.h"

enum { FEEDS_MOST = 65, OPEN_MS = 1000 };

struct feed {
    struct cli cli; /* its `remote` names the cluster; the first feed is this host's */
    bool answered;
};

struct state {
    const struct watcher *watcher;
    struct feed feeds[FEEDS_MOST];
    size_t count;
};

static cJSON *make_parameters(const struct watcher *watcher, bool far)
{
    bool named = watcher->name && *watcher->name && (far || watcher->here);
    cJSON *parameters = named ? cli_name(watcher->name) : cJSON_CreateObject();
    if (watcher->usage) {
        cJSON_AddBoolToObject(parameters, "usage", true);
    }
    return parameters;
}

static void drop(struct state *state, size_t index)
{
    cli_fork_end(&state->feeds[index].cli);
    state->feeds[index] = state->feeds[--state->count];
}

static void open_feed(struct state *state, const cJSON *tunnel)
{
    const char *control = json_text(tunnel, "control");
    struct feed *feed = &state->feeds[state->count];
    struct varlink_client *client = *control && state->count < FEEDS_MOST
                                        ? varlink_client_open(control, OPEN_MS, NULL, NULL)
                                        : NULL;
    if (!client) {
        return;
    }
    if (varlink_client_send(client, "org.gears.Manager.Status",
            make_parameters(state->watcher, true), true, NULL)) {
        varlink_client_close(client);
        return;
    }
    *feed = (struct feed){.cli = cli_fork(state->watcher->cli, NULL)};
    feed->cli.client = client;
    feed->cli.remote = cli_name(json_text(tunnel, "cluster"));
    cJSON_AddItemToObject(feed->cli.remote, "tunnel", cJSON_Duplicate(tunnel, true));
    state->count++;
}

static size_t find_feed(const struct state *state, const char *cluster)
{
    size_t i = 1;
    while (i < state->count && strcmp(target_cluster(&state->feeds[i].cli), cluster) != 0) {
        i++;
    }
    return i;
}

/* Feeds follow the hops: a new one where a hop has opened, none where it is gone. */
static int on_tunnels(struct state *state, const cJSON *tunnels)
{
    const struct watcher *watcher = state->watcher;
    const cJSON *tunnel;
    int code = watcher->tunnels && cJSON_GetArraySize(tunnels)
                   ? watcher->tunnels(watcher->context, tunnels)
                   : 0;
    cJSON_ArrayForEach(tunnel, tunnels)
    {
        const char *cluster = json_text(tunnel, "cluster");
        if (watcher->here || (watcher->cluster && strcmp(watcher->cluster, cluster) != 0)) {
            continue;
        }
        size_t found = find_feed(state, cluster);
        if (tunnel_is_open(tunnel) && found == state->count) {
            open_feed(state, tunnel);
        } else if (!tunnel_is_open(tunnel) && found < state->count) {
            drop(state, found);
        }
    }
    return code;
}

static int on_reply(struct state *state, size_t index, const cJSON *reply)
{
    const struct watcher *watcher = state->watcher;
    const cJSON *services = cJSON_GetObjectItemCaseSensitive(reply, "services");
    int code = 0;
    state->feeds[index].answered = true;
    if (watcher->services && (index || !watcher->cluster) && cJSON_GetArraySize(services)) {
        code = watcher->services(watcher->context, services);
    }
    return code || index
               ? code
               : on_tunnels(state, cJSON_GetObjectItemCaseSensitive(reply, "tunnels"));
}

/* A gearsd over there went away: for its successor, which it may have become by an upgrade, or
 * for good, when it did not even answer. */
static int on_lost(struct state *state, size_t index)
{
    const struct watcher *watcher = state->watcher;
    struct feed *feed = &state->feeds[index];
    bool answered = feed->answered;
    cJSON *tunnel = cJSON_DetachItemFromObjectCaseSensitive(feed->cli.remote, "tunnel");
    int code = 0;
    drop(state, index);
    if (answered) {
        open_feed(state, tunnel);
    } else if (watcher->lost) {
        code = watcher->lost(watcher->context, json_text(tunnel, "cluster"));
    }
    cJSON_Delete(tunnel);
    return code;
}

/* Take all that has come from one. */
static int drain(struct state *state, size_t index)
{
    struct feed *feed = &state->feeds[index];
    for (;;) {
        struct error err;
        cJSON *reply = NULL;
        char *error = NULL;
        bool continues = false;
        int code =
            varlink_client_receive(feed->cli.client, 0, &reply, &error, &continues, &err);
        if (code == -ETIMEDOUT) {
            return 0;
        }
        bool broken = code || error || !continues;
        if (!code && !error) {
            target_stamp(&feed->cli, reply);
            int result = on_reply(state, index, reply);
            cJSON_Delete(reply);
            if (result) {
                return result;
            }
            if (!broken) {
                continue;
            }
        } else if (!code) {
            cJSON_Delete(reply);
        }
        free(error);
        if (index) {
            return on_lost(state, index);
        }
        cli_say("%s", code ? err.text : "gearsd ended the stream; call again");
        return EXIT_UNREACHABLE;
    }
}

static int wait_and_take(struct state *state)
{
    struct pollfd items[FEEDS_MOST + 1];
    size_t count = state->count;
    const struct watcher *watcher = state->watcher;
    for (size_t i = 0; i < count; i++) {
        items[i] = (struct pollfd){
            .fd = varlink_client_fd(state->feeds[i].cli.client), .events = POLLIN};
    }
    items[count] = (struct pollfd){.fd = watcher->keys, .events = POLLIN};
    if (poll(items, count + 1, -1) < 0) {
        return errno == EINTR ? 0 : EXIT_FAILED;
    }
    if (items[count].revents && watcher->key) {
        return watcher->key(watcher->context, watcher->keys);
    }
    for (size_t i = count; i-- > 0;) { /* backwards: drop moves the last one */
        if (items[i].revents && i < state->count) {
            int code = drain(state, i);
            if (code) {
                return code;
            }
        }
    }
    return 0;
}

int watcher_run(const struct watcher *watcher)
{
    struct state *state = calloc(1, sizeof *state);
    cJSON *reply = NULL;
    bool continues;
    if (!state) {
        cli_say("out of memory");
        return EXIT_FAILED;
    }
    state->watcher = watcher;
    state->feeds[0].cli = cli_fork(watcher->cli, watcher->cli->subject);
    state->count = 1;
    int code = cli_begin(&state->feeds[0].cli, "Status", make_parameters(watcher, false), -1,
        &reply, &continues);
    code = code ? code : on_reply(state, 0, reply);
    cJSON_Delete(reply);
    code = code ? code : drain(state, 0); /* what came with it */
    while (!code) {
        code = wait_and_take(state);
    }
    for (size_t i = 0; i < state->count; i++) {
        cli_fork_end(&state->feeds[i].cli);
    }
    free(state);
    return code;
}
