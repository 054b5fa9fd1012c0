/* gears.conf: site packs, the site's file, then the user's; immutable once loaded. */
#ifndef CORE_CONFIG_H
#define CORE_CONFIG_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/home.h"
#include "common/text.h"

enum restart_policy { RESTART_ON_FAILURE, RESTART_ALWAYS, RESTART_NO };
/* SERVICES_LIMIT: of one user on one host, those of `run` with them. */
enum { CONFIG_LIMITS = 8, SERVICES_LIMIT = 2048 };

/* One [service:NAME]. Strings are never NULL unless said; lists end with NULL. */
struct service_config {
    char *name;
    char *kind;    /* "jupyter" or "command" */
    char *command; /* shell words for kind command; NULL for jupyter; {socket} {port} inside */
    char **argv;   /* instead of command for ad-hoc services (gearsctl run); NULL else */
    char *env; /* environment's name below env/<system>/, or an absolute path; NULL: default */
    char *cwd; /* absolute, ~ expanded; NULL: the workspace, else HOME */
    char *workspace;    /* absolute; NULL: HOME */
    char *modules;      /* "python/3.11 cuda": module load …; NULL */
    char *setup;        /* shell lines run by bash -l before; NULL */
    char **environment; /* KEY=value */
    char **after;       /* names that must be ready first */
    char *ready; /* socket | started | notify | log:REGEX | http:PATH; NULL: the kind's own */
    enum restart_policy restart;
    int stop_signal;
    int64_t stop_timeout_ms, start_timeout_ms;
    bool enabled;
    int64_t idle_cull_ms; /* 0: off */
    uint64_t log_budget;  /* bytes */
    struct {
        int resource; /* RLIMIT_* */
        uint64_t value;
    } limits[CONFIG_LIMITS]; /* limit_nofile, limit_core, limit_stack, limit_fsize … */
    size_t limit_count;
    unsigned set_keys; /* which keys a file set: the reader's own bits */
};

/* One [cluster:NAME]: what ssh_config cannot say of a machine behind a hop. From the site packs
 * (share/clusters/NAME.conf), then the site's file, then the user's. As above for strings. */
struct cluster_config {
    char *name;
    char *host;          /* what `ssh -G` is asked for; NULL: the cluster's name */
    char *transport;     /* "libssh2" (default) or "openssh" */
    char *service;       /* which service run/NAME.sck leads to: "lab" */
    char **forward;      /* further ones, each at run/NAME+SERVICE.sck; NULL: none */
    char **members;      /* names of the login nodes behind the round-robin name; NULL */
    char **hosts;        /* shell patterns of node names that are this cluster's; NULL */
    char **fingerprints; /* SHA256:… of host keys as published by the site; NULL */
    char *home;    /* GEARS_HOME there, absolute or "~/…": of the home there; NULL: as here */
    char *program; /* gearsctl there, as home; NULL: <home>/bin/gearsctl */
    char *hub;     /* how a laptop reaches this hub, for ssh-config; NULL: this host's name */
    bool direct;   /* the site lets laptops reach its login nodes directly */
    int port;      /* on the laptop: 38888 */
    int64_t keepalive_ms;       /* idle keepalive: 30 s */
    int keepalive_count;        /* unanswered ones until degraded: 3 */
    int64_t dead_after_ms;      /* silence while degraded until given up: 30 min; 0: never */
    int64_t max_age_ms;         /* the site's limit on a hop's age; 0: none */
    int64_t connect_timeout_ms; /* each step of connecting: 15 s */
    int64_t wait_ms;            /* how long a new connection waits for the hop: 30 s */
    bool packed;                /* a site pack describes it */
    bool said;                  /* the site's or the user's file describes it */
    unsigned set_keys;          /* which keys a file set: the reader's own bits */
};
enum {
    CONFIG_CLUSTERS = 64,
    CLUSTER_MEMBERS = 64, /* and patterns of hosts */
    CLUSTER_FORWARDS = 16,
    CLUSTER_FINGERPRINTS = 16 /* as many as a struct ssh_hop holds */
};

struct config {
    int port;           /* first laptop/forward port: 38888 */
    uint64_t log_total; /* bytes of all services' logs of this host: 512M */
    struct service_config **services;
    size_t service_count;
    struct cluster_config **clusters;
    size_t cluster_count;
    char *disabled; /* text of the site's `disabled` key or file, NULL when Gears is allowed */
};

/* A file's name, for messages, and its text; NULL text: there is no such file. */
struct config_file {
    const char *name, *text;
};

struct config_files {
    const struct config_file *packs; /* "FOLDER/NAME.conf" holds [cluster:NAME] only */
    size_t pack_count;
    struct config_file site, user;
};

/* Read the site packs <share>/clusters/NAME.conf (`share` may be NULL), the site's file
 * (/etc/gears/gears.conf, or $GEARS_SITE_CONFIG in tests) and <root>/etc/gears.conf, where what
 * is read later counts more; a missing file is empty. A service "lab" (kind jupyter) exists
 * even when no file names it. Every error is one line "file:line: words; hint" in `errors`; any
 * error: -EINVAL and no config. `locks = key key …` in the site's [defaults] makes those keys
 * errors in the user's file. Blocking. The caller destroys *config. */
int config_load(
    const struct home *home, const char *share, struct config **config, struct text *errors);
/* As config_load, from memory. */
int config_parse(const struct config_files *files, struct config **config, struct text *errors);
void config_destroy(struct config *config);

/* The cluster or service by name, the configuration's own; NULL: there is none. */
const struct cluster_config *config_find_cluster(const struct config *config, const char *name);
const struct service_config *config_find(const struct config *config, const char *name);

/* A service's defaults with the given name and kind, for ad-hoc ones. Heap; NULL when out of
 * memory. */
struct service_config *service_config_create(const char *name, const char *kind);
struct service_config *service_config_copy(const struct service_config *service);
void service_config_destroy(struct service_config *service);

/* A cluster's defaults; a copy. Heap; NULL when out of memory. */
struct cluster_config *cluster_config_create(const char *name);
struct cluster_config *cluster_config_copy(const struct cluster_config *cluster);
void cluster_config_destroy(struct cluster_config *cluster);

/* The effective configuration as INI text, for `config show`. */
void config_format(const struct config *config, struct text *out);

#endif
