/* The durable record of a hop on this hub: state/<host>/hop/<cluster>.rec: whether it is wanted
 * and whether its last login needed a human, which a successor of gearsd must know before all
 * else. Beside it <cluster>.end, written by a tunnel that ended. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/file.h"
#include "common/record.h"
#include "daemon/core/log.h"
#include "daemon/remote/hop_private.h"

struct store_job {
    struct remote *remote;
    char folder[PATH_MAX], path[PATH_MAX], cluster[NAME_TEXT_SIZE];
    char prompt_id[NONCE_TEXT_SIZE]; /* what waits for it; "" */
    struct record *record;
    bool forbids; /* what it says keeps a successor from connecting */
    bool gone;    /* as it cannot be written, there is none */
};

/* Where a home has no room for "it needs a human", an older record must not deny it. */
static int run_store(void *context, struct error *err)
{
    struct store_job *job = context;
    int code = dir_ensure_private(job->folder, err);
    code = code ? code : record_store(job->record, job->path, err);
    if (code && job->forbids) {
        job->gone = !unlink(job->path) || errno == ENOENT;
    }
    return code;
}

static void on_stored(void *context, int code, const struct error *err)
{
    struct store_job *job = context;
    struct hop *hop = remote_find(job->remote, job->cluster);
    if (code) {
        log_line("hop not recorded path=%s cause=\"%s\"", job->path, err->text);
    }
    if (code && job->gone && hop) {
        hop_note(hop, "not-recorded",
            "%s; once it has ended, another gearsd will not know that it was wanted",
            err->text);
    }
    if (job->prompt_id[0] && hop) {
        hop_prompt_stored(hop, job->prompt_id, job->gone ? 0 : code, err);
    }
    record_destroy(job->record);
    free(job);
}

static struct record *make_record(const struct hop *hop)
{
    struct record *record = record_create();
    if (record) {
        record_add(record, "cluster", hop->config->name);
        record_add(record, "nonce", hop->nonce);
        record_add(record, "lease", hop->lease.nonce);
        record_add(record, "agent", hop->agent);
        record_add_integer(record, "wanted", hop->machine.wanted);
        record_add_integer(record, "human", hop->machine.human);
        record_add_integer(record, "authenticated_at", hop->authenticated_us);
        record_add_integer(record, "since", hop->since_us);
        record_add_integer(record, "reconnects", hop->machine.reconnects);
        record_add(record, "report.host", hop->report.host);
        record_add(record, "report.node", hop->report.node);
        record_add(record, "report.boot_id", hop->report.boot_id);
        record_add(record, "report.build", hop->report.build);
        record_add(record, "report.socket", hop->report.socket);
        record_add(record, "report.run", hop->report.run);
    }
    return record;
}

static int submit(struct hop *hop, const char *prompt_id)
{
    struct manager *manager = hop->remote->manager;
    struct store_job *job = calloc(1, sizeof *job);
    if (!job || !(job->record = make_record(hop)) ||
        home_path(&manager->home, job->folder, "state", "hop") ||
        home_path(&manager->home, job->path, "state", "hop/%s.rec", hop->config->name)) {
        goto fail;
    }
    job->remote = hop->remote;
    job->forbids = hop->machine.human || !hop->machine.wanted;
    snprintf(job->cluster, sizeof job->cluster, "%s", hop->config->name);
    snprintf(job->prompt_id, sizeof job->prompt_id, "%s", prompt_id);
    if (!worker_submit(manager->io, run_store, on_stored, job)) {
        return 0;
    }
fail:
    log_line("hop not recorded cluster=%s", hop->config->name);
    record_destroy(job ? job->record : NULL);
    free(job);
    return -EAGAIN;
}

void hop_store(struct hop *hop)
{
    (void)submit(hop, "");
}

int hop_store_prompted(struct hop *hop)
{
    return submit(hop, hop->prompt.id);
}

/* How the tunnel of this record ended, when it could still say so. */
static void load_end(struct hop *hop)
{
    char path[PATH_MAX];
    struct record *end = NULL;
    if (home_path(
            &hop->remote->manager->home, path, "state", "hop/%s.end", hop->config->name) ||
        record_load(path, &end, NULL)) {
        return;
    }
    if (string_equal(record_find(end, "nonce", 0), hop->nonce)) {
        hop->machine.cause =
            (enum link_tunnel_cause)record_integer(end, "cause", LINK_CAUSE_FAILED);
        record_copy(end, "text", hop->message, sizeof hop->message);
        hop->since_us = record_integer(end, "at", hop->since_us);
        hop->machine.human |= hop->machine.cause == LINK_CAUSE_AUTH_NEEDED ||
                              record_integer(end, "human", 0) != 0;
    }
    record_destroy(end);
}

void hop_load(struct hop *hop)
{
    char path[PATH_MAX];
    struct record *record = NULL;
    struct hop_report *report = &hop->report;
    if (home_path(
            &hop->remote->manager->home, path, "state", "hop/%s.rec", hop->config->name) ||
        record_load(path, &record, NULL)) {
        return;
    }
    hop->machine.wanted = record_integer(record, "wanted", 0) != 0;
    hop->machine.human = record_integer(record, "human", 0) != 0;
    hop->machine.reconnects = (int)record_integer(record, "reconnects", 0);
    hop->authenticated_us = record_integer(record, "authenticated_at", 0);
    hop->since_us = record_integer(record, "since", hop->since_us);
    record_copy(record, "nonce", hop->nonce, sizeof hop->nonce);
    record_copy(record, "lease", hop->lease.nonce, sizeof hop->lease.nonce);
    record_copy(record, "agent", hop->agent, sizeof hop->agent);
    record_copy(record, "report.host", report->host, sizeof report->host);
    record_copy(record, "report.node", report->node, sizeof report->node);
    record_copy(record, "report.boot_id", report->boot_id, sizeof report->boot_id);
    record_copy(record, "report.build", report->build, sizeof report->build);
    record_copy(record, "report.socket", report->socket, sizeof report->socket);
    record_copy(record, "report.run", report->run, sizeof report->run);
    record_destroy(record);
    load_end(hop);
}
