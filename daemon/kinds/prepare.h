/* What kinds share: environments, secrets, wrapping a command. Blocking, on the I/O thread. */
#ifndef KINDS_PREPARE_H
#define KINDS_PREPARE_H

#include "daemon/service/kind.h"

/* Growing NULL-terminated lists of heap strings. A failed allocation ends the list early and is
 * seen by list_failed. */
struct list {
    char **items;
    size_t count;
    bool failed;
};
void list_add(struct list *list, const char *format, ...) __attribute__((format(printf, 2, 3)));
/* Hand over the array; NULL when an allocation failed (everything is freed then). */
char **list_take(struct list *list);

/* The allow-listed part of gearsd's environment, with `bin` (may be NULL) in front of PATH,
 * then the service's own environment lines. */
void prepare_environment(
    const struct service_config *service, const char *bin, struct list *env);
/* argv wrapped by bash -l when the service has modules or setup lines, else as it is. */
void prepare_argv(const struct service_config *service, struct list *plain, struct list *argv);
/* The folder the program starts in, checked: cwd, else workspace, else HOME. Heap. */
int prepare_cwd(const struct service_config *service, char **cwd, struct error *err);
/* A secret file of `bytes` random bytes in hex, made once, kept for ever, 0600. Its text on the
 * heap when `secret` is not NULL. */
int prepare_secret(const char *path, size_t bytes, char **secret, struct error *err);
/* The prefix of the service's Python environment: an absolute path, or env/<system>/<name>. */
int prepare_env_dir(const struct home *home, const struct service_config *service,
    char out[PATH_MAX], struct error *err);

#endif
