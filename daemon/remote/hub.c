/* Which hub serves run/<cluster>.sck: the lease of that name, as this hub's hop holds it. It is
 * kept while anything here needs it, looked after when somebody looks, lost to another hub,
 * taken over by a human's order, given back. Called by hop.c, remote.c and connect.c. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/clock.h"
#include "daemon/core/log.h"
#include "daemon/remote/hop_private.h"

enum { FRESH_MS = 2000 };

struct hub_job {
    struct remote *remote;
    struct home home;
    char cluster[NAME_TEXT_SIZE];
    char before[NONCE_TEXT_SIZE]; /* the hop's lease as the job began */
    struct lease lease;
    struct lease_seen by;            /* who has it */
    struct hop_visitor *visitor;     /* whom it is for, if that still waits */
    char prompt_id[NONCE_TEXT_SIZE]; /* the prompt that waits for it; "" */
};

static struct hub_job *make_job(struct hop *hop)
{
    struct hub_job *job = calloc(1, sizeof *job);
    if (job) {
        job->remote = hop->remote;
        job->home = hop->remote->manager->home;
        job->lease = hop->lease;
        memcpy(job->before, hop->lease.nonce, sizeof job->before);
        snprintf(job->cluster, sizeof job->cluster, "%s", hop->config->name);
    }
    return job;
}

static int submit(struct hub_job *job, worker_run *run, worker_done *done)
{
    int code = job ? worker_submit(job->remote->manager->work, run, done, job) : -ENOMEM;
    if (code) {
        free(job);
    }
    return code;
}

/* Whether something here serves the name, or is about to. */
static bool is_needed(const struct hop *hop)
{
    const struct hop_machine *machine = &hop->machine;
    return machine->wanted || hop->tunnel || hop->preparing ||
           machine->state == HOP_CONNECTING ||
           (machine->state == HOP_AUTH_NEEDED && machine->attended);
}

static int run_release(void *context, struct error *err)
{
    (void)err;
    lease_release(&((struct hub_job *)context)->lease);
    return 0;
}

/* Only now: until the file is gone a successor must know that it is ours to remove. */
static void on_released(void *context, int code, const struct error *err)
{
    (void)code;
    (void)err;
    struct hub_job *job = context;
    struct hop *hop = remote_find(job->remote, job->cluster);
    if (hop) {
        hop_store(hop);
    }
    free(job);
}

/* On the worker that claims leases, so that a login right behind finds the name free. */
void hub_settle(struct hop *hop)
{
    if (hop->lease.nonce[0] && !is_needed(hop) &&
        !submit(make_job(hop), run_release, on_released)) {
        hop->lease.nonce[0] = 0;
    }
}

void hub_lose(struct hop *hop, const char *holder)
{
    char words[HOP_TEXT];
    snprintf(words, sizeof words, "run/%s.sck is held by %s now", hop->config->name, holder);
    snprintf(hop->held_by, sizeof hop->held_by, "%s", holder);
    hop->lease.nonce[0] = 0;
    routes_drop(hop);
    hop_note(hop, "taken-over", "%s; the hop here is closed", words);
    hop->machine.cause = LINK_CAUSE_CANCELLED;
    hop_set_message(hop, "%s", words);
    hop_apply(hop, HOP_LOGOUT);
    if (hop->tunnel && !hop->machine.closing) { /* found, and has not said yet how it is */
        tunnel_client_close(hop, LINK_CAUSE_CANCELLED, words);
    }
    hop_store(hop);
}

/* The lease is this hub's, perhaps as a new one. */
static void take(struct hop *hop, const struct hub_job *job)
{
    hop->held_by[0] = 0;
    if (strcmp(hop->lease.nonce, job->lease.nonce) != 0) {
        hop->lease = job->lease;
        hop_store(hop);
        hop_changed(hop);
    }
}

static int run_check(void *context, struct error *err)
{
    struct hub_job *job = context;
    return lease_keep(&job->home, &job->lease, &job->by, err);
}

/* A lease that can be neither read nor written is no reason to close what a human paid for. */
static void on_checked(void *context, int code, const struct error *err)
{
    struct hub_job *job = context;
    struct hop *hop = remote_find(job->remote, job->cluster);
    bool same = hop && !strcmp(hop->lease.nonce, job->before);
    if (same && code == 1) {
        hop_finish_visitors(
            hop, -EEXIST, "another hub took over while this one was logging in");
        hub_lose(hop, job->by.node);
    } else if (hop) {
        if (code < 0) {
            log_line("lease not checked cluster=%s cause=\"%s\"", job->cluster, err->text);
        } else if (!code && (same || !hop->lease.nonce[0])) {
            take(hop, job);
        } /* else another job was quicker, and its lease is newer */
        if (job->prompt_id[0] && !strcmp(hop->prompt.id, job->prompt_id)) {
            hop_show_prompt(hop);
        }
        hub_settle(hop); /* it may have been given back meanwhile */
    }
    free(job);
}

int hub_check(struct hop *hop, const char *prompt_id)
{
    struct hub_job *job = make_job(hop);
    hop->lease_checked_ms = clock_monotonic_ms();
    if (job) {
        snprintf(job->prompt_id, sizeof job->prompt_id, "%s", prompt_id);
    }
    return submit(job, run_check, on_checked);
}

bool hub_is_fresh(const struct hop *hop)
{
    return clock_monotonic_ms() - hop->lease_checked_ms < FRESH_MS;
}

bool hub_reclaim(struct hop *hop, bool needed)
{
    struct lease_seen by;
    struct error err;
    if (!needed) {
        lease_release(&hop->lease);
        hop->lease.nonce[0] = 0;
        return true;
    }
    int code = lease_keep(&hop->remote->manager->home, &hop->lease, &by, &err);
    if (code == 1) {
        hub_lose(hop, by.node);
    } else if (code) {
        log_line("lease not taken cluster=%s cause=\"%s\"", hop->config->name, err.text);
    }
    return code != 1;
}

static int run_take_over(void *context, struct error *err)
{
    struct hub_job *job = context;
    if (job->lease.nonce[0] && lease_is_held(&job->lease) == 1) {
        return 0;
    }
    return lease_take_over(&job->home, job->lease.path, &job->lease, err);
}

/* Whoever waits for this job hears of its end, unless it left. */
static void finish_visit(
    struct hop *hop, struct hop_visitor *visitor, int code, const struct error *err)
{
    struct error words = *err;
    for (struct hop_visitor *v = hop ? hop->visitors : NULL; v; v = v->next) {
        if (v == visitor) {
            hop_leave(hop, visitor);
            visitor->done(visitor, code, &words);
            return;
        }
    }
}

static void on_taken(void *context, int code, const struct error *err)
{
    struct hub_job *job = context;
    struct hop *hop = remote_find(job->remote, job->cluster);
    if (hop && !code) {
        hop_note(hop, "takeover", "run/%s.sck is this hub's now", job->cluster);
        take(hop, job);
    }
    finish_visit(hop, job->visitor, code, err);
    free(job);
}

/* Run a job that `visitor` waits for. */
static void start_visit(
    struct hop *hop, struct hop_visitor *visitor, worker_run *run, worker_done *done)
{
    struct hub_job *job = make_job(hop);
    struct error err;
    if (job) {
        job->visitor = visitor;
    }
    visitor->asked = false;
    visitor->next = hop->visitors;
    hop->visitors = visitor;
    if (submit(job, run, done)) {
        hop_leave(hop, visitor);
        int code = error_set(&err, -EAGAIN, "the home does not answer now; try again");
        visitor->done(visitor, code, &err);
    }
}

void hop_takeover(struct hop *hop, struct hop_visitor *visitor)
{
    log_audit("takeover cluster=%s", hop->config->name);
    start_visit(hop, visitor, run_take_over, on_taken);
}

static int run_look(void *context, struct error *err)
{
    struct hub_job *job = context;
    (void)err;
    int code = lease_look(&job->home, job->lease.path, &job->by);
    return code == -ENOENT ? 0 : code; /* nobody's then */
}

static void on_looked(void *context, int code, const struct error *err)
{
    struct hub_job *job = context;
    struct hop *hop = remote_find(job->remote, job->cluster);
    if (hop && !hop->lease.nonce[0] && !code) {
        snprintf(hop->held_by, sizeof hop->held_by, "%s", job->by.here ? "" : job->by.node);
    }
    finish_visit(hop, job->visitor, code, err);
    free(job);
}

void hop_look(struct hop *hop, struct hop_visitor *visitor)
{
    start_visit(hop, visitor, run_look, on_looked);
}
