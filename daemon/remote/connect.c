/* Before a connection: the right to the cluster's name, where its services live, what
 * ssh_config says. A worker finds out, then the tunnel is started. When the login node of the
 * services does not answer, the human decides whether to go to another. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "common/clock.h"
#include "daemon/core/log.h"
#include "daemon/remote/hop_private.h"
#include "daemon/remote/ssh_config.h"

enum { RESOLVE_MS = 10000, CONNECT_HOPS = 8 };

struct connect_job {
    struct remote *remote;
    struct home home;
    struct cluster_config *config; /* a copy: the thread reads it */
    char node[256], agent[UNIX_PATH_SIZE];
    bool attended, anywhere; /* anywhere: a human agreed to leave the place */
    /* What it finds. */
    struct lease lease;
    char held_by[HOST_NAME_SIZE];
    struct place place;
    bool to_place;
    struct ssh_hop *hops[CONNECT_HOPS];
    size_t count;
};

static void free_job(struct connect_job *job)
{
    for (size_t i = 0; i < job->count; i++) {
        ssh_hop_destroy(job->hops[i]);
    }
    cluster_config_destroy(job->config);
    free(job);
}

static int claim(struct connect_job *job, struct error *err)
{
    struct lease_seen by;
    char program[PATH_MAX];
    const char *name = job->config->name;
    int code = lease_keep(&job->home, &job->lease, &by, err);
    if (code == 1) {
        job->lease.nonce[0] = 0;
        snprintf(job->held_by, sizeof job->held_by, "%s", by.node);
        home_program(&job->home, program);
        return error_set(err, -EEXIST,
            "%s is served by the hub %s; run: ssh %s -t %s attach %s, or move it here: "
            "gearsctl takeover %s",
            name, job->held_by, job->held_by, program, name, name);
    }
    return code;
}

/* A member as the user may call it: "andes-login3" or its whole name. */
static const char *find_member(const struct cluster_config *config, const char *node)
{
    for (char **member = config->members; member && *member; member++) {
        size_t label = strcspn(*member, ".");
        if (!strcasecmp(*member, node) ||
            (strlen(node) == label && !strncasecmp(*member, node, label))) {
            return *member;
        }
    }
    return node;
}

/* Connect to this member; what counts is still the key of the name for all of them. */
static int aim(struct ssh_hop *hop, const char *target)
{
    char alias[300];
    int code = 0;
    if (!hop->alias) {
        snprintf(alias, sizeof alias, hop->port == 22 ? "%s" : "[%s]:%d", hop->host, hop->port);
        code = ssh_hop_put(&hop->alias, alias);
    }
    return code ? code : ssh_hop_put(&hop->host, target);
}

static int add_own(struct connect_job *job, struct ssh_hop *last)
{
    char target[256] = "";
    int code = 0;
    if (job->node[0]) {
        snprintf(target, sizeof target, "%s", find_member(job->config, job->node));
    } else if (job->place.needed && !job->anywhere) {
        place_target(&job->place, job->config->members, target, sizeof target);
        job->to_place = target[0] != 0;
    }
    if (target[0]) {
        code = aim(last, target);
    }
    for (char **item = job->config->fingerprints; !code && item && *item; item++) {
        code = ssh_hop_append(last->fingerprints, *item);
    }
    for (size_t i = 0; !code && i < job->count; i++) {
        if (job->hops[i]->agent_of_caller && job->agent[0]) {
            code = ssh_hop_put(&job->hops[i]->agent, job->agent);
        }
    }
    return code;
}

/* ssh itself goes through jump hosts and proxies where it is the transport. */
static int resolve(struct connect_job *job, struct error *err)
{
    const struct cluster_config *config = job->config;
    const char *name = config->host ? config->host : config->name;
    if (!string_equal(config->transport, "openssh")) {
        return ssh_config_resolve(
            name, "ssh", RESOLVE_MS, job->hops, CONNECT_HOPS, &job->count, err);
    }
    int code = ssh_config_resolve_server(name, "ssh", RESOLVE_MS, &job->hops[0], err);
    job->count = code ? 0 : 1;
    return code;
}

static int run_connect(void *context, struct error *err)
{
    struct connect_job *job = context;
    int code = claim(job, err);
    if (code) {
        return code;
    }
    place_load(&job->home, job->config->name, &job->place);
    code = resolve(job, err);
    if (!code) {
        code = add_own(job, job->hops[job->count - 1]);
        code = code ? error_errno(err, code, "the way to %s", job->config->name) : 0;
    }
    return code;
}

static void fail(struct hop *hop, enum link_tunnel_cause cause, const char *words)
{
    hop->machine.cause = cause;
    hop_set_message(hop, "%s", words);
    hop_apply(hop, HOP_ENDED);
}

static void on_prepared(void *context, int code, const struct error *err)
{
    struct connect_job *job = context;
    struct hop *hop = remote_find(job->remote, job->config->name);
    struct error words = *err;
    hop->preparing = false;
    hop->lease = job->lease;
    snprintf(hop->held_by, sizeof hop->held_by, "%s", job->held_by);
    hop->place = job->place;
    hop->to_place = job->to_place;
    if (hop->machine.closing || !hop->machine.attended != !job->attended) {
        fail(hop, LINK_CAUSE_CANCELLED, "the login was given up");
    } else if (code == -EEXIST) {
        hop_finish_visitors(hop, code, words.text);
        if (hop->machine.wanted) { /* it was this hub's */
            hub_lose(hop, job->held_by);
        } else {
            fail(hop, LINK_CAUSE_CANCELLED, words.text);
        }
    } else if (code || (code = tunnel_client_start(
                            hop, job->hops, job->count, job->attended, &words))) {
        fail(hop, LINK_CAUSE_FAILED, words.text);
    }
    free_job(job);
}

void hop_connect(struct hop *hop, bool attended)
{
    if (hop->orphaned) { /* it was kept while it was open */
        hop->machine.wanted = false;
        hop_store(hop);
        fail(hop, LINK_CAUSE_CANCELLED, "it is not in gears.conf any more");
        return;
    }
    struct connect_job *job = calloc(1, sizeof *job);
    hop_drop_prompt(hop); /* of an earlier try, whose answer must not begin one beside this */
    hop->connect_began_ms = clock_monotonic_ms();
    if (job) {
        *job = (struct connect_job){.remote = hop->remote,
            .home = hop->remote->manager->home,
            .config = cluster_config_copy(hop->config),
            .attended = attended,
            .anywhere = hop->asked_elsewhere,
            .lease = hop->lease};
        snprintf(job->node, sizeof job->node, "%s", hop->node);
        snprintf(job->agent, sizeof job->agent, "%s", hop->agent);
    }
    hop->preparing = job && job->config &&
                     !worker_submit(hop->remote->manager->work, run_connect, on_prepared, job);
    if (!hop->preparing) {
        if (job) {
            free_job(job);
        }
        fail(hop, LINK_CAUSE_FAILED, "the way cannot be found now (does the home hang?)");
    } else {
        hop_tell_step(hop, "reading ssh_config");
    }
}

bool hop_ask_elsewhere(struct hop *hop)
{
    struct hop_prompt ask = {.count = 1};
    enum link_tunnel_cause cause = hop->machine.cause;
    bool apart = cause == LINK_CAUSE_NETWORK_DOWN || cause == LINK_CAUSE_REFUSED;
    if (!hop->machine.attended || hop->machine.closing || !hop->to_place || !apart ||
        hop->asked_elsewhere || !hop->visitors) {
        return false;
    }
    int n = asprintf(&ask.instruction,
        "%s, where %s%s, cannot be reached: %.200s.\nIf that host is gone, so are its kernels. "
        "Another login node of %s may be used; what ran there is then started afresh.",
        hop->place.host, hop->place.services[0] ? hop->place.services : "your services",
        hop->place.services[0] && !strchr(hop->place.services, ',') ? " lives" : " live",
        hop->message, hop->config->name);
    ask.name = strdup("login node");
    ask.lines[0].text = strdup("Log in to another node? (yes/no) ");
    ask.lines[0].echo = true;
    if (n < 0 || !ask.name || !ask.lines[0].text) {
        hop_prompt_finish(&ask);
        return false;
    }
    nonce_make(ask.id);
    hop_ask(hop, &ask);
    return true;
}

int hop_connect_answer(struct hop *hop, const char *answer)
{
    hop_drop_prompt(hop);
    if (!strcasecmp(answer, "yes") || !strcasecmp(answer, "y")) {
        hop->asked_elsewhere = true;
        hop_apply(hop, HOP_ANSWERED);
        hop_connect(hop, true);
    } else {
        hop_apply(hop, HOP_ENDED);
    }
    return 0;
}
