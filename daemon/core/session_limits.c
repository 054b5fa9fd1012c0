/* The limits of gearsd's own process: changed at its start, given back to what it starts. */
#include "daemon/core/session_limits.h"

#include <stdbool.h>
#include <stddef.h>

const int session_limits[SESSION_LIMITS] = {RLIMIT_NOFILE, RLIMIT_CORE};

static struct {
    bool changed;
    struct rlimit limit;
} session[SESSION_LIMITS];

void session_limits_change(void)
{
    for (size_t i = 0; i < SESSION_LIMITS; i++) {
        struct rlimit *limit = &session[i].limit;
        __rlimit_resource_t resource = (__rlimit_resource_t)session_limits[i];
        session[i].changed = !getrlimit(resource, limit);
        if (session[i].changed) {
            rlim_t soft = session_limits[i] == RLIMIT_NOFILE ? limit->rlim_max : 0;
            /* Refused: then the session's limit has to do. */
            setrlimit(resource, &(struct rlimit){soft, limit->rlim_max});
        }
    }
}

struct rlimit session_limit_get(int resource)
{
    struct rlimit limit = {0};
    for (size_t i = 0; i < SESSION_LIMITS; i++) {
        if (session_limits[i] == resource && session[i].changed) {
            return session[i].limit;
        }
    }
    getrlimit((__rlimit_resource_t)resource, &limit);
    return limit;
}

void session_limits_restore(pid_t pid)
{
    for (size_t i = 0; i < SESSION_LIMITS; i++) {
        struct rlimit limit = session_limit_get(session_limits[i]);
        prlimit(pid, (__rlimit_resource_t)session_limits[i], &limit, NULL);
    }
}
