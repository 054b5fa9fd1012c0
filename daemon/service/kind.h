/* What differs between kinds of services: how to launch, when ready, how to stop gracefully. */
#ifndef SERVICE_KIND_H
#define SERVICE_KIND_H

#include <limits.h>
#include <stdbool.h>
#include <stdint.h>

#include "common/home.h"
#include "daemon/core/config.h"

/* How readiness is known. */
enum ready_rule {
    READY_STARTED, /* the exec succeeded */
    READY_SOCKET,  /* own/<name>.sck (or the port) accepts a connection */
    READY_HTTP,    /* GET http_path through it answers 200 */
    READY_LOG,     /* a line of output matches */
    READY_NOTIFY,  /* READY=1 */
};

/* Everything the keeper and the prober need for one start. Owns its strings and lists. */
struct launch {
    char **argv; /* NULL-terminated; argv[0] absolute or found in the environment's PATH */
    char **env;  /* the whole environment, KEY=value */
    char *cwd;
    char *socket;  /* the service's own socket; NULL: it has none, or uses `port` */
    uint16_t port; /* loopback port chosen for {port}; 0: none */
    enum ready_rule ready;
    char *ready_log;     /* regular expression for READY_LOG */
    char *http_path;     /* for READY_HTTP and later probes; NULL: health is "socket accepts" */
    char *kernels_path;  /* see LINK_TAG_KERNELS_PATH; NULL */
    char *token;         /* for API calls and `url`; NULL; wiped by launch_finish */
    char *url_path;      /* "/lab"; NULL: no web page known */
    char *activity_path; /* GET with the token tells "last_activity", counts as none; NULL */
    char *shutdown_path; /* POST here with the token is the graceful stop; NULL: signal only */
    char *env_name;      /* for status; NULL */
};

struct kind {
    const char *name;
    /* Fill `launch` (zeroed by the caller). BLOCKING: runs on the I/O thread: makes folders,
     * secrets; runs modules/setup. 0 or a negative errno with words a user can act on. */
    int (*prepare)(const struct home *home, const char *share_dir,
        const struct service_config *service, struct launch *launch, struct error *err);
};

/* The kind by name, or NULL. */
const struct kind *kind_find(const char *name);
void launch_finish(struct launch *launch);

#endif
