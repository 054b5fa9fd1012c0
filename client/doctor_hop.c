/* doctor's checks of hops: whether their sockets' paths fit, and which layer of one fails. */
#include <glob.h>
#include <ini.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/un.h>

#include "client/doctor.h"
#include "common/clock.h"

enum { PATH_ROOM = sizeof((struct sockaddr_un *)0)->sun_path - 1 };

/* The longest sockets that the configuration asks for. */
struct paths {
    const struct home *home;
    char longest[PATH_MAX]; /* "": all fit */
    size_t length, too_long;
};

static void measure(struct paths *paths, const char *path)
{
    size_t length = strlen(path);
    paths->too_long += length > PATH_ROOM;
    if (length > PATH_ROOM && length > paths->length) {
        snprintf(paths->longest, sizeof paths->longest, "%s", path);
        paths->length = length;
    }
}

static void measure_services(struct paths *paths, const char *cluster, const char *services)
{
    char path[PATH_MAX], *copy = strdup(services), *save = NULL;
    for (char *name = copy ? strtok_r(copy, " \t,", &save) : NULL; name;
         name = strtok_r(NULL, " \t,", &save)) {
        snprintf(path, sizeof path, "%s/run/%s+%s.sck", paths->home->root, cluster, name);
        measure(paths, path);
    }
    free(copy);
}

/* ini_parse calls this for each key, and for each further line of a long one. */
static int on_key(void *context, const char *section, const char *key, const char *value)
{
    struct paths *paths = context;
    char path[PATH_MAX];
    const char *cluster = section + 8;
    if (strncmp(section, "cluster:", 8) != 0 || name_check(cluster, NULL)) {
        return 1;
    }
    if (!strcmp(key, "forward")) {
        measure_services(paths, cluster, value);
    }
    snprintf(path, sizeof path, "%s/run/%s.sck", paths->home->root, cluster);
    if (strcmp(path, paths->longest) != 0) {
        measure(paths, path);
    }
    if (!home_path(paths->home, path, "run", "link/t-%s.sck", cluster) &&
        strcmp(path, paths->longest) != 0) {
        measure(paths, path);
    }
    return 1;
}

static void read_configuration(struct paths *paths)
{
    char folder[PATH_MAX], path[PATH_MAX + 64];
    const char *site = getenv("GEARS_SITE_CONFIG");
    glob_t found;
    cli_program_dir(folder);
    snprintf(path, sizeof path, "%s/../share/clusters/*.conf", folder);
    if (!glob(path, 0, NULL, &found)) {
        for (size_t i = 0; i < found.gl_pathc; i++) {
            ini_parse(found.gl_pathv[i], on_key, paths);
        }
        globfree(&found);
    }
    ini_parse(site && *site ? site : "/etc/gears/gears.conf", on_key, paths);
    snprintf(path, sizeof path, "%s/etc/gears.conf", paths->home->root);
    ini_parse(path, on_key, paths);
}

void check_hop_paths(struct doctor *doctor)
{
    static struct paths paths;
    paths.home = &doctor->cli->home;
    read_configuration(&paths);
    if (paths.longest[0]) {
        doctor_find(doctor, "set GEARS_HOME to a shorter path and run: gearsctl init",
            "sockets of hops do not fit: %s has %zu bytes and the kernel allows %d",
            paths.longest, paths.length, PATH_ROOM);
    }
}

/* The first layer that fails, from the wire upwards, and what helps; %s is the cluster. */
static const struct layer {
    const char *cause, *words, *remedy;
} layers[] = {
    {"network-down", "the network between here and there",
        "see whether the server can be reached from here, then: gearsctl login %s"},
    {"refused", "the server's port",
        "ask your site whether its sshd runs, then: gearsctl login %s"},
    {"no-common-algorithm", "the SSH handshake",
        "put \"transport = openssh\" into [cluster:%s] of etc/gears.conf"},
    {"host-key-changed", "the server's identity",
        "do not log in before your site confirms the new host key, then remove the old one "
        "with "
        "ssh-keygen -R and: gearsctl login %s"},
    {"host-key-unknown", "the server's identity", "gearsctl login %s"},
    {"auth-needed", "the login", "gearsctl login %s"},
    {"auth-failed", "the login", "gearsctl login %s"},
    {"policy", "the site's limit on its age", "gearsctl login %s"},
    {"failed", "the connection", "gearsctl login %s"},
};

static const struct layer *find_layer(const char *cause)
{
    size_t count = sizeof layers / sizeof *layers;
    for (size_t i = 0; i < count; i++) {
        if (!strcmp(layers[i].cause, cause)) {
            return &layers[i];
        }
    }
    return &layers[count - 1];
}

static void report_layer(struct doctor *doctor, const cJSON *tunnel, const char *words,
    const char *remedy_format, const char *message)
{
    char remedy[400], age[32];
    const char *cluster = json_text(tunnel, "cluster"), *place = strstr(remedy_format, "%s");
    int64_t ms = (clock_utc_us() - (int64_t)json_number(tunnel, "since")) / 1000;
    duration_format(ms > 0 ? ms : 0, age, sizeof age);
    if (place) {
        snprintf(remedy, sizeof remedy, "%.*s%s%s", (int)(place - remedy_format), remedy_format,
            cluster, place + 2);
    } else {
        snprintf(remedy, sizeof remedy, "%s", remedy_format);
    }
    doctor_find(doctor, remedy, "the hop to %s is %s since %s: %s%s%s", cluster,
        json_text(tunnel, "state"), age, words, *message ? ": " : "", message);
}

static void check_hop(struct doctor *doctor, const cJSON *tunnel)
{
    const char *state = json_text(tunnel, "state"), *cause = json_text(tunnel, "cause");
    const char *message = json_text(tunnel, "message"), *holder = json_text(tunnel, "held_by");
    const char *cluster = json_text(tunnel, "cluster");
    if (!strcmp(state, "up")) {
        if (*message) { /* open, but nobody there to talk to */
            report_layer(doctor, tunnel, "gearsd there does not answer",
                strstr(message, "quickstart.sh")
                    ? "in Gears' sources on %s run: sh contrib/quickstart.sh"
                    : "gearsctl login %s",
                message);
        }
    } else if (!strcmp(state, "degraded")) {
        report_layer(doctor, tunnel, "the server does not answer",
            "wait: it is kept, and goes on when the network is back; or log in anew: gearsctl "
            "login %s --force",
            message);
    } else if (!strcmp(state, "connecting")) {
        doctor_note(
            doctor, "the hop to %s is connecting%s%s", cluster, *message ? ": " : "", message);
    } else if (*holder) {
        doctor_note(doctor, "run/%s.sck is on %s; to have it here: gearsctl takeover %s",
            cluster, holder, cluster);
    } else if (!strcmp(state, "auth-needed") && !*cause) {
        report_layer(doctor, tunnel, "the login", "gearsctl login %s", message);
    } else if (json_bool(tunnel, "wanted") || (*cause && strcmp(cause, "cancelled") != 0)) {
        const struct layer *layer = find_layer(cause);
        bool alone = json_bool(tunnel, "wanted") && !json_bool(tunnel, "human") &&
                     (layer == &layers[0] || layer == &layers[1]);
        report_layer(doctor, tunnel, layer->words,
            alone ? "wait: it connects again by itself; at once with: gearsctl login %s"
                  : layer->remedy,
            message);
    }
}

void check_hops(struct doctor *doctor)
{
    cJSON *status = doctor_ask(doctor, "Status", NULL);
    const cJSON *tunnel;
    cJSON_ArrayForEach(tunnel, cJSON_GetObjectItemCaseSensitive(status, "tunnels"))
    {
        check_hop(doctor, tunnel);
    }
    cJSON_Delete(status);
}
