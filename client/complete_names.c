/* Names from gearsd, which is not started for it, else from the files. A word about neither
 * would only spoil the line that is being typed. */
#include "client/complete_names.h"

#include <glob.h>
#include <ini.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "client/tunnels.h"

enum { WORD_MOST = 128 };

void complete_offer(const char *prefix, const char *word, const char *meaning)
{
    if (!strncmp(word, prefix, strlen(prefix))) {
        printf("%s\t%s\n", word, meaning);
    }
}

/* What is being offered: services, clusters, or the clusters of NAME@. */
struct wish {
    const char *prefix, *kind, *meaning; /* kind: "service:" or "cluster:" */
    const char *before;                  /* "lab@", or "" */
    char last[WORD_MOST], given[64][WORD_MOST];
    size_t given_count;
};

/* Once each: packs and gears.conf may both have it. */
static void give(struct wish *wish, const char *name, const char *meaning)
{
    char word[2 * WORD_MOST];
    for (size_t i = 0; i < wish->given_count; i++) {
        if (!strcmp(wish->given[i], name)) {
            return;
        }
    }
    if (wish->given_count < 64) {
        snprintf(wish->given[wish->given_count++], WORD_MOST, "%s", name);
    }
    snprintf(word, sizeof word, "%s%s", wish->before, name);
    complete_offer(wish->prefix, word, meaning);
}

static int on_key(void *context, const char *section, const char *key, const char *value)
{
    struct wish *wish = context;
    size_t length = strlen(wish->kind);
    (void)key;
    (void)value;
    if (!strncmp(section, wish->kind, length) && strcmp(section, wish->last) != 0) {
        snprintf(wish->last, sizeof wish->last, "%s", section);
        give(wish, section + length, wish->meaning);
    }
    return 1;
}

static void give_configured(struct cli *cli, struct wish *wish)
{
    char path[PATH_MAX + 64], folder[PATH_MAX];
    glob_t found;
    bool clusters = !strcmp(wish->kind, "cluster:");
    if (!clusters) {
        give(wish, "lab", wish->meaning);
    }
    snprintf(path, sizeof path, "%s/etc/gears.conf", cli->home.root);
    ini_parse(path, on_key, wish);
    cli_program_dir(folder);
    snprintf(path, sizeof path, "%s/../share/clusters/*.conf", folder);
    if (clusters && glob(path, 0, NULL, &found) == 0) {
        for (size_t i = 0; i < found.gl_pathc; i++) {
            ini_parse(found.gl_pathv[i], on_key, wish);
        }
        globfree(&found);
    }
}

/* NULL when it does not run. */
static cJSON *ask(struct cli *cli)
{
    char path[PATH_MAX], *error = NULL;
    bool continues;
    cJSON *reply = NULL;
    struct varlink_client *client =
        home_path(&cli->home, path, "run", "gearsd.sck")
            ? NULL
            : varlink_client_open(path, COMPLETE_PATIENCE_MS, NULL, NULL);
    if (client && (varlink_client_send(client, "org.gears.Manager.Status", NULL, false, NULL) ||
                      varlink_client_receive(
                          client, COMPLETE_PATIENCE_MS, &reply, &error, &continues, NULL))) {
        reply = NULL;
    }
    if (error) {
        cJSON_Delete(reply);
        reply = NULL;
    }
    free(error);
    varlink_client_close(client);
    return reply;
}

static void give_tunnels(const cJSON *status, struct wish *wish, bool open_only)
{
    const cJSON *tunnel;
    char word[2 * WORD_MOST];
    cJSON_ArrayForEach(tunnel, cJSON_GetObjectItemCaseSensitive(status, "tunnels"))
    {
        const char *cluster = json_text(tunnel, "cluster");
        if (!open_only) {
            give(wish, cluster, json_text(tunnel, "state"));
        } else if (tunnel_is_open(tunnel)) {
            snprintf(word, sizeof word, "%.100s@%.100s", json_text(tunnel, "service"), cluster);
            complete_offer(wish->prefix, word, "behind a hop");
        }
    }
}

void complete_services(struct cli *cli, const char *prefix)
{
    const char *at = strchr(prefix, '@');
    char before[WORD_MOST];
    struct wish wish = {.prefix = prefix, .kind = at ? "cluster:" : "service:", .before = ""};
    wish.meaning = at ? "cluster" : "service";
    cJSON *status = ask(cli);
    if (at) {
        snprintf(before, sizeof before, "%.*s", (int)(at + 1 - prefix), prefix);
        wish.before = before;
        give_tunnels(status, &wish, false);
        give_configured(cli, &wish);
    } else if (status) {
        const cJSON *service;
        cJSON_ArrayForEach(service, cJSON_GetObjectItemCaseSensitive(status, "services"))
        {
            complete_offer(prefix, json_text(service, "name"), json_text(service, "state"));
        }
        give_tunnels(status, &wish, true);
    } else {
        give_configured(cli, &wish);
    }
    cJSON_Delete(status);
}

void complete_clusters(struct cli *cli, const char *prefix)
{
    struct wish wish = {
        .prefix = prefix, .kind = "cluster:", .meaning = "cluster", .before = ""};
    cJSON *status = ask(cli);
    give_tunnels(status, &wish, false);
    give_configured(cli, &wish);
    cJSON_Delete(status);
}
