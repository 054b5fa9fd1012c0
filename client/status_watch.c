/* status --watch: everything at first, then each change as a row or an object a line. */
#include <stdio.h>
#include <string.h>

#include "client/status.h"
#include "client/target.h"
#include "client/tunnels.h"
#include "client/watcher.h"

enum { HOPS_MOST = 64 };

struct view {
    struct cli *cli;
    const char *name, *cluster;
    bool head_printed;
    struct {
        char cluster[NAME_MOST], words[300];
    } hops[HOPS_MOST]; /* what was printed last: only news is worth a row */
};

static int print_objects(const cJSON *list, cJSON *(*shape)(const cJSON *))
{
    const cJSON *item;
    int code = 0;
    cJSON_ArrayForEach(item, list)
    {
        cJSON *out = shape(item);
        cJSON_AddNumberToObject(out, "schema", 1);
        code = code ? code : cli_print_json(out, true);
        cJSON_Delete(out);
    }
    return code;
}

static int show_services(void *context, const cJSON *services)
{
    struct view *view = context;
    if (view->cli->json) {
        return print_objects(services, json_service);
    }
    watch_output_begin();
    if (!view->head_printed) {
        status_print_head(view->cli);
        view->head_printed = true;
    }
    status_print_services(view->cli, services);
    int code = cli_flush();
    watch_output_end();
    return code;
}

/* Whether this hop's state, cause or words differ from what was printed. */
static bool is_news(struct view *view, const cJSON *tunnel)
{
    char words[300];
    const char *cluster = json_text(tunnel, "cluster");
    size_t i = 0;
    snprintf(words, sizeof words, "%s %s %s %s", json_text(tunnel, "state"),
        json_text(tunnel, "cause"), json_text(tunnel, "message"), json_text(tunnel, "held_by"));
    while (i < HOPS_MOST && view->hops[i].cluster[0] &&
           strcmp(view->hops[i].cluster, cluster) != 0) {
        i++;
    }
    if (i == HOPS_MOST || !strcmp(view->hops[i].words, words)) {
        return false;
    }
    snprintf(view->hops[i].cluster, NAME_MOST, "%s", cluster);
    memcpy(view->hops[i].words, words, sizeof words);
    return true;
}

/* A service behind a hop that is not open is shown as what it is to its user: unreachable. */
static int show_unreachable(struct view *view, const cJSON *tunnel)
{
    cJSON *list = cJSON_CreateArray();
    cJSON_AddItemToArray(list, tunnel_unreachable_service(tunnel, view->name, view->cluster));
    int code = show_services(view, list);
    cJSON_Delete(list);
    return code;
}

static int show_hop(struct view *view, const cJSON *tunnel)
{
    if (view->cli->json) {
        cJSON *out = json_tunnel(tunnel);
        cJSON_AddNumberToObject(out, "schema", 1);
        int printed = cli_print_json(out, true);
        cJSON_Delete(out);
        return printed;
    }
    watch_output_begin();
    if (!view->head_printed) {
        status_print_head(view->cli);
        view->head_printed = true;
    }
    status_print_hop(view->cli, tunnel);
    int code = cli_flush();
    watch_output_end();
    return code;
}

static int show_tunnels(void *context, const cJSON *tunnels)
{
    struct view *view = context;
    const cJSON *tunnel;
    int code = 0;
    cJSON_ArrayForEach(tunnel, tunnels)
    {
        bool ours = !*view->cluster || !strcmp(view->cluster, json_text(tunnel, "cluster"));
        if (code || !ours || !(*view->cluster || tunnel_is_used(tunnel)) ||
            !is_news(view, tunnel)) {
            continue;
        }
        code = *view->cluster && *view->name && !tunnel_is_open(tunnel)
                   ? show_unreachable(view, tunnel)
                   : show_hop(view, tunnel);
    }
    return code;
}

int status_watch(struct cli *cli, const char *name, const char *cluster, bool usage)
{
    struct view view = {.cli = cli, .name = name ? name : "", .cluster = cluster};
    bool named = *view.name != 0;
    struct watcher watcher = {.cli = cli,
        .name = named ? view.name : NULL,
        .cluster = *cluster ? cluster : NULL,
        .here = named && !*cluster,
        .usage = usage,
        .keys = -1,
        .context = &view,
        .services = show_services,
        .tunnels = named && !*cluster ? NULL : show_tunnels};
    return watcher_run(&watcher);
}
