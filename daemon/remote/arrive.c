/* After the login: start gearsd there over the one session channel and learn where it listens.
 * The answer also tells on which node services live from now on. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cjson/cJSON.h>

#include "common/clock.h"
#include "daemon/core/log.h"
#include "daemon/core/timer.h"
#include "daemon/remote/hop_private.h"

/* LATE_MS: for the tunnel to say that the time is over. */
enum { REPORT_MS = 60000, LATE_MS = 10000, STATUS_NOT_FOUND = 127, STATUS_NOT_RUNNABLE = 126 };

/* `text` in single quotes, for sh and csh alike. */
static void quote(struct text *out, const char *text)
{
    text_printf(out, "'");
    for (; *text; text++) {
        if (*text == '\'') {
            text_printf(out, "'\\''");
        } else {
            text_append(out, text, 1);
        }
    }
    text_printf(out, "'");
}

/* A path there; ~ is the home there. */
static void quote_path(struct text *out, const char *path)
{
    bool below = path[0] == '~' && (path[1] == '/' || !path[1]);
    if (below) {
        text_printf(out, "\"$HOME\"");
    }
    quote(out, path + below);
}

/* GEARS_HOME there: what the cluster's section says, else ours, by the name that also holds
 * where the same home is mounted elsewhere. */
static void add_home(struct text *script, const struct hop *hop)
{
    const char *own = hop->remote->manager->home.root, *user = getenv("HOME");
    size_t length = user ? strlen(user) : 0;
    if (hop->config->home) {
        quote_path(script, hop->config->home);
    } else if (length > 1 && !strncmp(own, user, length) && own[length] == '/') {
        text_printf(script, "\"$HOME\"");
        quote(script, own + length);
    } else {
        quote(script, own);
    }
}

static char *make_command(const struct hop *hop)
{
    struct text script = {0}, command = {0};
    text_printf(&script, "GEARS_HOME=");
    add_home(&script, hop);
    text_printf(&script, "; export GEARS_HOME; exec ");
    if (hop->config->program) {
        quote_path(&script, hop->config->program);
    } else {
        text_printf(&script, "\"$GEARS_HOME/bin/gearsctl\"");
    }
    text_printf(&script, " daemon report --cluster %s", hop->config->name);
    text_printf(&command, "exec /bin/sh -c ");
    quote(&command, text_string(&script));
    text_finish(&script);
    return text_take(&command);
}

static void on_late(evutil_socket_t fd, short what, void *argument)
{
    (void)fd;
    (void)what;
    arrive_done(argument, NULL, -ETIMEDOUT, 0, "nothing, as gears-tunnel does not answer");
}

void arrive_stop(struct hop *hop)
{
    hop->reporting = false;
    timer_stop(&hop->late);
}

void arrive_start(struct hop *hop)
{
    if (hop->reporting || !hop->tunnel) {
        return;
    }
    char *command = make_command(hop);
    hop_tell_step(hop, "starting gearsd there");
    hop->report_failed = false;
    hop->reporting = command && !tunnel_client_run(hop, command, REPORT_MS);
    hop->reported_ms = clock_monotonic_ms();
    free(command);
    if (!hop->reporting) {
        arrive_done(hop, NULL, -ENOMEM, 0, "the tunnel takes no orders");
        return;
    }
    timer_start(&hop->late, hop->remote->manager->base, REPORT_MS + LATE_MS, on_late, hop);
}

static bool take(const cJSON *report, const char *key, char *out, size_t size)
{
    const char *text = cJSON_GetStringValue(cJSON_GetObjectItemCaseSensitive(report, key));
    return text && snprintf(out, size, "%s", text) < (int)size;
}

static int parse(const char *text, struct hop_report *report)
{
    cJSON *object = cJSON_Parse(text);
    struct hop_report found = {0};
    bool whole = take(object, "host", found.host, sizeof found.host) && found.host[0] &&
                 !strchr(found.host, '/') && found.host[0] != '.' &&
                 take(object, "boot_id", found.boot_id, sizeof found.boot_id) &&
                 take(object, "build", found.build, sizeof found.build) &&
                 take(object, "socket", found.socket, sizeof found.socket) &&
                 take(object, "run", found.run, sizeof found.run) && found.socket[0] == '/' &&
                 found.run[0] == '/';
    take(object, "node", found.node, sizeof found.node);
    cJSON_Delete(object);
    if (!whole) {
        return -EBADMSG;
    }
    found.known = true;
    *report = found;
    return 0;
}

struct place_job {
    struct home home;
    char cluster[NAME_TEXT_SIZE];
    struct place place;
};

static int run_store_place(void *context, struct error *err)
{
    struct place_job *job = context;
    return place_store(&job->home, job->cluster, &job->place, err);
}

static void on_place_stored(void *context, int code, const struct error *err)
{
    struct place_job *job = context;
    if (code) {
        log_line("place not recorded cluster=%s cause=\"%s\"", job->cluster, err->text);
    }
    free(job);
}

static void settle_place(struct hop *hop)
{
    const struct hop_report *report = &hop->report;
    struct place *place = &hop->place;
    if (place->host[0] && place->needed && strcmp(place->host, report->host) != 0) {
        hop_note(hop, "elsewhere", "%s live%s on %s; this hop leads to %s",
            place->services[0] ? place->services : "services",
            place->services[0] && !strchr(place->services, ',') ? "s" : "", place->host,
            report->host);
    } else if (place->host[0] && !strcmp(place->host, report->host) && place->boot_id[0] &&
               strcmp(place->boot_id, report->boot_id) != 0) {
        hop_note(hop, "host-rebooted", "%s was rebooted; the kernels that ran there are lost",
            report->host);
    }
    *place = (struct place){.at_us = clock_utc_us(), .needed = true};
    snprintf(place->host, sizeof place->host, "%s", report->host);
    snprintf(place->node, sizeof place->node, "%s", report->node);
    snprintf(place->boot_id, sizeof place->boot_id, "%s", report->boot_id);
    snprintf(place->address, sizeof place->address, "%s", hop->address);
    struct place_job *job = calloc(1, sizeof *job);
    if (job) {
        *job = (struct place_job){.home = hop->remote->manager->home, .place = *place};
        snprintf(job->cluster, sizeof job->cluster, "%s", hop->config->name);
    }
    if (!job ||
        worker_submit(hop->remote->manager->io, run_store_place, on_place_stored, job)) {
        log_line("place not recorded cluster=%s", hop->config->name);
        free(job);
    }
}

/* The hop is paid for and stays open; what is missing there is said with its remedy. */
static void explain(struct hop *hop, int code, int status, const char *words)
{
    const char *name = hop->config->name;
    if (status == STATUS_NOT_FOUND || status == STATUS_NOT_RUNNABLE) {
        hop_set_message(hop,
            "Gears is not installed there for that machine (%.200s); in Gears' sources on %s "
            "run: sh contrib/quickstart.sh",
            words[0] ? words : "no gearsctl", name);
    } else if (code == -ETIMEDOUT) {
        hop_set_message(hop, "gearsd there did not come up in time; it said: %.300s", words);
    } else if (status == 2) {
        hop_set_message(hop,
            "Gears there is too old for hops (%.200s); in Gears' sources on %s run: sh "
            "contrib/quickstart.sh",
            words, name);
    } else {
        hop_set_message(hop, "gearsd there cannot be started: %.400s",
            words[0] ? words : strerror(code ? -code : EIO));
    }
    hop_note(hop, "no-gearsd", "%s", hop->message);
}

void arrive_done(struct hop *hop, const char *report, int code, int status, const char *words)
{
    arrive_stop(hop);
    if (hop->machine.closing) {
        return; /* who waits does so for the next connection */
    }
    if (!report || parse(report, &hop->report)) {
        hop->report_failed = true;
        explain(hop, report ? -EBADMSG : code, report ? 0 : status,
            report ? "it reports nothing that can be used" : words);
        hop_finish_visitors(hop, -EIO, hop->message);
        hop_changed(hop);
        return;
    }
    hop->message[0] = 0;
    settle_place(hop);
    hop_store(hop);
    hop_note(hop, "arrived", "gearsd answers on %s", hop->report.host);
    hop_changed(hop);
    hop_finish_visitors(hop, 0, "");
}
