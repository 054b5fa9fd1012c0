/* One question to a service's own socket, with a deadline, on the loop: does it accept, does
 * GET or POST answer? Never counts as activity for Jupyter's /api. */
#ifndef CORE_PROBE_H
#define CORE_PROBE_H

#include <stdbool.h>
#include <stdint.h>

#include <event2/event.h>

struct probe;

struct probe_target {
    const char *socket; /* Unix path; NULL: loopback `port` */
    uint16_t port;
    const char *method; /* "GET", "POST"; NULL: only connect */
    const char *path;
    const char *token; /* NULL: none */
};

/* `layer` is "socket" or "http", the first that failed (or the last that answered); `status` is
 * the HTTP status, 0 when none; `body` (NUL-terminated, at most 64 KiB, perhaps cut; NULL when
 * there is no status) is valid during the call. */
struct probe_result {
    bool ok; /* connected and, with a method, answered with a status below 500 */
    const char *layer;
    const char *message; /* words when not ok */
    int status;
    const char *body;
};

typedef void probe_done(void *context, const struct probe_result *result);

/* `done` is called exactly once, from the loop and within `deadline_ms`, unless probe_cancel
 * comes first. An answer counts when its head is whole and its Content-Length is there, the
 * connection ends, or a second has passed. Strings are copied. NULL when out of memory. */
struct probe *probe_start(struct event_base *base, const struct probe_target *target,
    int64_t deadline_ms, probe_done *done, void *context);
/* Forget it; `done` is not called. NULL is allowed. Not from inside `done`. */
void probe_cancel(struct probe *probe);

#endif
