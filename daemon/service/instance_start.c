/* The start of an incarnation: prepare, record the intent, spawn its keeper. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "daemon/core/session_limits.h"
#include "daemon/service/manager_private.h"
#include "daemon/service/spawn.h"

enum { SEGMENTS_PER_BUDGET = 8, SEGMENT_MOST = 8 << 20 };

struct launch_job {
    struct manager *manager;
    char name[NAME_TEXT_SIZE];
    char nonce[NONCE_TEXT_SIZE];
    struct service_config *config;
    struct launch launch;
};

static void finish_job(struct launch_job *job)
{
    launch_finish(&job->launch);
    service_config_destroy(job->config);
    free(job);
}

/* What the host lacks for a moment: descriptors, memory, disk. */
static bool is_passing(int code)
{
    return code == -EMFILE || code == -ENFILE || code == -ENOMEM || code == -EAGAIN ||
           code == -ENOSPC || code == -EDQUOT;
}

/* Who asks for a start hears at once that it failed; a restart after a death is tried again, as
 * the policy has it. */
void instance_fail(struct service *service, int code, const char *words)
{
    bool retry = service->machine.deaths > 0 && is_passing(code);
    service->launching = false;
    snprintf(service->cause, sizeof service->cause, "%s", words);
    health_set(service, "process", false, words);
    service_apply(service, retry ? EVENT_DIED : EVENT_LAUNCH_FAILED);
}

static void add_paths(struct service *service, struct link_frame *frame)
{
    const struct home *home = &service->manager->home;
    const char *name = service->config->name;
    char path[PATH_MAX];
    home_path(home, path, "run", "link/k-%s.sck", name);
    link_frame_string(frame, LINK_TAG_LINK_PATH, path);
    home_path(home, path, "log", "%s", name);
    link_frame_string(frame, LINK_TAG_LOG_DIR, path);
    home_path(home, path, "state", "exit/%s.rec", name);
    link_frame_string(frame, LINK_TAG_EXIT_RECORD, path);
    if (service->launch.ready == READY_NOTIFY) {
        home_path(home, path, "run", "link/n-%s.sck", name);
        link_frame_string(frame, LINK_TAG_NOTIFY_PATH, path);
    }
}

/* Limits later in the frame win over earlier ones. */
static void add_limits(const struct service_config *config, struct link_frame *frame)
{
    char limit[80];
    for (size_t i = 0; i < SESSION_LIMITS; i++) {
        struct rlimit session = session_limit_get(session_limits[i]);
        snprintf(limit, sizeof limit, "%d %llu %llu", session_limits[i],
            (unsigned long long)session.rlim_cur, (unsigned long long)session.rlim_max);
        link_frame_string(frame, LINK_TAG_RLIMIT, limit);
    }
    for (size_t i = 0; i < config->limit_count; i++) {
        unsigned long long value = config->limits[i].value;
        snprintf(limit, sizeof limit, "%d %llu %llu", config->limits[i].resource, value, value);
        link_frame_string(frame, LINK_TAG_RLIMIT, limit);
    }
}

static void make_start(struct service *service, struct link_frame *frame)
{
    const struct launch *launch = &service->launch;
    const struct service_config *config = service->config;
    uint64_t segment = config->log_budget / SEGMENTS_PER_BUDGET;
    link_frame_start(frame, LINK_KEEPER_START, 1);
    link_frame_string(frame, LINK_TAG_SERVICE, config->name);
    link_frame_string(frame, LINK_TAG_NONCE, service->nonce);
    add_paths(service, frame);
    link_frame_u64(frame, LINK_TAG_LOG_BUDGET, config->log_budget);
    link_frame_u64(
        frame, LINK_TAG_LOG_SEGMENT, segment < SEGMENT_MOST ? segment : SEGMENT_MOST);
    link_frame_u64(frame, LINK_TAG_LOG_TOTAL, service->manager->config->log_total);
    for (char **word = launch->argv; *word; word++) {
        link_frame_string(frame, LINK_TAG_ARG, *word);
    }
    for (char **word = launch->env; word && *word; word++) {
        link_frame_string(frame, LINK_TAG_ENV, *word);
    }
    link_frame_string(frame, LINK_TAG_CWD, launch->cwd);
    link_frame_string(frame, LINK_TAG_READY_LOG, launch->ready_log);
    link_frame_string(frame, LINK_TAG_KERNELS_PATH, launch->kernels_path);
    add_limits(config, frame);
}

static void spawn_keeper(struct service *service)
{
    struct error err = {0};
    char path[PATH_MAX + 32], mark[80];
    snprintf(path, sizeof path, "%s/gears-keeper", service->manager->program_dir);
    snprintf(mark, sizeof mark, KEEPER_MARK "%s", service->nonce);
    int fd = spawn_helper(path, mark, &err);
    if (fd < 0) {
        instance_fail(service, fd, err.text);
        return;
    }
    struct link_frame frame;
    make_start(service, &frame);
    int code = link_send(fd, &frame);
    if (code) {
        error_errno(&err, code, "the keeper did not take its orders");
        close(fd);
        instance_fail(service, code, err.text);
        return;
    }
    if (!instance_attach(service, fd)) {
        bury(service, BURY_LOST);
    }
}

/* The intent record is durable: only now may anything run. */
static void on_intent(void *context, int code, const struct error *err)
{
    struct service *service = manager_find(
        ((struct launch_job *)context)->manager, ((struct launch_job *)context)->name);
    finish_job(context);
    if (!service || !service->launching) {
        return;
    }
    if (code) {
        instance_fail(service, code, err->text);
    } else if (service->machine.state != SERVICE_STARTING) { /* stopped meanwhile */
        service->launching = false;
        service_apply(service, EVENT_DIED_CLEAN);
    } else {
        spawn_keeper(service);
    }
}

static int run_prepare(void *context, struct error *err)
{
    struct launch_job *job = context;
    const struct kind *kind = kind_find(job->config->kind);
    return kind ? kind->prepare(&job->manager->home, job->manager->share_dir, job->config,
                      &job->launch, err)
                : error_set(err, -EINVAL, "no kind \"%s\"", job->config->kind);
}

static void on_prepared(void *context, int code, const struct error *err)
{
    struct launch_job *job = context;
    struct service *service = manager_find(job->manager, job->name);
    if (!service || !service->launching || !string_equal(service->nonce, job->nonce)) {
        finish_job(job);
        return;
    }
    if (code) {
        instance_fail(service, code, err->text);
        finish_job(job);
        return;
    }
    launch_finish(&service->launch);
    service->launch = job->launch;
    job->launch = (struct launch){0};
    store_submit(service, on_intent, job);
}

void instance_launch(struct service *service)
{
    struct manager *manager = service->manager;
    struct launch_job *job = calloc(1, sizeof *job);
    nonce_make(service->nonce);
    service->launching = true;
    service->wish.fresh = service->wish.again = service->settled = false;
    service->stop_sent = service->program_ready = service->port_checked = false;
    service->ready_at_us = 0;
    service->paused = service->adopted = service->exit_told = false;
    service->cause[0] = 0;
    service->tries = 0;
    health_set(service, "process", false, "starting");
    if (job) {
        job->manager = manager;
        snprintf(job->name, sizeof job->name, "%s", service->config->name);
        memcpy(job->nonce, service->nonce, sizeof job->nonce);
        job->config = service_config_copy(service->config);
    }
    if (!job || !job->config || worker_submit(manager->work, run_prepare, on_prepared, job)) {
        if (job) {
            finish_job(job);
        }
        instance_fail(service, -EAGAIN, "gearsd is out of memory or its disk does not answer");
    }
}
