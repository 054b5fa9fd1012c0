/* One reading of the configuration on a worker's thread. */
#include "daemon/core/config_job.h"

#include <errno.h>
#include <stdlib.h>

struct config_job {
    const struct home *home;
    const char *share;
    struct config *config;
    struct text errors;
    config_loaded *loaded;
    void *context;
};

static int run_load(void *context, struct error *err)
{
    (void)err;
    struct config_job *job = context;
    return config_load(job->home, job->share, &job->config, &job->errors);
}

static void finish_load(void *context, int code, const struct error *err)
{
    (void)code;
    (void)err;
    struct config_job *job = context;
    job->loaded(job->context, job->config, text_string(&job->errors));
    text_finish(&job->errors);
    free(job);
}

int config_load_start(struct worker *worker, const struct home *home, const char *share,
    config_loaded *loaded, void *context)
{
    struct config_job *job = calloc(1, sizeof *job);
    if (!job) {
        return -ENOMEM;
    }
    *job =
        (struct config_job){.home = home, .share = share, .loaded = loaded, .context = context};
    int code = worker_submit(worker, run_load, finish_load, job);
    if (code) {
        free(job);
    }
    return code;
}
