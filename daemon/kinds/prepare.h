/* What kinds share: lists, environments, secrets, folders. Blocking, on the I/O thread. */
#ifndef KINDS_PREPARE_H
#define KINDS_PREPARE_H

#include "daemon/service/kind.h"

/* Growing NULL-terminated lists of heap strings. A failed allocation is remembered, so that
 * callers check once. */
struct list {
    char **items;
    size_t count;
    bool failed;
};
void list_add(struct list *list, const char *format, ...) __attribute__((format(printf, 2, 3)));
/* Add "KEY=value", or replace the item with this KEY. */
void list_set(struct list *list, const char *format, ...) __attribute__((format(printf, 2, 3)));
/* Hand over the array; NULL when an allocation failed (everything is freed then). */
char **list_take(struct list *list);
void list_free(struct list *list);

/* The environment a service starts from: the allow-listed part of gearsd's, what modules and
 * setup make of it in `cwd`, then `bin` (may be NULL) in front of PATH. */
int prepare_environment(const struct service_config *service, const char *cwd, const char *bin,
    struct list *env, struct error *err);
/* The service's `environment` lines over it. */
void prepare_assignments(const struct service_config *service, struct list *env);

/* A copy of `path`, which must be a folder; `key` is what the user would change. Heap. */
int prepare_folder(const char *path, const char *key, char **out, struct error *err);
/* The folder the program starts in: cwd, else workspace, else HOME. Heap. */
int prepare_cwd(const struct service_config *service, char **cwd, struct error *err);
/* A secret file of `bytes` random bytes in hex, made once, kept for ever, 0600. Its text on the
 * heap when `secret` is not NULL. */
int prepare_secret(const char *path, size_t bytes, char **secret, struct error *err);
/* The service's own socket, checked for the 107 bytes of an address. */
int prepare_socket(
    const struct home *home, const char *name, char out[PATH_MAX], struct error *err);
/* The prefix of the service's Python environment: an absolute path, or env/<system>/<name>. */
int prepare_env_dir(const struct home *home, const struct service_config *service,
    char out[PATH_MAX], struct error *err);

#endif
