/* Asking the gearsds of all open clusters at once, for a moment only: the answer of this host
 * must not wait for one that hangs. */
#include <stdlib.h>
#include <string.h>

#include "client/status.h"
#include "client/target.h"
#include "client/tunnels.h"
#include "common/clock.h"

enum { CLUSTERS_MOST = 64 };

struct asked {
    struct varlink_client *client;
    struct cli far; /* only what target_stamp reads */
};

static struct varlink_client *ask(const cJSON *tunnel, const char *name, int bound_ms)
{
    const char *control = json_text(tunnel, "control");
    struct varlink_client *client =
        *control ? varlink_client_open(control, bound_ms, NULL, NULL) : NULL;
    cJSON *parameters = name && *name ? cli_name(name) : cJSON_CreateObject();
    if (!client) {
        cJSON_Delete(parameters);
        return NULL;
    }
    if (varlink_client_send(client, "org.gears.Manager.Status", parameters, false, NULL)) {
        varlink_client_close(client);
        return NULL;
    }
    return client;
}

static int take(struct asked *asked, int64_t until, cJSON *services)
{
    cJSON *reply = NULL, *service;
    char *error = NULL;
    bool continues;
    int64_t left = until - clock_monotonic_ms();
    int code = varlink_client_receive(
        asked->client, left > 0 ? left : 0, &reply, &error, &continues, NULL);
    bool good = !code && !error;
    free(error);
    if (good) {
        target_stamp(&asked->far, reply);
        cJSON *list = cJSON_GetObjectItemCaseSensitive(reply, "services");
        while ((service = cJSON_DetachItemFromArray(list, 0))) {
            cJSON_AddItemToArray(services, service);
        }
    }
    if (!code) {
        cJSON_Delete(reply);
    }
    return good;
}

int status_gather(
    const cJSON *tunnels, const char *only, const char *name, int bound_ms, cJSON *services)
{
    struct asked *asked = calloc(CLUSTERS_MOST, sizeof *asked);
    int64_t until = clock_monotonic_ms() + bound_ms;
    size_t count = 0;
    int answered = 0;
    const cJSON *tunnel;
    cJSON_ArrayForEach(tunnel, tunnels)
    {
        const char *cluster = json_text(tunnel, "cluster");
        struct asked *one = asked ? &asked[count] : NULL;
        if (one && count < CLUSTERS_MOST && tunnel_is_open(tunnel) &&
            (!only || !strcmp(only, cluster)) && (one->client = ask(tunnel, name, bound_ms))) {
            one->far.remote = cli_name(cluster);
            count++;
        }
    }
    for (size_t i = 0; i < count; i++) {
        answered += take(&asked[i], until, services);
        varlink_client_close(asked[i].client);
        cJSON_Delete(asked[i].far.remote);
    }
    free(asked);
    return answered;
}
