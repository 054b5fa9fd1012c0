/* Reading the configuration off the loop: its files lie on a home that may hang. */
#ifndef CORE_CONFIG_JOB_H
#define CORE_CONFIG_JOB_H

#include "daemon/core/config.h"
#include "daemon/core/worker.h"

/* Called on the loop. `config` belongs to the callee and is NULL when `errors` has lines. */
typedef void config_loaded(void *context, struct config *config, const char *errors);

/* config_load on `worker`. `home` and `share` must outlive the job. 0; -ENOMEM or -EAGAIN: not
 * begun. */
int config_load_start(struct worker *worker, const struct home *home, const char *share,
    config_loaded *loaded, void *context);

#endif
