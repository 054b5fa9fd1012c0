/* Running a service's `modules` and `setup` lines. Blocking, on the I/O thread. */
#ifndef KINDS_SETUP_H
#define KINDS_SETUP_H

#include "daemon/kinds/prepare.h"

enum { SETUP_TIMEOUT_MS = 30000 };

/* Run them once in a login bash that starts with `env` in `cwd`, and replace `env` by the
 * environment they leave. 0; -ETIMEDOUT; or another negative errno with the module, or what the
 * lines printed last, in the words. `env` is unchanged then. */
int setup_run(const struct service_config *service, const char *cwd, int64_t timeout_ms,
    struct list *env, struct error *err);

#endif
