/* Shared by the files of the configuration reader only. */
#ifndef CORE_CONFIG_PRIVATE_H
#define CORE_CONFIG_PRIVATE_H

#include "daemon/core/config.h"

enum { ERRORS_LIMIT = 20, SEEN_LIMIT = 64 };

struct loader {
    struct config *config;
    struct text *errors;
    int error_count;
    const char *file, *site_file, *at;
    int line, pass;
    bool site, skip, line_section;
    char section[64], last_key[64], current[256];
    struct service_config *service;  /* NULL in [defaults] */
    struct service_config *defaults; /* what [defaults] says for all services */
    char *locks;                     /* " key key " of the site */
    char seen[SEEN_LIMIT][64];
    size_t seen_count;
    int touched[CONFIG_SERVICES];
    unsigned default_keys; /* which of `defaults` are set: bits of config_keys.c */
};

void config_error(struct loader *loader, const char *format, ...)
    __attribute__((format(printf, 2, 3)));
bool config_is_locked(const struct loader *loader, const char *key);
void config_set(struct loader *loader, const char *key, const char *value, bool continued);
void config_apply_defaults(struct loader *loader);
bool config_after_loops(const struct config *config, const struct service_config *service);

#endif
