/* Reading and writing where a cluster's services live. For jobs of connect.c and arrive.c. */
#include "daemon/remote/place.h"

#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>

#include "common/file.h"
#include "common/record.h"
#include "common/service_record.h"
#include "common/text.h"

static int record_path(const struct home *home, const char *cluster, char out[PATH_MAX])
{
    int n = snprintf(out, PATH_MAX, "%s/state/@cluster/%s.rec", home->root, cluster);
    return n < PATH_MAX ? 0 : -ENAMETOOLONG;
}

/* What lives there, when its records are on this home; if they are not, it cannot be told. */
static void look_for_services(const struct home *home, struct place *place)
{
    struct home there = *home;
    char folder[PATH_MAX];
    size_t used = 0;
    snprintf(there.host, sizeof there.host, "%s", place->host);
    DIR *dir = home_path(&there, folder, "state", "service") ? NULL : opendir(folder);
    place->needed = !dir;
    for (struct dirent *entry; dir && (entry = readdir(dir));) {
        size_t length = strlen(entry->d_name);
        if (length < 5 || length > 36 || strcmp(entry->d_name + length - 4, ".rec") != 0 ||
            !service_record_is_wanted(&there, entry->d_name, place->boot_id)) {
            continue;
        }
        place->needed = true;
        if (used < sizeof place->services - 40) {
            used += (size_t)snprintf(place->services + used, sizeof place->services - used,
                "%s%.*s", used ? ", " : "", (int)length - 4, entry->d_name);
        }
    }
    if (dir) {
        closedir(dir);
    }
}

void place_load(const struct home *home, const char *cluster, struct place *place)
{
    char path[PATH_MAX];
    struct record *record = NULL;
    *place = (struct place){0};
    if (record_path(home, cluster, path) || record_load(path, &record, NULL)) {
        return;
    }
    record_copy(record, "host", place->host, sizeof place->host);
    record_copy(record, "node", place->node, sizeof place->node);
    record_copy(record, "address", place->address, sizeof place->address);
    record_copy(record, "boot_id", place->boot_id, sizeof place->boot_id);
    place->at_us = record_integer(record, "at", 0);
    record_destroy(record);
    if (strchr(place->host, '/') || place->host[0] == '.') {
        place->host[0] = 0; /* nobody's name; it would lead out of state/ */
    }
    if (place->host[0]) {
        look_for_services(home, place);
    }
}

int place_store(
    const struct home *home, const char *cluster, const struct place *place, struct error *err)
{
    char path[PATH_MAX], folder[PATH_MAX];
    struct record *record = record_create();
    snprintf(folder, sizeof folder, "%s/state/@cluster", home->root);
    int code = record_path(home, cluster, path);
    code = code || !record ? error_set(err, -ENOMEM, "out of memory")
                           : dir_ensure_private(folder, err);
    if (!code) {
        record_add(record, "cluster", cluster);
        record_add(record, "host", place->host);
        record_add(record, "node", place->node);
        record_add(record, "address", place->address);
        record_add(record, "boot_id", place->boot_id);
        record_add_integer(record, "at", place->at_us);
        code = record_store(record, path, err);
    }
    record_destroy(record);
    return code;
}

void place_target(const struct place *place, char *const *members, char *out, size_t size)
{
    size_t length = strlen(place->host);
    out[0] = 0;
    for (; length && members && *members && !out[0]; members++) {
        size_t label = strcspn(*members, ".");
        bool whole = !strncasecmp(*members, place->host, length) &&
                     ((*members)[length] == '.' || !(*members)[length]);
        bool first = strcspn(place->host, ".") == label &&
                     !strncasecmp(*members, place->host, label) && !place->host[label];
        if (whole || first) {
            snprintf(out, size, "%s", *members);
        }
    }
    if (!out[0]) {
        snprintf(out, size, "%s", strchr(place->node, '.') ? place->node : place->address);
    }
}
