/* Which hub serves run/<cluster>.sck: taking the right over by a human's order, giving it up.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "daemon/core/log.h"
#include "daemon/remote/hop.h"

struct hub_job {
    struct remote *remote;
    struct home home;
    char cluster[33], path[PATH_MAX];
    struct lease lease;
    char holder[HOST_NAME_SIZE]; /* another hub, as it is reached; "" */
    struct hop_visitor *visitor; /* whom it is for, if that still waits */
};

static struct hub_job *make_job(struct hop *hop)
{
    struct hub_job *job = calloc(1, sizeof *job);
    if (job) {
        job->remote = hop->remote;
        job->home = hop->remote->manager->home;
        job->lease = hop->lease;
        snprintf(job->cluster, sizeof job->cluster, "%s", hop->config->name);
        snprintf(job->path, sizeof job->path, "%s/run/%s.lease", job->home.root, job->cluster);
    }
    return job;
}

static int run_take_over(void *context, struct error *err)
{
    struct hub_job *job = context;
    if (job->lease.nonce[0] && lease_is_held(&job->lease)) {
        return 0;
    }
    return lease_take_over(&job->home, job->path, &job->lease, err);
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
        hop->lease = job->lease;
        hop->held_by[0] = 0;
        hop_note(hop, "takeover", "run/%s.sck is this hub's now", job->cluster);
        hop_changed(hop);
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
        visitor->asked = false;
        visitor->next = hop->visitors;
        hop->visitors = visitor;
    }
    if (!job || worker_submit(hop->remote->manager->work, run, done, job)) {
        if (job) {
            hop_leave(hop, visitor);
        }
        free(job);
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
    char host[HOST_NAME_SIZE];
    lease_holder(job->path, host, job->holder);
    if (!strcmp(host, job->home.host)) {
        job->holder[0] = 0; /* this host itself */
    }
    return 0;
}

static void on_looked(void *context, int code, const struct error *err)
{
    struct hub_job *job = context;
    struct hop *hop = remote_find(job->remote, job->cluster);
    if (hop && !hop->lease.nonce[0]) {
        snprintf(hop->held_by, sizeof hop->held_by, "%s", job->holder);
    }
    finish_visit(hop, job->visitor, code, err);
    free(job);
}

void hop_look(struct hop *hop, struct hop_visitor *visitor)
{
    start_visit(hop, visitor, run_look, on_looked);
}

static int run_release(void *context, struct error *err)
{
    (void)err;
    lease_release(&((struct hub_job *)context)->lease);
    return 0;
}

static void on_released(void *context, int code, const struct error *err)
{
    (void)code;
    (void)err;
    free(context);
}

/* On the worker that claims leases, so that a login right behind finds the name free. */
void hub_release(struct hop *hop)
{
    struct hub_job *job = hop->lease.nonce[0] ? make_job(hop) : NULL;
    if (job && worker_submit(hop->remote->manager->work, run_release, on_released, job)) {
        free(job);
    }
    hop->lease.nonce[0] = 0;
}
